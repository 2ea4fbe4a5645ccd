"""Retention against a plain reckoning: over days, policies, late events, deaths at each point, tables made again."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.e2e.server import until
from tests.intake.events import correction, event
from tests.meters.bench import ORIGIN, some
from tests.meters.keeping import Kept
from tests.meters.reckoning import reckoned
from tests.meters.test_meters import _with
from tests.tables.test_engines import shell

from interlock.datadir import DataDir
from interlock.errors import InterlockError
from interlock.intake import Event, Origin
from interlock.log import Record
from interlock.meters import Meters, Query, Rule, Settings, Store, Wanted
from interlock.meters import keeper as keeper_module
from interlock.meters import service as service_module
from interlock.meters.horizons import Applied
from interlock.proof.rebuild import check
from interlock.proof.views import views
from interlock.tables import Tables, manifest

DAY_MINUTES = 24 * 60
POINTS = ("written", "kept", "adopted", "archived", "archive_adopted")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setattr(service_module, "ROWS_MAX", 40)
    monkeypatch.setattr(service_module, "WRITE_S", 0.02)
    monkeypatch.setattr(service_module, "POLL_S", 0.005)
    monkeypatch.setattr(service_module, "AGAIN_S", 0.05)
    monkeypatch.setattr(keeper_module, "AGAIN_S", 0.05)
    made = Kept(tmp_path, Settings())
    yield made
    made.close()


def policy(root: Path, keep_days: int, **others: Any) -> Settings:
    rule = Rule(keep_days=keep_days, then="archive")
    return Settings(archive=Store(place=str(root / "archive")), events=rule, rollups=rule, **others)


def since(sent: Sequence[dict[str, Any]], day: date) -> list[dict[str, Any]]:
    return [one for one in sent if one["time"][:10] >= day.isoformat()]


@pytest.mark.parametrize("seed", range(4))
def test_answers_and_archive_are_the_reckoned_ones(kept: Kept, tmp_path: Path, seed: int) -> None:
    chance, made, horizon = Random(seed), 0, date(1970, 1, 1)
    versions = [
        kept.define(
            slug=kind,
            event_type="call",
            aggregation=kind,
            value="$.q",
            allow_negative=True,
            group_by={"model": "$.model", "kind": "$.deep.kind"},
        )
        for kind in ("sum", "max")
    ]
    for round_ in range(8):
        kept.send(some(chance, 40, made))  # of any day: many are late
        made += 40
        kept.calendar.today = date(2026, 3, 1) + timedelta(days=chance.randrange(40))  # also back
        days = chance.choice((10, 30, 50))
        kept.configure(policy(tmp_path, days))
        horizon = max(horizon, kept.calendar.today - timedelta(days=days))
        kept.looked()
        left = kept.meters.keeper.history.last["events"]
        assert date.fromisoformat(left.before) <= horizon  # less only where there was nothing to leave
        horizon = date.fromisoformat(left.before)
        if chance.random() < 0.4:
            kept.meters.close()
            if chance.random() < 0.5:
                shutil.rmtree(tmp_path / "views")
            kept.open()
        if round_ == 4:
            versions.append(kept.define(slug="late", event_type="call", aggregation="count",
                                        group_by={"model": "$.model", "kind": "$.deep.kind"}))  # fmt: skip
        first = (horizon - date(1970, 1, 1)).days * DAY_MINUTES
        for version in versions:
            assert kept.ask(version, Query()) == reckoned(version, Query(), since(kept.sent, horizon)), version
            query = Query(since=first + chance.randrange(10_000), size="day")
            assert kept.ask(version, query) == reckoned(version, query, kept.sent)
            for gone in (Query(since=first - 1), Query(until=first)):
                with pytest.raises(InterlockError, match=f"before {horizon}") as refused:
                    asyncio.run(kept.meters.ask("acme", version.meter.slug, None, gone, kept.ledger.journal.seq))
                assert refused.value.code == "not_retained"
        kept.looked()
        assert kept.rows(archive=True) == Counter(
            one["id"] for one in kept.sent if one not in since(kept.sent, horizon)
        )
        assert kept.rows() == Counter(one["id"] for one in since(kept.sent, horizon))
        kept.check_made_again(tmp_path / "again")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("point", POINTS)
def test_a_death_at_a_point_loses_and_doubles_nothing(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, again: bool
) -> None:
    """Whether the tables stand still afterwards, or are made again."""
    chance, made, version = Random(point), 0, kept.define(slug="q", event_type="call", aggregation="count")
    for round_ in range(4):
        kept.send(some(chance, 60, made))
        made += 60
        kept.calendar.today += timedelta(days=3)
        deaths = iter([None] * round_ + [point])

        def reached(at: str, deaths: Iterator[str | None] = deaths) -> None:
            if at == point and kept.meters.keeper.busy and next(deaths, None):
                raise SystemExit  # only this thread ends

        kept.meters.close()
        with monkeypatch.context() as patched:
            patched.setattr(keeper_module, "open_tables", _with(reached))
            kept.settings = policy(tmp_path, 30)
            kept.open()
            until(kept.ended, "it dies, or gets through")
            kept.meters.close()
        if again:
            shutil.rmtree(tmp_path / "views")
        kept.open()
        kept.looked()
        calls = sum(one["type"] == "call" for one in kept.sent)
        assert kept.counted() + kept.counted(archive=True) == calls
        horizon = date.fromisoformat(kept.meters.keeper.history.last["events"].before)
        assert kept.rows(archive=True) + kept.rows() == Counter(one["id"] for one in kept.sent)
        assert kept.ask(version, Query()) == reckoned(version, Query(), since(kept.sent, horizon))
        kept.check_made_again(tmp_path / "again")


def test_tenants_have_days_of_their_own_and_what_they_drop_reaches_no_archive(kept: Kept, tmp_path: Path) -> None:
    def count(id: str, tenant: str, day: str) -> None:
        origin = Origin(tenant=tenant, principal="meter", key_id="key_1", application="chat")
        made = event(id, origin, time=f"{day}T10:00:00Z")
        assert isinstance(made, Event)
        kept.ledger.commit(made, origin=origin)

    def listed(tenant: str, **wanted: Any) -> list[str]:
        found = asyncio.run(kept.meters.events(tenant, Wanted(**wanted), kept.ledger.journal.seq)).found
        return sorted(msgspec.json.decode(entry.event)["id"] for entry in found)

    for tenant in ("acme", "beta", "gamma"):
        for day in ("2026-01-05", "2026-02-20", "2026-03-10", "2026-03-28"):
            count(f"{tenant}/{day}", tenant, day)
    rule = Rule(keep_days=60, then="archive", tenants={"acme": 30, "beta": 10})
    kept.configure(Settings(archive=Store(place=str(kept.archive)), events=rule))
    kept.looked()
    assert kept.rows(archive=True) == Counter({"gamma/2026-01-05": 1})
    count("acme/late", "acme", "2026-01-06")  # older than all that is kept: dropped, and not archived
    count("gamma/late", "gamma", "2026-01-06")
    until(lambda: listed("gamma", since_us=1_774_000_000_000_000) == ["gamma/2026-03-28"], "it is folded")
    assert listed("acme") == ["acme/2026-03-10", "acme/2026-03-28"]  # the late one is in no answer
    kept.looked()
    assert kept.rows(archive=True) == Counter({"gamma/2026-01-05": 1, "gamma/late": 1})
    assert listed("beta") == ["beta/2026-03-28"] and len(listed("gamma")) == 3
    with pytest.raises(InterlockError, match="before 2026-02-27"):
        listed("acme", since_us=0)
    by_key = {(one.table, one.tenant): one for one in asyncio.run(kept.meters.kept())}
    assert by_key["events", "acme"].left_rows == 3 and by_key["events", "acme"].left_before == "2026-02-27"
    assert by_key["events", ""].left_rows == 2 and by_key["events", ""].due_rows == 0
    kept.check_made_again(tmp_path / "again")
    kept.configure(Settings())
    kept.looked()
    shown = shell(
        kept.archive, "SELECT id FROM read_parquet('events/**/*.parquet', hive_partitioning=false) ORDER BY 1"
    )
    assert shown == [{"id": "gamma/2026-01-05"}, {"id": "gamma/late"}]
    assert {one.keep_days for one in asyncio.run(kept.meters.kept())} == {None}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_was_agreed_leaves_after_a_death_though_no_rule_says_so_any_more(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*args: object) -> None:
        raise SystemExit

    kept.send(some(Random(1), 60, 0))
    kept.looked()
    with monkeypatch.context() as patched:
        patched.setattr(Tables, "finish", dies)
        kept.configure(policy(tmp_path, 30))
        until(lambda: not kept.meters._thread.is_alive(), "it dies")
        assert sum(kept.rows().values()) == 60 and kept.rows(archive=True)
        kept.meters.close()
    kept.settings = Settings()
    kept.open()
    kept.looked()
    assert kept.rows(archive=True) + kept.rows() == Counter(one["id"] for one in kept.sent)
    kept.check_made_again(tmp_path / "again")


def test_late_rows_are_told_from_those_that_left_though_they_are_written_together(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.define(slug="q", event_type="call", aggregation="count")
    kept.send(some(Random(1), 60, 0))
    kept.looked()
    kept.configure(policy(tmp_path, 30))
    kept.looked()
    kept.meters.close()
    monkeypatch.setattr(service_module, "ROWS_MAX", 50_000)
    monkeypatch.setattr(service_module, "WRITE_S", 60.0)
    kept.settings = Settings()
    kept.send(some(Random(2), 60, 60))
    shutil.rmtree(tmp_path / "views")
    kept.open()
    until(lambda: kept.meters.seq >= kept.ledger.journal.seq, "it is folded")
    kept.meters.close()
    kept.check_made_again(tmp_path / "again")
    assert kept.rows(archive=True) + kept.rows() == Counter(one["id"] for one in kept.sent)
    assert kept.counted() + kept.counted(archive=True) == sum(one["type"] == "call" for one in kept.sent)
    assert set(kept.rows()) > {f"e{n}" for n in range(60, 120)}


def test_what_another_rule_would_do_is_counted_and_not_done(kept: Kept) -> None:
    kept.send(some(Random(1), 60, 0))
    kept.looked()
    [one] = asyncio.run(kept.meters.kept([keeper_module.Wish("events", "", 30, "drop")]))
    old = sorted(one["time"][:10] for one in kept.sent if one["time"] < "2026-02-27")
    assert (one.due_rows, one.due_first_day, one.due_last_day) == (len(old), old[0], old[-1])
    assert one.before == "2026-02-27" and not one.left_rows and sum(kept.rows().values()) == 60


def test_a_correction_of_an_event_that_has_left_follows_it(kept: Kept, tmp_path: Path) -> None:
    version = kept.define(slug="q", event_type="tokens", aggregation="count")
    one = event("e1", ORIGIN, time="2026-01-05T10:00:00Z")
    kept.ledger.commit(one, origin=ORIGIN)
    kept.configure(policy(tmp_path, 30))
    kept.looked()
    assert kept.rows(archive=True) == Counter({"e1": 1})
    [outcome] = kept.ledger.correct(correction(one), origin=ORIGIN)
    assert outcome.result == "counted"
    assert kept.ask(version, Query()) == []
    kept.looked()
    assert kept.rows(archive=True) == Counter({"e1": 2}) and kept.rows() == Counter()
    kept.check_made_again(tmp_path / "again")


def test_an_archive_that_cannot_bewritten_is_said_and_waited_for(kept: Kept, tmp_path: Path) -> None:
    kept.send(some(Random(1), 60, 0))
    (tmp_path / "archive").write_text("no directory")
    kept.configure(policy(tmp_path, 30))
    until(lambda: kept.meters.keeper.problem, "it is said")
    assert sum(kept.rows().values()) in (0, 60)
    (tmp_path / "archive").unlink()
    until(lambda: kept.meters.keeper._done is not None and not kept.meters.keeper.problem, "it goes on")
    kept.looked()
    assert kept.rows(archive=True) + kept.rows() == Counter(one["id"] for one in kept.sent)


def test_what_no_record_says_has_left_is_made_again(kept: Kept, tmp_path: Path) -> None:
    """A manifest that leaves out rows without a record, as after a restore of an older log."""
    kept.send(some(Random(1), 60, 0))
    kept.looked()
    kept.meters.close()
    path = tmp_path / "views" / "tables" / manifest.NAME
    found = manifest.decode(path.read_bytes())
    forged = {"events": manifest.Horizon(before="2026-03-01", seq=found.seq, chain=found.chain)}
    path.write_bytes(manifest.encode(msgspec.structs.replace(found, horizons=forged, files=())))
    kept.open()
    kept.looked()
    assert sum(kept.rows().values()) == 60
    assert asyncio.run(kept.meters.events("acme", Wanted(), kept.ledger.journal.seq)).first_day == 0


def test_rebuild_check_believes_what_records_say_and_nothing_else(kept: Kept, tmp_path: Path) -> None:
    def state() -> tuple[str, str]:
        [found] = check(DataDir(tmp_path), views=[view for view in views() if view.name == "tables"])
        return found.state, found.problem

    kept.send(some(Random(1), 60, 0))
    kept.configure(policy(tmp_path, 30))
    kept.looked()
    kept.meters.close()
    assert state() == ("equal", "")
    path = tmp_path / "views" / "tables" / manifest.NAME
    text = path.read_bytes()
    found = manifest.decode(text)
    path.write_bytes(manifest.encode(msgspec.structs.replace(found, horizons={})))
    assert state()[0] == "different"  # rows are missing, and nothing says why
    later = msgspec.structs.replace(found.horizons["events"], before="2026-03-20")
    path.write_bytes(manifest.encode(msgspec.structs.replace(found, horizons={**found.horizons, "events": later})))
    assert state()[0] == "different" and "left events before 2026-03-20" in state()[1]
    path.write_bytes(text)
    assert state() == ("equal", "")


def test_nothing_is_opened_before_it_is_known_where(kept: Kept, tmp_path: Path) -> None:
    """A control process that starts while the file has mistakes must not fill tables at a place that nobody named."""
    kept.meters.close()
    kept.meters = Meters(tmp_path / "journal", tmp_path / "elsewhere", kept.calendar, kept.log)
    kept.meters.start()
    until(lambda: "the configuration has mistakes" in kept.meters.problem, "it is said")
    with pytest.raises(InterlockError, match="has mistakes") as refused:
        asyncio.run(kept.meters.events("acme", Wanted(), kept.ledger.journal.seq))
    assert refused.value.code == "not_ready" and not (tmp_path / "elsewhere").exists()
    kept.configure(Settings(tables=Store(place=str(tmp_path / "named"))))
    until(lambda: kept.meters._tables is not None, "they are open")
    kept.configure(Settings(tables=Store(place=str(tmp_path / "moved"))))
    kept.send(some(Random(1), 10, 0))
    until((tmp_path / "moved" / manifest.NAME).exists, "they are opened anew")
    until(kept.written, "all is written")
    assert len(asyncio.run(kept.meters.events("acme", Wanted(), kept.ledger.journal.seq)).found) == 10


def test_records_are_read_as_they_arewritten() -> None:
    applied = Applied(table="events", before="2026-03-01", seq=7, chain="ab", rows=3, then="drop")
    assert isinstance(applied.record(1), Record) and applied.key == "events"
