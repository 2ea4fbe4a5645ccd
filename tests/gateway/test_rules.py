"""The index against what a rule means: the first that matches, whatever rules and calls there are."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.gateway.policies import SIGNALS, SPARSE, WHEN

from interlock.gateway.policy import Rule, When
from interlock.gateway.rules import Rules, matches
from interlock.gateway.signals import Signals

NAMES = ["gpt-x", "gpt-xy", "claude-y", "claude", "x", "", "[x]", "*"]
PATTERNS = [*NAMES, "gpt-*", "claude-?", "*-x", "?", "[cg]*", "gpt-[!y]", "gpt-x*", "GPT-*", "c*e*"]
PATTERN = st.sampled_from(PATTERNS)
LABEL = st.sampled_from("abc")
ODD = st.builds(  # what the strategies of policies never draw
    When,
    model=st.none() | st.lists(PATTERN, max_size=3).map(tuple),
    labels=st.none() | st.dictionaries(LABEL, LABEL, max_size=3),
    format=st.sampled_from(
        [None, (), ("messages",), ("count_tokens",), ("embeddings", "chat"), ("count_tokens", "chat")]
    ),
    input_tokens_min=st.none() | st.integers(-1, 9),
    input_tokens_max=st.none() | st.integers(-1, 9),
)
WHENS = st.lists(SPARSE | ODD | WHEN, max_size=12)
CALL = st.builds(
    lambda signals, format, model, labels: msgspec.structs.replace(
        signals, format=format or signals.format, model=signals.model if model is None else model, labels=labels
    ),
    SIGNALS,
    st.sampled_from([None, "count_tokens", "embeddings"]),
    st.none() | st.sampled_from(NAMES),
    st.dictionaries(LABEL, LABEL, max_size=3),
)


def rules_of(whens: list[When]) -> list[Rule]:
    return [Rule(name=f"r{number}", when=when, tier="t") for number, when in enumerate(whens)]


@settings(max_examples=at_least(250))
@given(WHENS, CALL)
def test_the_first_that_matches(whens: list[When], signals: Signals) -> None:
    rules = rules_of(whens)
    wanted = next((rule for rule in rules if matches(rule.when, signals)), None)
    assert Rules(rules).first(signals) is wanted


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_on_each_name(pattern: str) -> None:
    [rule] = rules = rules_of([When(model=(pattern,))])
    for name in NAMES:
        call = Signals(format="chat", model=name, tenant="t", principal="p")
        assert Rules(rules).first(call) is (rule if matches(rule.when, call) else None)


@given(WHENS)
def test_what_it_says_of_all_of_them(whens: list[When]) -> None:
    rules = rules_of(whens)
    made = Rules(rules)
    assert list(made.named.values()) == rules
    assert made.modes == {mode for when in whens for mode in when.mode or ()}


ASKED = {
    "mode": lambda n: When(mode=(f"m{n}",)),
    "tenant": lambda n: When(tenant=(f"t{n}",)),
    "principal": lambda n: When(principal=(f"p{n}",)),
    "label": lambda n: When(labels={"team": f"l{n}"}),
    "model": lambda n: When(model=(f"model-{n}-*",)),
    "size": lambda n: When(input_tokens_min=n, input_tokens_max=n),
}


@pytest.mark.parametrize("asks", ASKED)
def test_few_are_asked_of_many(asks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand rules that differ in one thing: a call is held against one of them, or two, not against all."""
    rules = rules_of([ASKED[asks](number) for number in range(1024)])
    call = Signals(
        format="chat",
        model="model-1023-x",
        tenant="t1023",
        principal="p1023",
        mode="m1023",
        labels={"team": "l1023", "env": "x"},
        input_tokens=1023,
    )
    asked = []

    def counted(when: When, signals: Signals) -> bool:
        asked.append(when)
        return matches(when, signals)

    made = Rules(rules)
    monkeypatch.setattr("interlock.gateway.rules.matches", counted)
    assert made.first(call) is rules[-1]
    assert len(asked) == 1
