"""The boundary against a plain restatement of it, and: knowing less never lets more through."""

from itertools import product
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least

from interlock.gateway.boundary import KINDS_MAX, Refusals, refusal
from interlock.gateway.policy import Deployment, Facts, Profile

Kind = tuple[tuple[str, ...], str, tuple[str, ...], tuple[str, ...]]
"""Profiles in force, source, accepted, sensitive."""
PLACES = st.sampled_from(["eu", "us", "de"])
FLAG = st.sampled_from([None, True, False])
FACTS = st.builds(
    Facts,
    geographies=st.lists(PLACES, max_size=2, unique=True).map(tuple),
    retention_days=st.none() | st.integers(0, 3),
    human_review=FLAG,
    training=FLAG,
    local=st.booleans(),
)
PROFILE = st.builds(
    Profile,
    name=st.just("p"),
    geographies=st.none() | st.lists(PLACES, max_size=2, unique=True).map(tuple),
    retention_days_max=st.none() | st.integers(0, 3),
    human_review=FLAG,
    training=FLAG,
    local_only=st.booleans(),
)


def satisfied(facts: Facts, profile: Profile) -> bool:
    """Clause by clause, as the policy's docstrings say it."""
    places, allowed, days = facts.geographies, profile.geographies, profile.retention_days_max
    return (
        (facts.local or not profile.local_only)
        and (allowed is None or (all(within(one, allowed) for one in places) and (bool(places) or facts.local)))
        and (days is None or (facts.retention_days is not None and facts.retention_days <= days))
        and (profile.human_review is not False or facts.human_review is False)
        and (profile.training is not False or facts.training is False)
    )


def within(place: str, allowed: tuple[str, ...]) -> bool:
    """Germany lies in the European Union; of the three places no other lies in another."""
    return place in allowed or (place == "de" and "eu" in allowed)


@given(FACTS, st.lists(PROFILE, max_size=3))
def test_all_clauses_of_all_profiles_must_hold(facts: Facts, profiles: list[Profile]) -> None:
    assert (refusal(facts, profiles) == "") is all(satisfied(facts, profile) for profile in profiles)


@given(FACTS, PROFILE, st.sampled_from(["retention_days", "human_review", "training", "local", "geographies"]))
def test_knowing_less_never_lets_more_through(facts: Facts, profile: Profile, forgotten: str) -> None:
    unset = {"local": False, "geographies": ()}.get(forgotten)
    less = msgspec.structs.replace(facts, **{forgotten: unset})
    # A local place without geographies is where the operator is: the one fact whose absence is not ignorance.
    if refusal(facts, [profile]) and not (forgotten == "geographies" and facts.local):
        assert refusal(less, [profile])


@given(FACTS, st.lists(PROFILE, max_size=2), PROFILE)
def test_another_profile_never_lets_more_through(facts: Facts, profiles: list[Profile], another: Profile) -> None:
    if refusal(facts, profiles):
        assert refusal(facts, [*profiles, another])
        assert refusal(facts, [another, *profiles])


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (Profile(name="p", local_only=True), "local_only: the deployment is not declared local"),
        (Profile(name="p", geographies=("eu",)), "geographies: not declared"),
        (Profile(name="p", geographies=()), "geographies: not declared"),
        (Profile(name="p", retention_days_max=30), "retention_days: not declared"),
        (Profile(name="p", human_review=False), "human_review: not declared"),
        (Profile(name="p", training=False), "training: not declared"),
    ],
)
def test_what_is_not_declared_is_refused_by_name(profile: Profile, why: str) -> None:
    assert refusal(Facts(), [profile]) == f"boundary p: {why}"


