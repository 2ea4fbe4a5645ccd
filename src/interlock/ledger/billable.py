"""Attempts as something to be billed counts them: one by one, by id, of what was on record at a cut.

It reads rows of the view; what is charged for them is the reader's. An attempt counts in the moment it was opened, and
once it is settled; `positions` says how far the streams were folded, and a cut is such a moment. What a provider's bill
adjusted counts as it was at the cut: such entries are made again from the records up to it.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from interlock.errors import LocalError
from interlock.ledger.folding import entry_row
from interlock.ledger.reading import ADJUSTED
from interlock.ledger.report import COLUMNS, DIMENSIONS, Window, nearest
from interlock.ledger.standing import PriceBooks, Row

MEASURES: Mapping[str, str] = {
    "cost": "coalesce(e.amount_nanousd, 0)",
    "attempts": "e.state = 'settled'",
    "requests": "e.outcome = 'completed'",
    "input": "e.input",
    "input_uncached": "iif(e.state = 'adjusting', e.input - e.cache_read - e.cache_write, "
    "max(e.input - e.cache_read - e.cache_write, 0))",
    "cache_read": "e.cache_read",
    "cache_write": "e.cache_write",
    "output": "e.output",
    "reasoning": "e.reasoning",
    "tokens": "e.input + e.output",
}
"""cost: nano-USD. attempts: settled ones. requests: attempts that were answered whole; a request has one at most.
The others: tokens, `input` and `output` with all that is in them. Of an adjustment they may be negative."""

VALUES_MAX = 100
BATCH = 5_000


class Billable(NamedTuple):
    """One attempt."""

    id: str
    """`request_id/n`."""
    at_ns: int
    """When it was opened."""
    quantity: int
    unpriced: bool
    group: tuple[str, ...]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Which attempts, and what of them. `check` says whether it can be asked."""

    tenant: str
    since_ns: int
    until_ns: int
    measure: str
    by: tuple[str, ...] = ()
    where: dict[str, tuple[str, ...]] = {}
    cut: dict[str, int] = {}
    """By stream, the last record that counts."""


def check(measure: str, by: Sequence[str], where: Mapping[str, Sequence[str]]) -> None:
    """Raises: LocalError: no such measure or dimension, or too many values."""
    if measure not in MEASURES:
        raise LocalError(f"unknown measure {measure[:80]!r}{nearest(measure, tuple(MEASURES))}", field="usage")
    for field, names in (("by", by), ("where", where)):
        for name in names:
            if name not in DIMENSIONS:
                raise LocalError(f"unknown dimension {name[:80]!r}{nearest(name, DIMENSIONS)}", field=field)
    if len(set(by)) < len(by):
        raise LocalError(f"a dimension is named twice in {','.join(by)!r}", field="by")
    for name, values in where.items():
        if not 0 < len(values) <= VALUES_MAX:
            raise LocalError(f"{name}: 1 to {VALUES_MAX} values", field="where")


def billable(db: sqlite3.Connection, question: Question) -> Iterator[Billable]:
    """By id (bytes). What has quantity 0 is left out, but for a cost that is not known. Raises: LocalError."""
    check(question.measure, question.by, question.where)
    wanted, groups = MEASURES[question.measure], "".join(f", {COLUMNS[name]}" for name in question.by)
    window, values = _window(question).where()
    among, members = _members(question)
    settled = _SETTLED.format(" ".join("WHEN ? THEN ?" for _ in question.cut) or "WHEN NULL THEN 0")
    rows = db.execute(
        f"SELECT e.request_id, e.attempt, e.source = 'billed', e.at_ns, {wanted} AS quantity, e.unpriced != ''{groups} "  # noqa: S608 - from the tables above
        f"FROM entries e WHERE {window} AND (e.source = 'billed' OR ({among} AND ({settled}) "
        "AND (quantity != 0 OR e.unpriced != ''))) ORDER BY e.request_id, CAST(e.attempt AS TEXT)",
        [*values, *members, *(part for pair in question.cut.items() for part in pair)],
    )
    past = _Past(db, question, f"SELECT e.at_ns, {wanted} AS quantity, e.unpriced != ''{groups}")
    while batch := rows.fetchmany(BATCH):
        for request_id, attempt, billed, *found in batch:
            row = past.row(request_id, attempt) if billed else found
            if row is not None:
                at_ns, quantity, unpriced, *group = row
                yield Billable(f"{request_id}/{attempt}", at_ns, quantity, bool(unpriced), tuple(map(str, group)))


