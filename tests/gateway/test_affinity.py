"""Who keeps a conversation: the arithmetic against a plain one, and each reason to go or to stay."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.gateway.policies import BOUNDARIES, DEPLOYMENTS, NOT_READY, PRICES, SIGNALS, policies

from interlock.gateway.affinity import Affinity, Held, cached_tokens, moved, unreadable, weigh
from interlock.gateway.policy import Affinity as Settings
from interlock.gateway.policy import Deployment, Policy, Profile, Rule, Tier, When
from interlock.gateway.router import Router
from interlock.gateway.routing import Decision, Route, decide, kept
from interlock.gateway.signals import Signals
from interlock.ledger import Price, Step

FRONTIER = Price(
    per_mtok={"input": 5_000, "cache_read": 500, "cache_write": 6_250, "output": 25_000}, source="override"
)
"""Nano-USD: a thousandth of a million times too small, so that a digit too many is seen."""
CHEAP = Price(per_mtok={"input": 325, "cache_read": 33, "output": 1_950})
MIDDLE = Price(per_mtok={"input": 3_000, "cache_read": 300, "cache_write": 3_750, "output": 15_000})
NOW = 1_800_000_000


def deployment(name: str, price: Price | None, family: str = "f", **more: Any) -> Deployment:
    base = Deployment(name=name, provider="o", base_url="http://h", model="m", family=family, formats=("chat",))
    return msgspec.structs.replace(base, price=price, **more)


def policy_of(*deployments: Deployment, tiers: Mapping[str, tuple[str, ...]], **more: Any) -> Policy:
    made = Policy(
        version="v",
        deployments={one.name: one for one in deployments},
        tiers={name: Tier(name=name, deployments=order) for name, order in tiers.items()},
        rules=(Rule(name="edits", when=When(mode=("edit",)), tier="cheap"),),
        profiles={"eu": Profile(name="eu", geographies=("eu",))},
        default_tier=next(iter(tiers)),
    )
    return msgspec.structs.replace(made, **more)


def held(name: str = "opus", *, cached: int = 100_000, output: int = 500, at_s: int = NOW) -> Held:
    return Held(name, "f", 0, cached, output, at_s)


def signals(mode: str = "edit", tokens: int = 101_000) -> Signals:
    return Signals(format="chat", model="auto", tenant="t", principal="p", mode=mode, input_tokens=tokens)


def route_of(policy: Policy, held: Held, signals: Signals, not_ready: dict[str, str] | None = None) -> Route:
    made = decide(signals, policy, (), not_ready or {})
    return kept(made, signals, policy, held, NOW, not_ready or {})


def saving(policy: Policy) -> Policy:
    return msgspec.structs.replace(policy, rules=(msgspec.structs.replace(policy.rules[0], switch="saving"),))


TIERS = {"main": ("opus",), "cheap": ("qwen",), "both": ("qwen", "opus")}
PLAIN = policy_of(deployment("opus", FRONTIER), deployment("qwen", CHEAP), deployment("sonnet", MIDDLE), tiers=TIERS)


def test_the_rule_demands_it() -> None:
    route = route_of(PLAIN, held(), signals())
    assert route.winner == "qwen"
    assert route.affinity == Affinity(held_by="opus", verdict="rule", over="qwen")


def test_to_the_nano_dollar() -> None:
    """100,000 cached, 1,000 new, 500 out, beside all of it once more, on paper."""
    route = route_of(saving(PLAIN), held(), signals())
    stay = Fraction(100_000 * 500 + 1_000 * 6_250 + 500 * 25_000, 1_000_000)
    switch = Fraction(101_000 * 325 + 500 * 1_950, 1_000_000)
    assert route.winner == "qwen" and route.affinity is not None
    assert route.affinity == Affinity(
        held_by="opus",
        verdict="saving",
        over="qwen",
        cached_tokens=100_000,
        output_tokens=500,
        calls=1,
        stay_nanousd=round(stay),
        switch_nanousd=round(switch),
    )


def test_a_lost_cache_costs_more_than_it_saves() -> None:
    """Cheaper a token, dearer a call: 100,000 tokens would be written once more."""
    tiers = {"main": ("opus",), "cheap": ("sonnet",)}
    dear = saving(policy_of(deployment("opus", FRONTIER), deployment("sonnet", MIDDLE), tiers=tiers))
    route = route_of(dear, held(), signals())
    assert (route.winner, route.tier, route.affinity and route.affinity.verdict) == ("opus", "cheap", "kept")
    assert [(c.deployment, c.rank) for c in route.candidates] == [("sonnet", 2), ("opus", 1)]
    assert route.ranked == ["opus", "sonnet"]
    patient = msgspec.structs.replace(dear, affinity=Settings(calls=50))
    route = route_of(patient, held(), signals())
    assert (route.winner, route.affinity and route.affinity.verdict) == ("sonnet", "saving")


def test_within_a_tier_it_stays_unless_it_saves() -> None:
    """The first of the tier was away, and is back."""
    plain = policy_of(deployment("a", MIDDLE), deployment("b", MIDDLE), tiers={"main": ("a", "b")}, rules=())
    route = route_of(plain, held("b"), signals())
    assert route.ranked == ["b", "a"] and route.affinity is not None and route.affinity.verdict == "kept"
    assert route_of(plain, held("b", at_s=NOW - 301), signals()).affinity == Affinity(
        held_by="b", verdict="cold", over="a"
    )
    assert route_of(plain, held("b", at_s=NOW - 300), signals()).winner == "b"
    assert route_of(plain, held("b", cached=0), signals()) == decide(signals(), plain, (), {}), "nothing is lost"
    cold = msgspec.structs.replace(plain, affinity=Settings(cache_s=0.0))
    assert route_of(cold, held("b"), signals()) == decide(signals(), cold, (), {})


def test_who_cannot_serve_does_not_keep_it() -> None:
    plain = policy_of(deployment("a", MIDDLE), deployment("b", MIDDLE), tiers={"main": ("a", "b")}, rules=())
    route = route_of(plain, held("b"), signals(), {"b": "loading"})
    assert route.affinity == Affinity(held_by="b", verdict="unserved", over="a") and route.winner == "a"
    small = saving(policy_of(deployment("opus", FRONTIER, context_window=10), deployment("qwen", CHEAP), tiers=TIERS))
    route = route_of(small, held(), signals())
    assert route.affinity and route.affinity.verdict == "unserved"
    assert "context" in route.candidates[-1].refused and route.candidates[-1].deployment == "opus"
    fenced = msgspec.structs.replace(
        saving(policy_of(deployment("opus", FRONTIER), deployment("sonnet", MIDDLE), tiers={"cheap": ("sonnet",)})),
        boundary="eu",
    )
    assert route_of(fenced, held(), signals()).winner == ""


def test_without_a_price_nothing_shows_that_it_saves() -> None:
    unpriced = saving(policy_of(deployment("opus", FRONTIER), deployment("qwen", None), tiers=TIERS))
    route = route_of(unpriced, held(), signals())
    assert route.winner == "opus" and route.affinity is not None
    assert (route.affinity.verdict, route.affinity.switch_nanousd) == ("kept", None)


def test_a_policy_that_has_forgotten_it() -> None:
    assert route_of(PLAIN, held(""), signals()) == decide(signals(), PLAIN, (), {})


@pytest.mark.parametrize(
    ("usage", "price", "tokens"),
    [
        ({"input": 9_000, "cache_read": 4_000, "cache_write_5m": 500}, FRONTIER, 4_500),
        ({"input": 9_000, "cache_read": 4_000, "cache_write_1h": 5, "cache_write": 7}, FRONTIER, 4_012),
        ({"input": 9_000}, FRONTIER, 0),
        ({"input": 9_000, "cache_read": 1_024}, CHEAP, 9_000),
        ({"input": 1_023}, CHEAP, 0),
        ({"input": 9_000, "cache_write": 3}, CHEAP, 3),
        ({"input": 9_000}, Price(per_mtok={"input": 1, "output": 1}), 0),
        ({"input": 9_000}, None, 0),
        ({"input": 9_000, "cache_read": 1_024}, None, 9_000),
    ],
)
def test_what_is_cached(usage: dict[str, int], price: Price | None, tokens: int) -> None:
    assert cached_tokens(usage, price) == tokens


def test_whose_reasoning_stands_where() -> None:
    claude, gpt = deployment("c", None, "claude"), deployment("g", None, "gpt")
    first = moved(None, claude, 1, {}, NOW)
    assert (first.since, unreadable(first, "claude", 3), unreadable(first, "gpt", 3)) == (0, 0, 3)
    second = moved(first, gpt, 3, {"output": 9}, NOW)
    assert (second.since, second.output_tokens) == (3, 9)
    assert (unreadable(second, "gpt", 7), unreadable(second, "claude", 7)) == (3, 7)
    third = moved(second, gpt, 7, {}, NOW)
    assert third.since == 3
    shortened = moved(third, gpt, 2, {}, NOW)
    assert (shortened.since, unreadable(third, "gpt", 2)) == (2, 2)
    assert unreadable(None, "gpt", 9) == 0


def _plain_cost(price: Price, size: int, cached: int, output: int, calls: int) -> Fraction:
    each = price.per_mtok
    for step in price.above:
        if size > step.input_tokens:
            each = step.per_mtok
    total = Fraction(0)
    for call in range(calls):
        found = cached if call == 0 else size
        total += found * Fraction(each.get("cache_read", each["input"]))
        total += (size - found) * Fraction(each.get("cache_write", each["input"]))
        total += output * Fraction(each["output"])
    return total / 1_000_000


PRICE = st.builds(
    Price,
    per_mtok=PRICES,
    above=st.just(()) | st.builds(lambda n, each: (Step(input_tokens=n, per_mtok=each),), st.integers(1, 9), PRICES),
)


@settings(max_examples=at_least(120))
@given(PRICE, PRICE, st.integers(0, 12), st.integers(0, 12), st.integers(0, 9), st.integers(1, 4))
def test_as_on_paper(a: Price, b: Price, size: int, cached: int, output: int, calls: int) -> None:
    made = policy_of(deployment("a", a), deployment("b", b), tiers={"main": ("a", "b")}, affinity=Settings(calls=calls))
    found = weigh(held("a", cached=cached, output=output), size, made.deployments["b"], made)
    whole = max(size, cached)
    stay, switch = _plain_cost(a, whole, cached, output, calls), _plain_cost(b, whole, 0, output, calls)
    assert found.verdict == ("saving" if switch < stay else "kept")
    assert (found.stay_nanousd, found.switch_nanousd) == (round(stay), round(switch))


HELD = st.builds(
    Held,
    deployment=st.sampled_from([*DEPLOYMENTS, ""]),
    family=st.just("f"),
    since=st.just(0),
    cached_tokens=st.integers(0, 9),
    output_tokens=st.integers(0, 9),
    at_s=st.sampled_from([NOW - 301, NOW - 1, NOW]),
)


@settings(max_examples=at_least(120))
@given(policies(), NOT_READY, SIGNALS, BOUNDARIES, HELD)
def test_whatever_holds_it(
    policy: Policy, not_ready: dict[str, str], signals: Signals, boundaries: tuple[str, ...], held: Held
) -> None:
    """Nobody serves that the decision refused; the ranks are whole; the router says the same, and writes it."""
    base = decide(signals, policy, boundaries, not_ready)
    route = kept(base, signals, policy, held, NOW, not_ready)
    assert bool(route.winner) == bool(base.winner) and (route.tier, route.rule) == (base.tier, base.rule)
    ranked = [c for c in route.candidates if c.rank]
    assert sorted(c.rank for c in ranked) == list(range(1, len(ranked) + 1))
    assert not any(c.refused for c in ranked)
    assert set(base.ranked) <= set(route.ranked)
    assert route.winner in (base.winner, held.deployment)
    if route.winner != base.winner:
        assert route.affinity is not None and route.affinity.verdict == "kept"
    router = Router(policy, not_ready)
    routed = router.kept(router.route(signals, boundaries), signals, held, NOW)
    assert routed.route == route
    decision = msgspec.json.decode(routed.decision(signals, ()), type=Decision)
    assert decision.affinity == route.affinity
