"""One commit at a time: what stands when the disk takes only a part, and how much goes into a record."""

import os
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from tests.intake.events import ORIGIN, Ledger, counted, event, stored

from interlock.errors import InterlockError
from interlock.intake import Job
from interlock.intake.commit import RECORD_EVENTS_MAX
from interlock.intake.records import known_of
from interlock.log import appender
from interlock.log.record import PAYLOAD_BYTES_MAX


def test_a_conflict_never_stands_before_what_it_conflicts_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes the first record alone: it must be the one that counts."""
    ledger = Ledger(tmp_path)
    ledger.commit(event("old"))

    def first_line(fd: int, data: bytes) -> int:
        return os.write(fd, data[: data.index(b"\n") + 1])

    with monkeypatch.context() as patch:
        patch.setattr(appender, "os", SimpleNamespace(**{**vars(os), "write": first_line}))
        other, new, changed = event("old", data={"n": 2}), event("new"), event("new", data={"n": 2})
        assert ledger.results(other, new, changed) == ["unavailable", "counted", "unavailable"]
    ledger.clock.advance(10**9)
    assert ledger.results(other, new, changed) == ["conflict", "duplicate", "conflict"]
    ledger.close()
    assert [one["id"] for one in counted(tmp_path)] == ["old", "new"]
    assert [one.record.type for one in stored(tmp_path)] == ["events.counted", "events.counted", "events.conflict"]


def test_records_are_of_a_bounded_size(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    large = [event(f"large{n}", data={"x": "y" * 60_000}) for n in range(40)]
    small = [event(f"small{n}") for n in range(RECORD_EVENTS_MAX + 1)]
    assert set(ledger.results(*large)) | set(ledger.results(*small)) == {"counted"}
    ledger.close()
    sizes = [len(msgspec.json.decode(one.record.payload)["events"]) for one in stored(tmp_path)]
    assert sum(sizes) == 41 + RECORD_EVENTS_MAX and max(sizes) == RECORD_EVENTS_MAX
    assert all(len(one.record.payload) < PAYLOAD_BYTES_MAX for one in stored(tmp_path))


def test_jobs_that_are_committed_together_keep_their_own(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    other = msgspec.structs.replace(ORIGIN, tenant="globex", key_id="key_2")
    jobs = [Job(ORIGIN, [event("a")]), Job(other, [event("a", other), event("b", other)]), Job(ORIGIN, [event("a")])]
    results = [[outcome.result for outcome in outcomes] for outcomes in ledger.committer.commit(jobs)]
    assert results == [["counted"], ["counted", "counted"], ["duplicate"]]
    ledger.close()
    payloads = [msgspec.json.decode(one.record.payload) for one in stored(tmp_path)]
    assert [(p["tenant"], p["key_id"], len(p["events"])) for p in payloads] == [
        ("acme", "key_1", 1),
        ("globex", "key_2", 2),
    ]


def test_an_erased_record_stops_the_intake(tmp_path: Path) -> None:
    """Its keys are gone with it: what it counted could be counted again."""
    ledger = Ledger(tmp_path)
    ledger.commit(event())
    [one] = stored(tmp_path)
    erased = msgspec.structs.replace(one, record=msgspec.structs.replace(one.record, payload=b""))
    with pytest.raises(InterlockError, match="erased") as caught:
        known_of(erased)
    assert caught.value.code == "log_corrupt"
    ledger.close()