class _Past:
    """Adjusted entries as they were at a question's cut."""

    def __init__(self, db: sqlite3.Connection, question: Question, select: str) -> None:
        self._db = db
        self._cut = question.cut
        self._prices = PriceBooks(db)
        columns = [name for name, *_ in db.execute("SELECT * FROM entries LIMIT 0").description]
        among, self._members = _members(question)
        made = ", ".join(f"? AS {name}" for name in columns)
        self._select = f"{select} FROM (SELECT {made}) e WHERE {among} AND (quantity != 0 OR e.unpriced != '')"

    def row(self, request_id: str, attempt: int) -> Sequence[Any] | None:
        """What was selected; None: it did not count then, or is not what was asked for."""
        rows = [
            Row(*row)
            for row in self._db.execute(
                "SELECT stream, seq, id, type, at_ns, schema, payload FROM records "
                "WHERE request_id = ? AND attempt = ? ORDER BY stream, seq",
                (request_id, attempt),
            )
        ]
        settled = next((row for row in rows if row.type != ADJUSTED and row.type.endswith(".settled")), None)
        if settled is not None and not self._counts(settled):
            return None
        made = entry_row([row for row in rows if row.type != ADJUSTED or self._counts(row)], {}, self._prices)
        if made is None:
            return None
        found: Sequence[Any] | None = self._db.execute(self._select, [*made, *self._members]).fetchone()
        return found

    def _counts(self, row: Row) -> bool:
        return row.seq <= self._cut.get(row.stream, 0)


def changed(db: sqlite3.Connection, tenant: str, since_ns: int, until_ns: int, recorded_ns: int) -> bool:
    """Whether an attempt of [since, until) was settled, or changed by a provider's bill, at or after `recorded_ns`."""
    window, values = Window(since_ns, until_ns, tenant).where()
    row = db.execute(
        f"SELECT EXISTS (SELECT 1 FROM entries WHERE {window} AND settled_at_ns >= ?) "  # noqa: S608 - the window has no values
        f"OR EXISTS (SELECT 1 FROM entries WHERE {window} AND booked_at_ns >= ?)",
        [*values, recorded_ns, *values, recorded_ns],
    ).fetchone()
    return bool(row[0])


def open_attempts_of(db: sqlite3.Connection, question: Question) -> int:
    """How many attempts of the window have not ended."""
    window, values = _window(question).where()
    among, members = _members(question)
    text = f"SELECT count(*) FROM entries e WHERE {window} AND {among} AND e.state = 'open'"  # noqa: S608 - as above
    row = db.execute(text, [*values, *members]).fetchone()
    return int(row[0])


def _window(question: Question) -> Window:
    return Window(question.since_ns, question.until_ns, question.tenant)


def _members(question: Question) -> tuple[str, list[int | str]]:
    """Whether an entry is of the values that are asked for."""
    text, values = "1", list[int | str]()
    for name, wanted in question.where.items():
        text += f" AND {COLUMNS[name]} IN ({', '.join('?' * len(wanted))})"
        values += wanted
    return text, values


_SETTLED = (
    "SELECT s.seq <= CASE s.stream {} ELSE 0 END FROM records s "
    "WHERE s.request_id = e.request_id AND s.attempt = e.attempt AND s.type = 'usage.settled' "
    "ORDER BY s.stream, s.seq LIMIT 1"
)
"""Whether the settling that stands (`standing.judge`) is within the cut; nothing where there is none."""
