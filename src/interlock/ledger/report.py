"""Usage by dimension: exact sums over the view's entries, in a fixed order.

It does not render: every result is a plain struct, and `to_api` gives it API JSON's shape. A result is whole or an
error: one with too many rows is refused, never cut.
"""

import difflib
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from interlock.errors import LocalError
from interlock.units import INT64_MAX, NANO

COLUMNS = {
    "tenant": "tenant",
    "principal": "principal",
    "session": "session",
    "mode": "mode",
    "tier": "tier",
    "deployment": "deployment",
    "model": "model",
    "day": "date(at_ns / 1000000000, 'unixepoch')",
    "key": "key_id",
    "outcome": "outcome",
    "source": "source",
    "provider": "provider",
    "team": "team",
    "task": "task",
    "tool": "tool",
}
"""Each dimension as SQL over `entries`."""

DIMENSIONS = tuple(COLUMNS)
"""What usage can be grouped by. day: of the opening, UTC, `YYYY-MM-DD`. outcome and source are empty while open.
tool: a call that carried several tools' results is of all of them, with commas between."""

ROWS_MAX = 100_000
"""Rows of one answer (some 50 MB of JSON); more is refused with the way to ask for less."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of the attempts that share `dimensions`, and what providers' bills adjust there, which is no attempt."""

    dimensions: dict[str, str]
    """The values grouped by, in the order asked for."""
    requests: int
    """Distinct ones with an attempt here. Rows may share a request, so they need not sum to the total."""
    attempts: int
    open: int
    input: int
    """Includes cached ones."""
    cache_read: int
    cache_write: int
    """Of every lifetime."""
    output: int
    """Includes reasoning."""
    reasoning: int
    amount_nanousd: int | None
    """Of the priced attempts; None if something was settled and nothing of it is priced."""
    unpriced: int
    """Settled attempts without an amount: how far `amount_nanousd` falls short."""
    estimated: int
    """Settled attempts whose figures are estimates."""
    lost: int
    cache_hits: int
    """Answers given again: no upstream was asked, and no tokens are counted."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What the view holds. Below `unpriced` everything is 0 as long as nothing went wrong."""

    attempts: int
    open: int
    unpriced: int
    inconsistent: int
    """Attempts whose figures contradict each other."""
    duplicates: int
    """Records folded more than once with the same content; counted once."""
    conflicts: int
    """Records with other content than the one that stands; not counted."""
    waiting: int
    """Attempts settled whose opening has not been seen; not counted."""
    unread: int
    """Records that this version cannot read; not counted."""


class Window(NamedTuple):
    """Which entries are asked for: opened in [since_ns, until_ns), of one tenant; None does not restrict."""

    since_ns: int | None
    until_ns: int | None
    tenant: str | None

    def where(self) -> tuple[str, list[int | str]]:
        """An SQL condition and its parameters. Raises: LocalError: a time outside 0..2^63-1."""
        conditions: list[str] = ["1"]
        parameters: list[int | str] = []
        for field, sign, at_ns in (("since", ">=", self.since_ns), ("until", "<", self.until_ns)):
            if at_ns is not None:
                if not 0 <= at_ns <= INT64_MAX:
                    raise LocalError(f"{field} must be nanoseconds in 0..2^63-1, not {at_ns!r}", field=field)
                conditions.append(f"at_ns {sign} ?")
                parameters.append(at_ns)
        if self.tenant is not None:
            conditions.append("tenant = ?")
            parameters.append(self.tenant)
        return " AND ".join(conditions), parameters


def usage(db: sqlite3.Connection, by: Sequence[str], window: Window) -> list[UsageRow]:
    """One row for each combination of the dimensions `by` that occurs, ordered by their values; none: one total row.

    Raises: LocalError: an unknown or repeated dimension, a time out of range, or more than ROWS_MAX rows.
    """
    check_dimensions(by)
    where, parameters = window.where()
    expressions = [COLUMNS[name] for name in by]
    grouping = f"GROUP BY {', '.join(expressions)} ORDER BY {', '.join(expressions)}" if by else ""
    columns = ", ".join([*expressions, *_SUMS])
    found = db.execute(
        f"SELECT {columns} FROM entries WHERE {where} {grouping} LIMIT {ROWS_MAX + 1}",  # noqa: S608 - from the table
        parameters,
    ).fetchall()
    if len(found) > ROWS_MAX:
        raise LocalError(f"more than {ROWS_MAX} rows: narrow the time, or group by less", field="by")
    return [_usage_row(by, row) for row in found]


