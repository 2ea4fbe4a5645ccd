"""The memory against the decision: whatever came before, the router answers as `decide` does."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.gateway.policies import BOUNDARIES, NOT_READY, SIGNALS, policies

from interlock.gateway import router as router_module
from interlock.gateway.policy import Deployment, Policy, Rule, Tier, When
from interlock.gateway.router import Router
from interlock.gateway.routing import Decision, decide
from interlock.gateway.signals import Signals

CALL = st.tuples(SIGNALS, BOUNDARIES)


@st.composite
def neighbours(draw: st.DrawFn) -> list[tuple[Signals, tuple[str, ...]]]:
    """Calls that differ in one thing from the one before: where a memory goes wrong."""
    calls = [draw(CALL)]
    for field in draw(st.lists(st.sampled_from([*Signals.__struct_fields__, "boundaries"]), max_size=12)):
        other, boundaries = draw(CALL)
        signals, before = calls[-1]
        if field == "boundaries":
            calls.append((signals, boundaries))
        else:
            calls.append((msgspec.structs.replace(signals, **{field: getattr(other, field)}), before))
    return calls


@settings(max_examples=at_least(120))
@given(policies(), NOT_READY, neighbours())
def test_as_decide(policy: Policy, not_ready: dict[str, str], calls: list[tuple[Signals, tuple[str, ...]]]) -> None:
    router = Router(policy, not_ready)
    for signals, boundaries in calls:
        routed = router.route(signals, boundaries)
        assert routed.route == decide(signals, policy, boundaries, not_ready)


@given(policies(), NOT_READY, SIGNALS, BOUNDARIES, st.sampled_from([(), ("model",), ("model", "x")]))
def test_the_decision_s_json_is_the_decision(
    policy: Policy,
    not_ready: dict[str, str],
    signals: Signals,
    boundaries: tuple[str, ...],
    splices: tuple[str, ...],
) -> None:
    routed = Router(policy, not_ready).route(signals, boundaries)
    decision = msgspec.json.decode(routed.decision(signals, splices), type=Decision)
    assert (decision.signals, decision.splices) == (signals, splices)
    for field in type(routed.route).__struct_fields__:
        assert getattr(decision, field) == getattr(routed.route, field)


@given(policies(), st.lists(SIGNALS, min_size=8, max_size=20))
def test_the_memory_is_bounded(policy: Policy, calls: list[Signals]) -> None:
    router = Router(policy, {})
    most, router_module.KINDS_MAX = router_module.KINDS_MAX, 3
    try:
        for number, signals in enumerate(calls):
            made_up = msgspec.structs.replace(signals, mode=f"m{number}")
            assert router.route(made_up, ()).route == decide(made_up, policy, (), {})
            assert len(router._known) <= 3
    finally:
        router_module.KINDS_MAX = most


@given(policies(), st.lists(SIGNALS, min_size=8, max_size=20))
def test_many_candidates_are_forgotten_sooner(policy: Policy, calls: list[Signals]) -> None:
    router = Router(policy, {})
    most, router_module.CANDIDATES_MAX = router_module.CANDIDATES_MAX, 4
    try:
        for number, signals in enumerate(calls):
            made_up = msgspec.structs.replace(signals, mode=f"m{number}")
            assert router.route(made_up, ()).route == decide(made_up, policy, (), {})
            assert sum(len(known.route.candidates) for known in router._known.values()) < 4 + len(policy.deployments)
    finally:
        router_module.CANDIDATES_MAX = most


def test_what_was_forgotten_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Deployment(name="d", provider="o", base_url="http://h", model="m", family="f", formats=("chat",))
    tiers = {"t": Tier(name="t", deployments=("d",))}
    policy = Policy(version="v", deployments={"d": place}, tiers=tiers, rules=(), profiles={}, default_tier="t")
    monkeypatch.setattr(router_module, "CANDIDATES_MAX", 3)
    router, held = Router(policy, {}), []
    for number in range(7):
        router.route(msgspec.structs.replace(BASE, mode=f"m{number}"), ())
        held.append(len(router._known))
    assert held == [1, 2, 3, 1, 2, 3, 1]


def test_conversations_among_equals_share_their_few_orders() -> None:
    equals = {f"d{number}": number + 1 for number in range(3)}
    place = Deployment(name="", provider="o", base_url="http://h", model="m", family="f", formats=("chat",))
    policy = Policy(
        version="v",
        deployments={name: msgspec.structs.replace(place, name=name) for name in equals},
        tiers={"t": Tier(name="t", deployments=tuple(equals), spread=(equals,))},
        rules=(),
        profiles={},
        default_tier="t",
    )
    router, routes = Router(policy, {}), []
    for number in range(200):
        signals = msgspec.structs.replace(BASE, conversation=f"{number:024x}")
        routes.append(router.route(signals, ()))
        assert routes[-1].route == decide(signals, policy, (), {})
    assert len({id(routed) for routed in routes[1:]}) == 6
    assert len(router._known) == 7, "the orders, and what says that order matters"


BASE = Signals(format="chat", model="x", tenant="acme", principal="p", labels={"team": "a"}, input_tokens=5)
CLAUSES: dict[str, tuple[When, dict[str, object]]] = {
    "format": (When(format=("messages",)), {"format": "messages"}),
    "model": (When(model=("gpt-*",)), {"model": "gpt-x"}),
    "mode": (When(mode=("plan",)), {"mode": "plan"}),
    "tenant": (When(tenant=("other",)), {"tenant": "other"}),
    "principal": (When(principal=("q",)), {"principal": "q"}),
    "labels": (When(labels={"team": "b"}), {"labels": {"team": "b"}}),
    "min": (When(input_tokens_min=6), {"input_tokens": 6}),
    "max": (When(input_tokens_max=4), {"input_tokens": 4}),
    "no": (When(stream=False, tools=True), {"tools": True}),
    **{
        flag: (msgspec.structs.replace(When(), **{flag: True}), {flag: True})
        for flag in ("tools", "tool_result", "images", "reasoning", "schema", "stream", "chore")
    },
}


@pytest.mark.parametrize("clause", CLAUSES)
def test_nothing_that_a_rule_can_ask_is_forgotten(clause: str) -> None:
    """One rule, and two calls that differ in what it asks alone: the memory must tell them apart, either one first."""
    when, change = CLAUSES[clause]
    place = Deployment(name="d", provider="o", base_url="http://h", model="m", family="f", formats=("chat",))
    policy = Policy(
        version="v",
        deployments={"d": place},
        tiers={name: Tier(name=name, deployments=("d",)) for name in ("t0", "t1")},
        rules=(Rule(name="r", when=when, tier="t1"),),
        profiles={},
        default_tier="t0",
    )
    changed = msgspec.structs.replace(BASE, **change)
    for calls in ((BASE, changed), (changed, BASE)):
        router = Router(policy, {})
        routes = [router.route(signals, ()).route for signals in calls]
        assert routes == [decide(signals, policy, (), {}) for signals in calls]
        assert {route.tier for route in routes} == {"t0", "t1"}
