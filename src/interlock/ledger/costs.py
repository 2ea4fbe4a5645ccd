"""Who cost what: a statement of a window by dimensions, against the window before it, to the last nano-dollar.

Every attempt of the window is in exactly one row, those with an empty dimension too, so the rows sum to the total and
the total is that of `report.usage`. The one exception is told, not hidden: a call that carried the results of several
tools is divided among them in equal shares, by largest remainder.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from interlock.errors import LocalError
from interlock.ledger.report import COLUMNS, UsageRow, Window, usage
from interlock.units import divide_half_even, spread

PPM = 1_000_000
DAY = "day"

Key = tuple[str, ...]


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the attempts that share `dimensions` cost."""

    dimensions: dict[str, str]
    """The values grouped by, in the order asked for; an empty one: not told. Of `tool`: one tool."""
    amount_nanousd: int | None
    """Of the priced attempts; None if something was settled and nothing of it is priced."""
    share_ppm: int
    """Of the total, in millionths; all rows' sum to a million exactly (largest remainder), or are 0."""
    requests: int
    """Distinct ones. Rows may share a request, so they need not sum to the total's."""
    sessions: int
    """Distinct ones that are named; a tenant's own."""
    input: int
    output: int
    unpriced: int
    """Settled attempts without an amount: how far `amount_nanousd` falls short."""
    per_request_nanousd: int | None
    """The amount over the requests, half to even; None: there are none, or no amount."""
    per_session_nanousd: int | None
    previous_nanousd: int | None
    """Of the same dimensions in the window before; None: not priced, or (by day) not compared."""
    change_nanousd: int | None
    """The amount less the previous one."""
    change_ppm: int | None
    """Of the previous one, half to even; None: that was nothing."""


