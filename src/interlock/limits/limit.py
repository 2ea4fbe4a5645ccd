"""A limit as a value: what it counts, for whom, in which window, and how much is allowed.

Counted is in integers: requests, tokens, calls at once, nano-USD. A window is a calendar one of UTC; a call counts in
the window in which it was admitted, however long it runs.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, get_args

import msgspec

from interlock.units import INT64_MAX

Scope = Literal["key", "principal", "tenant", "session", "deployment", "model"]
Measure = Literal["requests", "input_tokens", "output_tokens", "tokens", "concurrency", "nanousd"]
Window = Literal["minute", "hour", "day", "month", "ever"]
"""ever: one window without an end, for prepaid accounts. Their amount is all that was ever granted and not forfeited,
and what is used only grows."""

MEASURES: tuple[Measure, ...] = get_args(Measure)
"""In the order of `Claim.amounts`."""
NEVER_NS = INT64_MAX
"""The end of what has no window."""
EVER_NS = NEVER_NS - 1
"""The end of the window `ever`: a row that ends then is not used again while nothing is held."""
WARN_AT_MAX = 16
_SECOND_NS = 1_000_000_000
_LENGTH_NS = {"minute": 60 * _SECOND_NS, "hour": 3_600 * _SECOND_NS, "day": 86_400 * _SECOND_NS}


class Limit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """At most `amount` of `measure` in each `window`, for each value of `per`. `problems` says whether it can be."""

    name: str
    measure: Measure
    amount: int
    window: Window | None = None
    """None: `concurrency`, which counts the calls that run."""
    per: tuple[Scope, ...] = ()
    """Each combination of values has the amount to itself; empty: all calls that match share it."""
    tenants: tuple[str, ...] = ()
    """It is only for these; empty: for all. The same of the three below; what is set must hold together."""
    principals: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    overdraft: int = 0
    """Where several machines share it: how much more than its share one may admit while the authority cannot be
    reached; 0: what exceeds the share is refused."""
    warn_at: tuple[int, ...] = ()
    """Per cent of the amount, ascending."""


def problems(limits: Iterable[Limit]) -> list[str]:
    """What is wrong with them, one line each, in order; empty: nothing."""
    found, names = list[str](), set[str]()
    for limit in limits:
        name = limit.name
        if not name or not name.isascii() or not name.isprintable() or " " in name:
            found.append(f"limit {name!r}: a name is printable ASCII without spaces")  # it stands in a header
        if name in names:
            found.append(f"limit {name!r}: named twice")
        names.add(name)
        found += [f"limit {name!r}: {what}" for what in _problems(limit)]
    return found


def _problems(limit: Limit) -> list[str]:
    found = []
    for field, amount in (("amount", limit.amount), ("overdraft", limit.overdraft)):
        if not 0 <= amount <= INT64_MAX:
            found.append(f"{field} {amount} is not between 0 and {INT64_MAX}")
    if limit.amount + limit.overdraft > INT64_MAX:
        found.append(f"amount and overdraft together are more than {INT64_MAX}")
    if (limit.measure == "concurrency") != (limit.window is None):
        found.append("concurrency has no window, and everything else has one")
    if len(set(limit.per)) != len(limit.per):
        found.append("per names a scope twice")
    warned = limit.warn_at
    if list(warned) != sorted(set(warned)) or len(warned) > WARN_AT_MAX or (warned and not 1 <= warned[0] <= 100):
        found.append(f"warn_at is not at most {WARN_AT_MAX} ascending percentages from 1 to 100")
    elif warned and warned[-1] > 100:
        found.append("warn_at goes beyond 100")
    return found


def end_ns(window: Window | None, at_ns: int) -> int:
    """The first moment after the window that holds `at_ns`. Both nanoseconds, Unix epoch, UTC."""
    if window is None:
        return NEVER_NS
    if window == "ever":
        return EVER_NS
    if window == "month":
        first = _month(at_ns)
        year, month = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)
        return int(first.replace(year=year, month=month).timestamp()) * _SECOND_NS
    length = _LENGTH_NS[window]
    return at_ns - at_ns % length + length


def begin_ns(window: Window | None, at_ns: int) -> int:
    """The first moment of the window that holds `at_ns`; what has none holds everything."""
    if window is None or window == "ever":
        return 0
    return int(_month(at_ns).timestamp()) * _SECOND_NS if window == "month" else at_ns - at_ns % _LENGTH_NS[window]


def since_ns(limits: Sequence[Limit], now_ns: int) -> int:
    """From when on calls may still count against any of them: the earliest beginning of a window that is open now."""
    return min((begin_ns(limit.window, now_ns) for limit in limits if limit.window is not None), default=now_ns)


def _month(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns // _SECOND_NS, UTC).replace(day=1, hour=0, minute=0, second=0)