@pytest.mark.parametrize(
    ("facts", "profile", "why"),
    [
        (Facts(geographies=("eu", "us")), Profile(name="p", geographies=("eu",)), "geographies: us outside eu"),
        (Facts(geographies=("eu",)), Profile(name="p", geographies=()), "geographies: eu outside (none allowed)"),
        (Facts(retention_days=31), Profile(name="p", retention_days_max=30), "retention_days: 31 is more than 30"),
        (Facts(human_review=True), Profile(name="p", human_review=False), "human_review: not allowed"),
        (Facts(training=True), Profile(name="p", training=False), "training: not allowed"),
    ],
)
def test_what_is_declared_and_outside_is_refused_by_name(facts: Facts, profile: Profile, why: str) -> None:
    assert refusal(facts, [profile]) == f"boundary p: {why}"


def test_the_edges_are_inside() -> None:
    assert refusal(Facts(retention_days=30), [Profile(name="p", retention_days_max=30)]) == ""
    assert refusal(Facts(retention_days=0), [Profile(name="p", retention_days_max=0)]) == ""
    assert refusal(Facts(local=True), [Profile(name="p", geographies=("eu",), local_only=True)]) == ""
    assert refusal(Facts(), [Profile(name="p", human_review=True, training=True)]) == ""


WORDS = [(), ("a",), ("b",), ("a", "b")]
ASKING = st.builds(
    Profile,
    name=st.just(""),
    geographies=st.none() | st.just(("eu",)),
    sources=st.none() | st.just({"de": ("source",), "*": ("us",)}),
    sensitive=st.sampled_from([None, "local"]),
)
CALLS = list(product([(), ("p0",), ("p1",), ("p0", "p1"), ("p1", "p0")], ["", "de", "us"], WORDS, WORDS))


@settings(max_examples=at_least(30))
@given(
    st.lists(st.builds(msgspec.structs.replace, FACTS, agreements=st.sampled_from(WORDS)), min_size=1, max_size=3),
    st.lists(ASKING, min_size=2, max_size=2),
    st.randoms(use_true_random=False),
)
def test_what_is_remembered_is_what_would_be_judged(
    facts: list[Facts], profiles: list[Profile], chance: Random
) -> None:
    place = Deployment(name="", provider="o", base_url="http://h", model="m", family="f", formats=("chat",))
    deployments = {f"d{n}": msgspec.structs.replace(place, name=f"d{n}", facts=one) for n, one in enumerate(facts)}
    named = {f"p{n}": msgspec.structs.replace(profile, name=f"p{n}") for n, profile in enumerate(profiles)}
    refusals = Refusals(deployments, named)
    for in_force, source, accepted, sensitive in chance.sample(CALLS, len(CALLS)):
        found = refusals.of(in_force, source, accepted, sensitive)
        assert len(refusals._known) <= KINDS_MAX
        for name, deployment in deployments.items():
            under = [named[one] for one in in_force]
            assert found[name] == refusal(deployment.facts, under, source, accepted, sensitive)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((("p0",), "de", ("a",), ()), (("p0",), "us", ("a",), ())),
        ((("p0",), "de", ("a",), ()), (("p0",), "de", (), ())),
        ((("p0",), "de", ("a",), ()), (("p0",), "de", ("a",), ("card",))),
        ((("p0",), "us", ("a",), ()), ((), "us", ("a",), ())),
        ((("p0", "p1"), "us", ("a",), ()), (("p1", "p0"), "us", ("a",), ())),
    ],
)
def test_nothing_that_is_judged_is_forgotten(one: Kind, other: Kind) -> None:
    """Two calls that differ in one thing that counts: the memory must tell them apart, either one first."""
    facts = Facts(geographies=("de",), agreements=("a",))
    place = Deployment(name="d", provider="o", base_url="h", model="m", family="f", formats=("chat",), facts=facts)
    rule = Profile(name="", sources={"de": ("source",), "*": ("us",)}, sensitive="local")
    named = {name: msgspec.structs.replace(rule, name=name) for name in ("p0", "p1")}
    told = [refusal(facts, [named[name] for name in kind[0]], *kind[1:]) for kind in (one, other)]
    assert told[0] != told[1]
    for kinds in ((one, other), (other, one)):
        refusals = Refusals({"d": place}, named)
        found = {kind: refusals.of(*kind)["d"] for kind in kinds}
        assert [found[one], found[other]] == told
