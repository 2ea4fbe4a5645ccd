"""What retention has done and would do, for those who ask."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from interlock.meters.keeper import Keeper, Wish
from interlock.tables import Tables

if TYPE_CHECKING:
    from interlock.meters.query import Engine


class Due(NamedTuple):
    """Rows that would leave, those in files; days are ISO 8601, empty if there are none."""

    rows: int
    first_day: str
    last_day: str


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One rule, or what one did, as it stands. Days are ISO 8601; empty: there is none."""

    table: str
    tenant: str
    keep_days: int | None
    then: str
    place: str
    before: str
    """Rows of days before this one leave at the next look."""
    due_rows: int
    """Those that would, and are in files."""
    due_first_day: str
    due_last_day: str
    left_before: str
    """Rows of days before this one have left."""
    left_rows: int
    """In all."""
    left_at_ns: int
    """When the last did; 0: never."""


def kept(keeper: Keeper, wishes: Sequence[Wish], due: Callable[[Wish, date], Due]) -> list[Kept]:
    """A line for each rule, and for each that there was and has done something."""
    found = [_line(keeper, wish, wish.keep_days, wish.then, due) for wish in wishes]
    named = {wish.key for wish in wishes}
    for key, applied in list(keeper.history.last.items()):  # another thread adds to it
        if key not in named:
            found.append(_line(keeper, Wish(applied.table, applied.tenant, 0, applied.then), None, applied.then, None))
    return found


def due_in(tables: Tables, engine: "Engine", wish: Wish, before: date) -> Due:
    """Of the tables. Blocking. Raises: TransientError."""
    files = tables.files(wish.table, wish.tenant or None, None, before)
    return Due(*engine.extent(files, before, wish.tenant))


def _line(
    keeper: Keeper, wish: Wish, keep_days: int | None, then: str, due: Callable[[Wish, date], Due] | None
) -> Kept:
    before = keeper.before(wish) if due else None
    found = due(wish, before) if due and before else Due(0, "", "")
    left, archive = keeper.history.last.get(wish.key), keeper.settings.archive if keeper.settings else None
    place = archive.place if archive and keep_days is not None and then == "archive" else left.place if left else ""
    return Kept(
        table=wish.table,
        tenant=wish.tenant,
        keep_days=keep_days,
        then=then,
        place=place,
        before=before.isoformat() if before else "",
        due_rows=found.rows,
        due_first_day=found.first_day,
        due_last_day=found.last_day,
        left_before=left.before if left else "",
        left_rows=keeper.history.rows.get(wish.key, 0),
        left_at_ns=keeper.history.at_ns.get(wish.key, 0),
    )