class Unattributed(msgspec.Struct, frozen=True, kw_only=True):
    """What a dimension says nothing about."""

    dimension: str
    amount_nanousd: int
    share_ppm: int
    """Of the total, half to even."""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One window. Rows are ordered by amount, the largest first, then by dimensions."""

    since_ns: int
    until_ns: int
    previous_since_ns: int
    """The window before ends where this one begins."""
    by: tuple[str, ...]
    rows: tuple[CostRow, ...]
    total: CostRow
    unattributed: tuple[Unattributed, ...]
    """Of each dimension in `by`."""


def statement(db: sqlite3.Connection, by: Sequence[str], window: Window) -> Statement:
    """The statement of a window that begins and ends.

    Raises: LocalError: as `report.usage`; a window that does not begin before it ends.
    """
    since_ns, until_ns, tenant = window
    if since_ns is None or until_ns is None or since_ns >= until_ns:
        raise LocalError("a statement needs a window that begins before it ends", field="since")
    begins_ns = max(2 * since_ns - until_ns, 0)
    before = Window(begins_ns, since_ns, tenant)
    found, sessions = usage(db, by, window), _sessions(db, by, window)
    compared = DAY not in by
    now, then = _groups(found), _amounts(usage(db, by, before)) if compared else {}
    for key in then:
        now.setdefault(key, _Sum(by, key))
    [whole], all_sessions = (usage(db, (), window), _sessions(db, (), window)) if by else (found, sessions)
    total = _Sum((), ())
    total.add(whole, 1, 0)
    earlier = _amounts(usage(db, (), before)) if by else then
    ordered = sorted(now.values(), key=lambda one: (-(one.amount or 0), one.key))
    amounts = [one.amount or 0 for one in ordered]
    shares = spread(PPM, amounts) if sum(amounts) else [0] * len(amounts)
    return Statement(
        since_ns=since_ns,
        until_ns=until_ns,
        previous_since_ns=begins_ns,
        by=tuple(by),
        rows=tuple(
            one.row(share, sessions.get(one.key, 0), then.get(one.key, 0) if compared else None)
            for one, share in zip(ordered, shares, strict=True)
        ),
        total=total.row(PPM if total.amount else 0, all_sessions.get((), 0), earlier.get((), 0)),
        unattributed=tuple(_unattributed(name, ordered, total.amount or 0) for name in by),
    )


class _Sum:
    """What a row adds up."""

    __slots__ = ("amount", "by", "input", "key", "output", "requests", "unpriced")

    def __init__(self, by: Sequence[str], key: Key) -> None:
        self.by, self.key = by, key
        self.amount: int | None = 0
        self.requests = self.input = self.output = self.unpriced = 0

    def add(self, row: UsageRow, of: int, nth: int) -> None:
        """The `nth` of `of` equal shares; requests and what is not priced are of each in full."""
        if row.amount_nanousd is not None:
            self.amount = (self.amount or 0) + _share(row.amount_nanousd, of, nth)
        elif not self.requests:
            self.amount = None
        self.requests += row.requests
        self.unpriced += row.unpriced
        self.input += _share(row.input, of, nth)
        self.output += _share(row.output, of, nth)

    def row(self, share_ppm: int, sessions: int, previous: int | None) -> CostRow:
        amount = self.amount
        change = None if amount is None or previous is None else amount - previous
        return CostRow(
            dimensions=dict(zip(self.by, self.key, strict=True)),
            amount_nanousd=amount,
            share_ppm=share_ppm,
            requests=self.requests,
            sessions=sessions,
            input=self.input,
            output=self.output,
            unpriced=self.unpriced,
            per_request_nanousd=_each(amount, self.requests),
            per_session_nanousd=_each(amount, sessions),
            previous_nanousd=previous,
            change_nanousd=change,
            change_ppm=divide_half_even(change * PPM, previous) if change is not None and previous else None,
        )


def _groups(rows: Iterable[UsageRow]) -> dict[Key, _Sum]:
    """By dimensions; a row of several tools is a share of each."""
    found: dict[Key, _Sum] = {}
    for row in rows:
        by = tuple(row.dimensions)
        tools = row.dimensions.get("tool", "").split(",")
        for nth, tool in enumerate(tools):
            key = tuple(({**row.dimensions, "tool": tool} if "tool" in by else row.dimensions).values())
            found.setdefault(key, _Sum(by, key)).add(row, len(tools), nth)
    return found


def _amounts(rows: Iterable[UsageRow]) -> dict[Key, int | None]:
    return {key: one.amount for key, one in _groups(rows).items()}


def _share(amount: int, of: int, nth: int) -> int:
    """One of equal parts that sum to `amount`: the first ones are the larger."""
    part, rest = divmod(amount, of)
    return part + (nth < rest)


def _each(amount: int | None, count: int) -> int | None:
    return divide_half_even(amount, count) if amount is not None and count else None


_LISTED = """'["' || replace(tool, ',', '","') || '"]'"""
_TOOLS = (
    f"json_each(CASE WHEN instr(tool, ',') AND json_valid({_LISTED}) THEN {_LISTED} ELSE json_array(tool) END) AS told"
)
"""One row a tool: names hold neither quotes nor backslashes (gateway/wire/results.py)."""


def _sessions(db: sqlite3.Connection, by: Sequence[str], window: Window) -> Mapping[Key, int]:
    """How many sessions there are of each combination."""
    where, parameters = window.where()
    columns = ["told.value" if name == "tool" else COLUMNS[name] for name in by]
    listed = "".join(f"{column}, " for column in columns)
    grouping = f"GROUP BY {', '.join(columns)}" if by else ""
    source = f"entries, {_TOOLS}" if "tool" in by else "entries"
    rows = db.execute(
        f"SELECT {listed}count(DISTINCT tenant || char(10) || session) "  # noqa: S608 - names from our own tables
        f"FROM {source} WHERE {where} AND session != '' AND state != 'adjusting' {grouping}",
        parameters,
    )
    return {tuple(row[:-1]): row[-1] for row in rows}


def _unattributed(name: str, rows: Iterable[_Sum], total: int) -> Unattributed:
    amount = sum(one.amount or 0 for one in rows if not one.key[one.by.index(name)])
    return Unattributed(
        dimension=name, amount_nanousd=amount, share_ppm=divide_half_even(amount * PPM, total) if total else 0
    )
