"""Closed periods in the stream: closed once, known after a restart, each tenant's own."""

from pathlib import Path

import msgspec
import pytest
from tests.intake.events import ORIGIN, Ledger, event, stored

from interlock.errors import InterlockError, LocalError
from interlock.intake.periods import Closed, bounds_us


def test_what_is_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    standing, is_new = ledger.close_period("2026-10", "Europe/Berlin")
    [one] = stored(tmp_path)
    assert is_new and (standing.seq, standing.at_ns) == (one.seq, one.record.at_ns)
    assert one.record.type == "period.closed"
    since_us, until_us = bounds_us("2026-10", "Europe/Berlin")
    assert msgspec.json.decode(one.record.payload) == {
        "tenant": "acme",
        "principal": "meter",
        "key_id": "key_1",
        "period": "2026-10",
        "zone": "Europe/Berlin",
        "since_us": since_us,
        "until_us": until_us,
    }
    assert msgspec.json.decode(one.record.payload, type=Closed) == standing.closed
    ledger.close()


@pytest.mark.parametrize("held_max", [1, 1000])
def test_it_is_known_after_a_restart(tmp_path: Path, held_max: int) -> None:
    """With an index that was written after it, one that was not, and none."""
    ledger = Ledger(tmp_path, held_max=held_max)
    ledger.commit(event("a"))
    first, _ = ledger.close_period("2026-09")
    ledger.commit(event("b"))
    second, _ = ledger.close_period("2026-10")
    for _ in range(2):
        ledger.crash()
        ledger = Ledger(tmp_path, held_max=held_max)
        assert ledger.committer.closings("acme") == [first, second]
        assert ledger.close_period("2026-10") == (second, False)
        assert ledger.close_period("2026-09") == (first, False)
        with pytest.raises(LocalError, match="2026-10"):
            ledger.close_period("2026-08")
    ledger.close()
    assert [one.record.type for one in stored(tmp_path)].count("period.closed") == 2
    for path in (tmp_path / "index").iterdir():
        path.unlink()
    ledger = Ledger(tmp_path)
    assert ledger.committer.closings("acme") == [first, second]
    ledger.close()


def test_each_tenant_closes_its_own(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    globex = msgspec.structs.replace(ORIGIN, tenant="globex")
    ledger.close_period("2026-10")
    assert ledger.close_period("2026-09", origin=globex).is_new
    assert [one.closed.period for one in ledger.committer.closings("globex")] == ["2026-09"]
    ledger.close()


def test_a_key_for_some_customers_closes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(LocalError) as caught:
        ledger.close_period("2026-10", origin=msgspec.structs.replace(ORIGIN, subjects=("eu-*",)))
    assert caught.value.code == "subject_refused"
    assert stored(tmp_path) == []
    ledger.close()


def test_a_closing_that_was_not_written_is_not_known(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for point in ("looked_up", "staged"):
        ledger.stop_at = point
        with pytest.raises(Exception, match=point):
            ledger.close_period("2026-10")
        ledger.crash()
        ledger = Ledger(tmp_path)
        assert ledger.committer.closings("acme") == []
    ledger.stop_at = "written"
    with pytest.raises(Exception, match="written"):
        ledger.close_period("2026-10")
    assert [one.closed.period for one in ledger.committer.closings("acme")] == ["2026-10"]  # made up for
    ledger.close()


def test_an_erased_closing_stops_the_intake(tmp_path: Path) -> None:
    from interlock.intake.records import closings_of

    ledger = Ledger(tmp_path)
    ledger.close_period("2026-10")
    [one] = stored(tmp_path)
    erased = msgspec.structs.replace(one, record=msgspec.structs.replace(one.record, payload=b""))
    with pytest.raises(InterlockError, match="erased"):
        closings_of(erased)
    ledger.close()
