"""The decision: which tier, who of it, and the reason for everybody else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.policies import BOUNDARIES, NOT_READY, SIGNALS, WHEN, policies

from interlock.gateway.policy import Deployment, Facts, Policy, Profile, Rule, Tier, When
from interlock.gateway.routing import decide, serves
from interlock.gateway.rules import matches
from interlock.gateway.signals import Signals
from interlock.ledger import Format

CALL = Signals(format="chat", model="auto", tenant="acme", principal="p", labels={"team": "a"}, input_tokens=10)
PLACE = Deployment(
    name="a", provider="openai", base_url="http://h", model="m", family="f", formats=("chat",), facts=Facts(local=True)
)
POLICY = Policy(
    version="v",
    deployments={"a": PLACE, "b": msgspec.structs.replace(PLACE, name="b", facts=Facts())},
    tiers={"both": Tier(name="both", deployments=("b", "a")), "one": Tier(name="one", deployments=("a",))},
    rules=(
        Rule(name="first", when=When(mode=("plan",)), tier="one"),
        Rule(name="second", when=When(mode=("plan", "code")), tier="both"),
    ),
    profiles={"home": Profile(name="home", local_only=True)},
    default_tier="both",
)
replace = msgspec.structs.replace


@given(policies(), SIGNALS, BOUNDARIES, NOT_READY)
def test_what_every_decision_keeps(
    policy: Policy, signals: Signals, boundaries: tuple[str, ...], not_ready: dict[str, str]
) -> None:
    route = decide(signals, policy, boundaries, not_ready)
    ranked = [c.deployment for c in route.candidates if c.rank]
    assert [c.rank for c in route.candidates if c.rank] == list(range(1, len(ranked) + 1))
    assert route.winner == (ranked[0] if ranked else "")
    assert bool(route.winner) is not bool(route.code)
    for candidate in route.candidates:
        assert bool(candidate.rank) is not bool(candidate.refused)
        assert bool(candidate.stage) is bool(candidate.refused)
        if candidate.rank:
            assert serves(policy.deployments[candidate.deployment].formats, signals.format)
            assert candidate.deployment not in not_ready
    in_force = {policy.boundary, *boundaries} - {None}
    if ranked:
        assert in_force <= policy.profiles.keys()  # a profile that is gone lets nobody pass
    if ranked and "eu" in in_force:
        assert all(policy.deployments[name].facts.geographies == ("eu",) for name in ranked)
    if signals.model in policy.deployments and route.candidates:
        assert [c.deployment for c in route.candidates] == [signals.model]
    assert route == decide(signals, policy, boundaries, not_ready)


@given(policies(), SIGNALS, BOUNDARIES, NOT_READY)
def test_a_boundary_never_adds_a_candidate(
    policy: Policy, signals: Signals, boundaries: tuple[str, ...], not_ready: dict[str, str]
) -> None:
    free = decide(signals, replace(policy, boundary=None), (), not_ready)
    bound = decide(signals, policy, boundaries, not_ready)
    assert {c.deployment for c in bound.candidates if c.rank} <= {c.deployment for c in free.candidates if c.rank}


@given(WHEN, SIGNALS)
def test_a_rule_holds_if_each_of_its_clauses_does(when: When, signals: Signals) -> None:
    clauses = [replace(When(), **{field: getattr(when, field)}) for field in When.__struct_fields__]
    assert matches(when, signals) is all(matches(clause, signals) for clause in clauses)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        (When(), True),
        (When(mode=("",)), True),
        (When(mode=("plan",)), False),
        (When(mode=()), False),
        (When(model=("aut*",)), True),
        (When(model=("AUT*",)), False),
        (When(model=("x", "a?to")), True),
        (When(tenant=("acme",)), True),
        (When(tenant=("other",)), False),
        (When(principal=("q", "p")), True),
        (When(principal=("q",)), False),
        (When(format=("messages",)), False),
        (When(labels={"team": "a"}), True),
        (When(labels={"team": "b"}), False),
        (When(labels={"team": "a", "env": "x"}), False),
        (When(labels={}), True),
        (When(tools=False), True),
        (When(tools=True), False),
        (When(input_tokens_min=10), True),
        (When(input_tokens_min=11), False),
        (When(input_tokens_max=10), True),
        (When(input_tokens_max=9), False),
    ],
)
def test_each_clause(when: When, holds: bool) -> None:
    assert matches(when, CALL) is holds


@pytest.mark.parametrize(
    ("signals", "rule", "tier", "winner"),
    [
        (CALL, "default", "both", "b"),
        (replace(CALL, mode="plan"), "first", "one", "a"),
        (replace(CALL, mode="code"), "second", "both", "b"),
        (replace(CALL, model="one", mode="code"), "model", "one", "a"),
        (replace(CALL, model="a", mode="code"), "model", "", "a"),
    ],
)
def test_the_name_comes_before_the_rules_and_the_first_rule_wins(
    signals: Signals, rule: str, tier: str, winner: str
) -> None:
    route = decide(signals, POLICY, (), {})
    assert (route.rule, route.tier, route.winner) == (rule, tier, winner)


@pytest.mark.parametrize(
    ("signals", "boundaries", "not_ready", "code", "refused"),
    [
        (CALL, ("gone",), {}, "boundary_refused", ["boundary gone: no such profile"] * 2),
        (replace(CALL, model="b"), ("home",), {"b": "x"}, "boundary_refused", ["boundary home: local_only"]),
        (replace(CALL, format="embeddings"), (), {}, "no_candidate", ["format: speaks chat, not embeddings"] * 2),
        (replace(CALL, images=True), (), {}, "no_candidate", ["capability: images"] * 2),
        (replace(CALL, images=True), ("home",), {}, "no_candidate", ["boundary home", "capability: images"]),
        (CALL, (), {"a": "loading", "b": "x"}, "not_ready", ["x", "loading"]),
        (CALL, ("home",), {"a": "loading"}, "not_ready", ["boundary home", "loading"]),
    ],
)
def test_the_code_says_how_far_anybody_came(
    signals: Signals, boundaries: tuple[str, ...], not_ready: dict[str, str], code: str, refused: list[str]
) -> None:
    route = decide(signals, POLICY, boundaries, not_ready)
    assert (route.code, route.winner) == (code, "")
    assert len(route.candidates) == len(refused)
    assert all(c.refused.startswith(why) for c, why in zip(route.candidates, refused, strict=True))


def test_tokens_are_counted_where_the_messages_would_be_sent() -> None:
    when = When(format=("messages",))
    assert matches(when, replace(CALL, format="count_tokens"))
    assert not matches(when, CALL)


@pytest.mark.parametrize(
    ("formats", "format", "served"),
    [
        (("chat",), "messages", True),
        (("responses",), "chat", True),
        (("embeddings",), "embeddings", True),
        (("embeddings",), "chat", False),
        (("chat",), "embeddings", False),
        (("messages",), "count_tokens", True),
        (("chat",), "count_tokens", True),
    ],
)
def test_which_formats_are_served(formats: tuple[Format, ...], format: Format, served: bool) -> None:
    assert serves(formats, format) is served


@given(
    policies(), SIGNALS, BOUNDARIES, NOT_READY, st.dictionaries(st.sampled_from(["d0", "d1", "d2"]), st.just("open"))
)
def test_those_who_rest_come_last_and_change_nothing_else(
    policy: Policy,
    signals: Signals,
    boundaries: tuple[str, ...],
    not_ready: dict[str, str],
    resting: dict[str, str],
) -> None:
    awake = decide(signals, policy, boundaries, not_ready)
    route = decide(signals, policy, boundaries, not_ready, resting)
    assert route.ranked == sorted(awake.ranked, key=lambda name: name in resting)
    assert sorted(c.rank for c in route.candidates if c.rank) == list(range(1, len(route.ranked) + 1))
    assert (route.code, bool(route.winner)) == (awake.code, bool(awake.winner))
    assert all(bool(c.resting) == (c.rank > 0 and c.deployment in resting) for c in route.candidates)


@pytest.mark.parametrize(("input_tokens", "fits"), [(99, True), (100, False), (101, False)])
def test_the_input_must_leave_room_in_the_window(input_tokens: int, fits: bool) -> None:
    policy = replace(POLICY, deployments={**POLICY.deployments, "a": replace(PLACE, context_window=100)})
    route = decide(replace(CALL, model="a", input_tokens=input_tokens, output_tokens_max=10**6), policy, (), {})
    assert (route.winner == "a") is fits


@pytest.mark.parametrize(("unknown_model", "code"), [("route", ""), ("refuse", "model_unknown")])
def test_a_name_nobody_configured(unknown_model: str, code: str) -> None:
    policy = replace(POLICY, unknown_model=unknown_model)
    route = decide(replace(CALL, model="gpt-x", mode="odd"), policy, (), {})
    assert route.code == code
    assert route.unknown == ("mode:odd", "model:gpt-x")
    assert bool(route.candidates) is not bool(code)


def test_profiles_in_force_are_listed_once_in_order() -> None:
    policy = replace(POLICY, boundary="home")
    assert decide(CALL, policy, ("home", "gone", ""), {}).boundary == ("home", "gone")


@pytest.mark.parametrize(("boundary", "ranked"), [(None, ["b", "a"]), ("home", ["a"]), ("gone", [])])
def test_the_policy_s_own_boundary_binds_every_call(boundary: str | None, ranked: list[str]) -> None:
    route = decide(CALL, replace(POLICY, boundary=boundary), (), {})
    assert [c.deployment for c in route.candidates if c.rank] == ranked
