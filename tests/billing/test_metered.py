"""What one question may gather. What ledger and meters say, tests/control/test_billing.py asks a real process."""

import pytest
from tests.billing.rig import ns

from interlock.billing import metered
from interlock.billing.counting import SUM_ALONE, Detail
from interlock.billing.metered import _Tallies
from interlock.billing.windowing import grid
from interlock.errors import LocalError
from interlock.rating import Windows, text_of

HOUR_NS = 3600 * 10**9


def test_windows_are_bounded_while_they_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all groups: each window that something was counted in is held in memory."""
    monkeypatch.setattr(metered, "WINDOWS_MAX", 6)
    cut = grid(Windows(size="hour"), "UTC", ns("2026-11-01"), ns("2026-12-01"))
    tallies = _Tallies(1, Detail(grid=cut), grouped=True)
    for _ in range(2):
        for hour in range(6):
            tallies.add((str(hour % 2),), "e", ns("2026-11-01") + hour * HOUR_NS, 1)
    with pytest.raises(LocalError, match="group by less, or cut into days"):
        tallies.add(("0",), "e", ns("2026-11-01") + HOUR_NS, 1)
    assert [(at_ns, text_of(sum)) for at_ns, sum in tallies.found["0",].windows[:1]] == [(ns("2026-11-01"), "2")]


def test_events_are_bounded_where_each_is_priced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metered, "EVENTS_MAX", 3)
    many, few = (_Tallies(1, detail, grouped=False) for detail in (SUM_ALONE, Detail(values=True)))
    for _ in range(3):
        many.add((), "e", 1, 1)
        few.add((), "e", 1, 1)
    many.add((), "e", 1, 1)
    with pytest.raises(LocalError, match="priced one by one"):
        few.add((), "e", 1, 1)
