"""Anomalies as records, on a real log and a real view: found once, over starts, new settings, failed writes."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.logs import RepeatingLog, adopted, log_of, opened, record, settled

from interlock.control.anomalies import GRACE_NS, LOOK_NS, STREAM, Anomalies
from interlock.errors import LogUnavailable, TransientError
from interlock.ledger import Found, Ledger, Price, Spend, Watching
from interlock.limits import Notice
from interlock.log import Appended, Conflict, Record
from interlock.log.sqlite import SqliteLog
from interlock.testing.clock import ManualClock
from interlock.units import NANO

NOW_NS = 1_700_000_000 * NANO // LOOK_NS * LOOK_NS
CONFIG = log_of(config=[adopted("sha256:1", {"sonnet": Price(per_mtok={"input": NANO})})])


def calls(session: str, dollars: int, at_ns: int = NOW_NS, number: int = 1) -> list[Record]:
    """One call that costs so much, settled a second after it was opened."""
    id = f"req_{session}_{number}"
    begun = opened(id, session=session, principal=session, team="core")
    used = {"input": dollars * 1_000_000, "output": 0}
    return [record(begun, at_ns - NANO), record(settled(id, usage=used), at_ns)]


class FailingLog(SqliteLog):
    """Fails as it is told: before or after the records stand."""

    fault = ""

    async def append(self, stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
        fault, self.fault = self.fault, ""
        if fault == "before":
            raise LogUnavailable("planted")
        outcome = await super().append(stream, records, expect=expect)
        if fault == "after":
            raise LogUnavailable("planted")
        return outcome


class World:
    """One data directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.usage = RepeatingLog()
        self.clock = ManualClock(NOW_NS)
        self.told = list[Notice]()
        for n in range(12):
            self.usage.put("usage/0", *calls(f"p{n}", 1))

    @contextmanager
    def started(self, watching: Watching | None = None) -> Iterator[Callable[..., list[Found]]]:
        """A process; what it yields folds and looks, `after` seconds later than NOW."""
        with closing(FailingLog(self.root / "log.sqlite")) as log, closing(Ledger(self.root / "v.sqlite")) as ledger:
            self.log = log
            self.anomalies = Anomalies(ledger, log, self.clock, self.told.append)
            self.anomalies.configure(watching or Watching())
            asyncio.run(self.anomalies.take_up())

            def look(after: int) -> list[Found]:
                asyncio.run(ledger.catch_up(self.usage, CONFIG))
                return asyncio.run(self.anomalies.look(NOW_NS + after * NANO + GRACE_NS))

            yield look

    def written(self) -> list[str]:
        """Ids in the stream."""
        with closing(SqliteLog(self.root / "log.sqlite")) as log:
            return [stored.record.id for stored in log.read_after(STREAM, 0)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def names(found: Sequence[Found]) -> list[tuple[str, str, int]]:
    return [(one.kind, one.name, one.times) for one in found]


def test_found_once_written_and_told(world: World) -> None:
    with world.started() as look:
        assert look(10) == []
        world.usage.put("usage/0", *calls("dear", 25, NOW_NS + 12 * NANO))
        assert look(12) == [], "looked at already"
        found = look(20)
        assert names(found) == [("principal", "dear", 20), ("session", "dear", 20)]
        assert (found[1].cost_nanousd, found[1].median_nanousd, found[1].peers) == (25 * NANO, NANO, 12)
        assert look(30) == []
        world.usage.put("usage/0", *calls("dear", 20, NOW_NS + 31 * NANO, number=2))
        assert names(look(40)) == [("principal", "dear", 40), ("session", "dear", 40)]
        assert world.anomalies.counts == {"principal": 2, "session": 2}
    assert len(world.written()) == len(set(world.written())) == 4
    assert [one.id for one in world.told] == world.written()
    assert b'"cost":"25.00"' in world.told[0].content


def test_a_start_finds_nothing_twice_and_goes_on(world: World) -> None:
    world.usage.put("usage/0", *calls("dear", 25))
    with world.started() as look:
        assert len(look(10)) == 2
    with world.started() as look:
        assert look(20) == []
        assert names(world.anomalies.newest("acme", None, None, "session")) == [("session", "dear", 20)]
        world.usage.put("usage/0", *calls("dear", 100, NOW_NS + 21 * NANO, number=2))
        assert names(look(30)) == [("principal", "dear", 80), ("session", "dear", 80)]
    with world.started() as look:
        assert look(40) == []
    assert len(world.written()) == 4


def test_a_start_after_the_log_of_views_was_thrown_away(world: World) -> None:
    world.usage.put("usage/0", *calls("dear", 25))
    with world.started() as look:
        assert len(look(10)) == 2
    for path in world.root.glob("v.sqlite*"):
        path.unlink()
    with world.started() as look:
        assert look(10_000) == []


def test_a_change_of_settings_looks_at_the_window_again(world: World) -> None:
    world.usage.put("usage/0", *calls("dear", 8))
    with world.started() as look:
        assert look(10) == []
        world.anomalies.configure(Watching(factor=4))
        assert names(look(20)) == [("principal", "dear", 8), ("session", "dear", 8)]
        world.anomalies.configure(Watching(factor=3))
        assert look(30) == [], "eight times the median was told already"
        world.anomalies.configure(Watching(enabled=False))
        world.usage.put("usage/0", *calls("dear", 800, NOW_NS + 31 * NANO, number=2))
        assert look(40) == []


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_write_that_fails_is_made_good_by_the_next_look(world: World, fault: str) -> None:
    world.usage.put("usage/0", *calls("dear", 25))
    with world.started() as look:
        world.log.fault = fault
        with pytest.raises(LogUnavailable):
            look(10)
        again = look(20)
        assert len(again) == (2 if fault == "before" else 0), "what stands already is not written twice"
        world.usage.put("usage/0", *calls("dear", 20, NOW_NS + 31 * NANO, number=2))
        assert len(look(40)) == 2
        assert len(world.anomalies.newest(None, None, None, None)) == 4
    assert len(world.written()) == 4


def test_a_look_that_fails_in_the_middle_adds_nothing_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six dollars are no anomaly; twice six dollars would be."""
    world.usage.put("usage/0", *calls("dear", 6, NOW_NS - 3 * 3_600 * NANO))
    spends, failing = Ledger.spends, [True]

    def fails(self: Ledger, since_ns: int, until_ns: int) -> list[Spend]:
        if failing and since_ns > NOW_NS - 2 * 3_600 * NANO:
            failing.clear()
            raise TransientError("planted", code="view_unavailable")
        return spends(self, since_ns, until_ns)

    monkeypatch.setattr(Ledger, "spends", fails)
    with world.started() as look:
        with pytest.raises(TransientError, match="planted"):
            look(10)
        assert look(20) == []
        world.usage.put("usage/0", *calls("dear", 4, NOW_NS + 21 * NANO, number=2))
        assert [one.cost_nanousd for one in look(30)] == [10 * NANO, 10 * NANO]


def test_settings_that_change_during_a_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.usage.put("usage/0", *calls("dear", 25))
    spends = Ledger.spends

    def meanwhile(self: Ledger, since_ns: int, until_ns: int) -> list[Spend]:
        monkeypatch.setattr(Ledger, "spends", spends)
        world.anomalies.configure(Watching(factor=20))
        return spends(self, since_ns, until_ns)

    monkeypatch.setattr(Ledger, "spends", meanwhile)
    with world.started() as look:
        assert look(10) == []
        assert names(look(20)) == [("principal", "dear", 20), ("session", "dear", 20)]


def test_an_id_with_other_content_is_said(world: World) -> None:
    world.usage.put("usage/0", *calls("dear", 25))
    with world.started() as look:
        foreign = Found(
            kind="session", tenant="acme", name="dear", times=20, cost_nanousd=1, median_nanousd=1, peers=1,
            since_ns=0, until_ns=1, factor=2, floor_nanousd=0, team="core",
        )  # fmt: skip
        asyncio.run(world.log.append(STREAM, [Record(id=foreign.id, type="other", at_ns=1, payload=b"{}")]))
        with pytest.raises(TransientError, match="another process"):
            look(10)


def test_what_is_asked_for_is_what_is_shown(world: World) -> None:
    world.usage.put("usage/0", *calls("dear", 25))
    with world.started() as look:
        look(10)
        until_ns = NOW_NS + 10 * NANO
        newest: Callable[..., Any] = world.anomalies.newest
        assert newest("bolt", None, None, None) == []
        assert names(newest(None, until_ns, until_ns + 1, "principal")) == [("principal", "dear", 20)]
        assert newest(None, None, until_ns, None) == [] == newest(None, until_ns + 1, None, None)
