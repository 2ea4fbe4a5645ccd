"""Policies and signals for Hypothesis: small alphabets, so that rules, tiers and calls meet often."""

import msgspec
from hypothesis import strategies as st

from interlock.gateway.policy import Deployment, Facts, Policy, Profile, Rule, Tier, When
from interlock.gateway.signals import Signals
from interlock.ledger import Format, Price

FORMAT: st.SearchStrategy[Format] = st.sampled_from(["chat", "responses", "messages"])
FLAG = st.sampled_from([None, True, False])
SIZE = st.integers(0, 12)
PRICES = st.fixed_dictionaries({"input": SIZE, "output": SIZE}, optional={"cache_read": SIZE, "cache_write": SIZE})
DEPLOYMENTS, TIERS = ("d0", "d1", "d2"), ("t0", "t1")
MODEL = st.sampled_from(["auto", "auto:plan", "d0", "d1", "t0", "t1", "gpt-x", "claude-y"])
MODE = st.sampled_from(["", "plan", "code"])
LABELS = st.dictionaries(st.sampled_from(["team", "env"]), st.sampled_from(["a", "b"]), max_size=2)


def some(*of: str) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.none() | st.lists(st.sampled_from(of), max_size=2, unique=True).map(tuple)


WHEN = st.builds(
    When,
    mode=some("", "plan", "code"),
    model=some("gpt-*", "claude-?", "*", "GPT-*"),
    tenant=some("acme", "other"),
    principal=some("p", "q"),
    format=some("chat", "messages"),
    labels=st.none() | LABELS,
    tools=FLAG,
    tool_result=FLAG,
    images=FLAG,
    reasoning=FLAG,
    schema=FLAG,
    stream=FLAG,
    chore=FLAG,
    input_tokens_min=st.none() | SIZE,
    input_tokens_max=st.none() | SIZE,
)
SPARSE = st.builds(  # a rule that asks much never matches
    lambda when, keep: msgspec.structs.replace(When(), **{name: getattr(when, name) for name in keep}),
    WHEN,
    st.lists(st.sampled_from(When.__struct_fields__), max_size=2),
)


def _deployment(name: str) -> st.SearchStrategy[Deployment]:
    return st.builds(
        Deployment,
        name=st.just(name),
        provider=st.just("openai"),
        base_url=st.just("http://h"),
        model=st.just("m"),
        family=st.just("f"),
        formats=st.lists(FORMAT, min_size=1, unique=True).map(tuple),
        facts=st.builds(Facts, geographies=st.sampled_from([(), ("eu",), ("us",)])),
        context_window=st.none() | st.integers(1, 12),
        price=st.none() | st.builds(Price, per_mtok=PRICES),
        capabilities=st.lists(st.sampled_from(["tools", "images", "reasoning", "schema"]), unique=True).map(tuple),
    )


def _tier(name: str, order: tuple[str, ...], spread: bool) -> Tier:
    return Tier(name=name, deployments=order, spread=({one: n + 1 for n, one in enumerate(order)},) if spread else ())


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    order = st.lists(st.sampled_from(DEPLOYMENTS), min_size=1, unique=True).map(tuple)
    rules = draw(st.lists(st.tuples(SPARSE, st.sampled_from(TIERS)), max_size=4))
    return Policy(
        version="v",
        deployments={name: draw(_deployment(name)) for name in DEPLOYMENTS},
        tiers={name: _tier(name, draw(order), draw(st.booleans())) for name in TIERS},
        rules=tuple(
            Rule(name=f"r{i}", when=when, tier=tier, switch=draw(st.sampled_from(["always", "saving"])))
            for i, (when, tier) in enumerate(rules)
        ),
        profiles={"eu": Profile(name="eu", geographies=("eu",)), "any": Profile(name="any")},
        default_tier=draw(st.sampled_from(TIERS)),
        unknown_model=draw(st.sampled_from(["route", "refuse"])),
        boundary=draw(st.sampled_from([None, "eu", "any", "gone"])),
    )


SIGNALS = st.builds(
    Signals,
    format=FORMAT,
    model=MODEL,
    tenant=st.sampled_from(["acme", "other"]),
    principal=st.sampled_from(["p", "q"]),
    mode=MODE,
    session=st.sampled_from(["", "s"]),
    conversation=st.sampled_from(["", "c", "d"]),
    labels=LABELS,
    stream=st.booleans(),
    tools=st.booleans(),
    tool_result=st.booleans(),
    images=st.booleans(),
    reasoning=st.booleans(),
    schema=st.booleans(),
    chore=st.booleans(),
    input_tokens=st.integers(0, 14),
    output_tokens_max=SIZE,
)
BOUNDARIES = st.lists(st.sampled_from(["eu", "any", "gone"]), max_size=2, unique=True).map(tuple)
NOT_READY = st.dictionaries(st.sampled_from(DEPLOYMENTS), st.just("loading"), max_size=2)
