"""Nobody is invented where all are alike, everybody planted is found, in whatever order costs come, and once."""

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.ledger import anomaly
from interlock.ledger.anomaly import HOUR_NS, Found, Outlier, Spend, Watch, Watching, outliers
from interlock.units import NANO

WATCHING = Watching()
LOOK_NS = 10 * NANO
TEN_O_CLOCK = 480_010 * HOUR_NS
CENT = NANO // 100


def spend(name: str, amount: int, at_ns: int = TEN_O_CLOCK, **names: Any) -> Spend:
    plain = {"tenant": "acme", "team": "core", "mode": "code", "task": "", "principal": ""}
    return Spend(hour=at_ns // HOUR_NS, session=name, amount_nanousd=amount, **(plain | names))


Dated = tuple[int, Spend]
"""When it was settled."""


def traffic(seed: int, sessions: int = 60, planted: Mapping[str, int] | None = None) -> list[Dated]:
    """Sessions alike: 5 to 30 calls of some cents each; the planted ones spend so many times as much a call."""
    chance = random.Random(seed)
    found = []
    for n in range(sessions):
        name = f"s{n}"
        times = (planted or {}).get(name, 1)
        for _ in range(chance.randint(5, 30)):
            at_ns = TEN_O_CLOCK + chance.randrange(5 * HOUR_NS)
            cost = int(chance.lognormvariate(0, 0.6) * 5 * CENT) * times
            found.append((at_ns, spend(name, cost, at_ns, mode=("code", "plan")[n % 2])))
    return found


def watched(dated: Sequence[Dated], seed: int = 0, cut: int = 1, watching: Watching = WATCHING) -> list[Found]:
    """Looked at every ten seconds at which something came, within one in another order each time."""
    watch, chance, found = Watch(watching), random.Random(seed), list[Found]()
    moments: dict[int, list[Spend]] = {}
    for at_ns, one in dated:
        moments.setdefault((at_ns // (LOOK_NS * cut) + 1) * LOOK_NS * cut, []).append(one)
    for until_ns in sorted(moments):
        spends = moments[until_ns]
        chance.shuffle(spends)
        watch.add(spends)
        found += watch.look(until_ns)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_none_is_invented_where_all_are_alike(seed: int) -> None:
    assert watched(traffic(seed)) == []


@pytest.mark.parametrize(
    "watching", [Watching(factor=2), Watching(floor_nanousd=0, peers=3, factor=4)], ids=["twice", "no floor"]
)
def test_the_property_sees_anomalies_that_are_none(watching: Watching) -> None:
    """What a wrong factor, floor or number of peers would do."""
    assert any(watched(traffic(seed), watching=watching) for seed in range(3))


PLANTED = {"s3": 60, "s10": 150, "s21": 400}


def check_planted(seed: int) -> None:
    """All of them and nobody else, with figures that say so."""
    dated = traffic(seed, planted=PLANTED)
    found = watched(dated)
    assert {one.name for one in found} == set(PLANTED)
    for one in found:
        upto = [(at_ns, each) for at_ns, each in dated if at_ns < one.until_ns and each.mode == one.mode]
        costs: dict[str, int] = {}
        for _, each in upto:
            costs[each.session] = costs.get(each.session, 0) + each.amount_nanousd
        own = costs.pop(one.name)
        assert (one.cost_nanousd, one.peers) == (own, len(costs))
        assert abs(one.median_nanousd - median(costs.values())) <= 1
        assert one.times * median(costs.values()) <= own < 2 * one.times * median(costs.values())
        assert own >= WATCHING.floor_nanousd and one.times in [10 * 2**n for n in range(20)]
    assert len({one.id for one in found}) == len(found)


@pytest.mark.parametrize("seed", range(10))
def test_all_planted_are_found(seed: int) -> None:
    check_planted(seed)


def check_order(seed: int) -> None:
    dated = traffic(seed, planted=PLANTED)
    first = watched(dated, 1)
    random.Random(seed).shuffle(dated)
    assert watched(dated, 2) == first


@pytest.mark.parametrize("seed", range(5))
def test_the_order_does_not_matter(seed: int) -> None:
    check_order(seed)


def test_the_property_sees_a_middle_by_order_of_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look reads a group in the order in which its sessions came."""
    monkeypatch.setattr(anomaly, "sorted", list, raising=False)
    alike = [spend(f"p{n}", (n + 1) * NANO // 5) for n in range(11)]
    dated = [(TEN_O_CLOCK, one) for one in (*alike, spend("dear", 12 * NANO))]
    assert len({tuple(watched(dated, seed)) for seed in range(10)}) > 1
    monkeypatch.undo()
    assert len({tuple(watched(dated, seed)) for seed in range(10)}) == 1


@pytest.mark.parametrize("seed", range(5))
def test_what_was_found_is_not_found_again(seed: int) -> None:
    """A watch that begins anew in the middle, told of what was found, finds the rest and nothing twice."""
    dated = traffic(seed, planted=PLANTED)
    whole = watched(dated)
    half_ns = TEN_O_CLOCK + 2 * HOUR_NS
    early = [one for one in whole if one.until_ns <= half_ns]
    late = Watch(WATCHING)
    for one in early:
        late.tell(one)
    late.add([each for at_ns, each in dated if at_ns < half_ns])
    assert late.look(half_ns) == []
    found = []
    rest = sorted((at_ns, each) for at_ns, each in dated if at_ns >= half_ns)
    for at_ns, each in rest:
        late.add([each])
        if not any(at_ns < other < (at_ns // LOOK_NS + 1) * LOOK_NS for other, _ in rest):
            found += late.look((at_ns // LOOK_NS + 1) * LOOK_NS)
    assert {one.id for one in found} == {one.id for one in whole if one.until_ns > half_ns}


def _mean(ordered: list[int], index: int) -> int:
    return 2 * sum(ordered) // len(ordered)


def _with_itself(ordered: list[int], index: int) -> int:
    return ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]


@pytest.mark.parametrize("wrong", [_mean, _with_itself])
def test_the_property_sees_another_middle(
    wrong: Callable[[list[int], int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anomaly, "_twice_median_without", wrong)
    with pytest.raises(AssertionError):
        for seed in range(10):
            check_planted(seed)


def test_the_property_sees_a_watch_that_forgets_what_it_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watch, "_is_told", lambda *_: False)
    with pytest.raises(AssertionError):
        check_planted(1)


def brute(costs: Mapping[str, int], watching: Watching) -> list[tuple[str, int]]:
    found = []
    for name, cost in costs.items():
        others = sorted(other for who, other in costs.items() if who != name)
        if len(others) >= watching.peers and cost >= watching.floor_nanousd:
            twice = others[(len(others) - 1) // 2] + others[len(others) // 2]
            steps = [step for step in (watching.factor << n for n in range(64)) if 2 * cost >= step * twice]
            found += [(name, max(steps))] if steps else []
    return sorted(found)


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=2), st.integers(1, 40) | st.integers(100, 9_000), max_size=9
    ),
    st.builds(
        Watching, factor=st.integers(2, 12), peers=st.integers(3, 6), floor_nanousd=st.sampled_from([0, 50, 500])
    ),
)
def test_outliers_against_plain_loops(costs: dict[str, int], watching: Watching) -> None:
    found = outliers(costs, watching)
    assert sorted((one.name, one.times) for one in found) == brute(costs, watching)
    assert [one.cost for one in found] == sorted((one.cost for one in found), reverse=True)


def alike(count: int = 11, amount: int = CENT, **names: Any) -> list[Spend]:
    return [spend(f"p{n}", amount, **names) for n in range(count)]


def look(*spends: Spend, watching: Watching = WATCHING, at_ns: int = TEN_O_CLOCK + LOOK_NS) -> list[Found]:
    watch = Watch(watching)
    watch.add(spends)
    return watch.look(at_ns)


def test_peers_are_those_of_the_same_tenant_team_and_mode() -> None:
    dear = spend("dear", 100 * NANO)
    assert [one.name for one in look(dear, *alike())] == ["dear"]
    others: list[dict[str, Any]] = [{"tenant": "bolt"}, {"team": "apps"}, {"mode": "plan"}]
    for names in others:
        assert look(dear, *alike(**names)) == []
    assert look(dear, *alike(count=9)) == [], "too few peers"
    assert look(dear, *alike(amount=0)) == [], "who costs nothing is nobody's peer"
    assert look(spend("dear", NANO - 1), *alike()) == [], "below the floor"


def test_tasks_and_principals_have_peers_too() -> None:
    def one(n: int, amount: int) -> Spend:
        return spend("", amount, task=f"t{n}", principal=f"p{n}")

    found = look(one(99, 5 * NANO), *(one(n, CENT) for n in range(10)))
    assert sorted((one.kind, one.name, one.mode) for one in found) == [("principal", "p99", ""), ("task", "t99", "")]
    assert {one.times for one in found} == {320}


def test_each_step_is_told_once_the_highest_of_several() -> None:
    watch, told = Watch(WATCHING), list[int]()
    watch.add(alike(amount=NANO))
    for dollars in (1, 8, 1, 9, 1, 20, 100):
        watch.add([spend("dear", dollars * NANO)])
        told += [one.times for one in watch.look(TEN_O_CLOCK + LOOK_NS * (1 + len(told)))]
    assert told == [10, 20, 40, 80], "at 10, 20, 40 and 140 dollars; at 9, 19 and 20 nothing new"


def test_hours_leave_the_window() -> None:
    watching = msgspec.structs.replace(WATCHING, window_hours=2)
    watch = Watch(watching)
    watch.add([spend("dear", 6 * NANO, TEN_O_CLOCK), *alike(amount=NANO)])
    assert watch.look(TEN_O_CLOCK + HOUR_NS) == []
    later = TEN_O_CLOCK + 2 * HOUR_NS
    watch.add([spend("dear", 6 * NANO, later), *(spend(f"p{n}", NANO, later) for n in range(11))])
    assert watch.since_ns(later + 1) == TEN_O_CLOCK + HOUR_NS
    assert watch.look(later + LOOK_NS) == [], "six of today, not twelve"
    watch.look(later + 9 * HOUR_NS)
    assert (watch._groups, watch._hours, watch._places) == ({}, {}, 0), "nothing is kept of what has left"


def test_what_goes_on_is_told_again_when_the_window_has_moved_on() -> None:
    def day(n: int) -> list[Spend]:
        at_ns = TEN_O_CLOCK + 24 * n * HOUR_NS
        return [spend("", amount, at_ns, principal=who) for who, amount in [("ada", 5 * NANO), *cheap]]

    cheap = [(f"p{n}", CENT) for n in range(10)]
    watch, found = Watch(WATCHING), list[Found]()
    for n in range(3):
        watch.add(day(n))
        for hours in (1, 5, 23):
            found += watch.look(TEN_O_CLOCK + (24 * n + hours) * HOUR_NS)
    assert [one.name for one in found] == ["ada"] * 3, "once a day"
    assert len({one.id for one in found}) == 3


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anomaly, "PLACES_MAX", 12)
    monkeypatch.setattr(anomaly, "TOLD_MAX", 1)
    watch = Watch(WATCHING)
    watch.add([*alike(), spend("dear", 50 * NANO), spend("late", 50 * NANO)])
    [found] = watch.look(TEN_O_CLOCK + LOOK_NS)
    assert (found.name, watch.unwatched) == ("dear", 1)
    watch.tell(msgspec.structs.replace(found, name="other"))
    assert len(watch._told) == 1


def test_an_outlier_is_a_plain_value() -> None:
    costs = {f"p{n}": 2 for n in range(10)} | {"dear": 45}
    watching = msgspec.structs.replace(WATCHING, floor_nanousd=0)
    assert outliers(costs, watching) == [Outlier("dear", 45, 4, 10, 20)]