def check_dimensions(by: Sequence[str]) -> None:
    """Raises: LocalError: one of `by` is not of DIMENSIONS (the nearest is named), or is there twice."""
    for name in by:
        if name not in DIMENSIONS:
            raise LocalError(f"unknown dimension {name[:80]!r}{nearest(name, DIMENSIONS)}", field="by")
    if len(set(by)) < len(by):
        raise LocalError(f"a dimension is named twice in {','.join(by)!r}", field="by")


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of an error message: the known name most like `name`, and what the names are (at most 20)."""
    close = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
    hint = f", did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(known[:20])})"


def counts(db: sqlite3.Connection) -> Counts:
    """See `Counts`."""
    attempts = "coalesce(sum(state != 'adjusting'), 0)"
    wrong = ", ".join(f"coalesce(sum({name}), 0)" for name in ("inconsistent", "duplicates", "conflicts"))
    row = db.execute(
        f"SELECT {attempts}, {_OPEN}, {_UNPRICED}, {wrong}, (SELECT count(*) FROM waiting), "  # noqa: S608 - constants
        "(SELECT count(*) FROM unread) FROM entries"
    ).fetchone()
    return Counts(**dict(zip(Counts.__struct_fields__, row, strict=True)))


def to_api(result: msgspec.Struct) -> dict[str, Any]:
    """A result (or what is in one) as API JSON: amounts, prices and nanoseconds are decimal strings, since they exceed
    2^53. A record's `payload` stays as it is stored."""
    plain: dict[str, Any] = msgspec.to_builtins(result)
    return {name: _api_value(name, value) for name, value in plain.items()}


def _api_value(name: str, value: Any) -> Any:
    if name == "payload":
        return value
    if isinstance(value, dict):
        return {inner: _api_value(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_api_value(name, item) for item in value]
    if isinstance(value, int) and ("nanousd" in name or name.endswith("_ns") or name == "numerator"):
        return str(value)
    return value


_OPEN = "coalesce(sum(state = 'open'), 0)"
_UNPRICED = "coalesce(sum(unpriced != ''), 0)"

# An entry's amount fits int64, but not so the sum of many: whole dollars and nanos are summed apart.
_SUMS = (
    "count(DISTINCT iif(state = 'adjusting', NULL, request_id))",
    "coalesce(sum(state != 'adjusting'), 0)",
    _OPEN,
    *(f"coalesce(sum({kind}), 0)" for kind in ("input", "cache_read", "cache_write", "output", "reasoning")),
    f"sum(amount_nanousd / {NANO})",
    f"sum(amount_nanousd % {NANO})",
    _UNPRICED,
    "coalesce(sum(source = 'estimated'), 0)",
    "coalesce(sum(outcome = 'lost'), 0)",
    "coalesce(sum(source = 'cached'), 0)",
)


def _usage_row(by: Sequence[str], row: Sequence[Any]) -> UsageRow:
    requests, attempts, open_, *tokens, whole, nanos, unpriced, estimated, lost, cache_hits = row[len(by) :]
    input_, cache_read, cache_write, output, reasoning = tokens
    priced = None if whole is None and unpriced else (whole or 0) * NANO + (nanos or 0)
    return UsageRow(
        dimensions=dict(zip(by, row, strict=False)),
        requests=requests,
        attempts=attempts,
        open=open_,
        input=input_,
        cache_read=cache_read,
        cache_write=cache_write,
        output=output,
        reasoning=reasoning,
        amount_nanousd=priced,
        unpriced=unpriced,
        estimated=estimated,
        lost=lost,
        cache_hits=cache_hits,
    )
