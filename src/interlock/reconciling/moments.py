"""Times as providers write them: seconds since 1970, RFC 3339, `2026-09-01 00:00:00`, days, months; in UTC. Pure."""

import re
from datetime import UTC, datetime
from typing import Any, Literal

from interlock.errors import LocalError
from interlock.reconciling.figures import count
from interlock.reconciling.statement import DAY_NS, HOUR_NS
from interlock.units import INT64_MAX

Width = Literal["hour", "day", "month"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_NS = 1_000_000_000
_DIGITS = re.compile(r"\d{9,11}(\.0*)?", re.ASCII)
_MONTH = re.compile(r"\d{4}-\d\d", re.ASCII)


def moment_ns(value: Any, place: str) -> int:
    """Unix nanoseconds; without a zone it is UTC. Raises: LocalError."""
    if (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, str) and _DIGITS.fullmatch(value)
    ):
        return _bounded(int(count(value, place)) * _SECOND_NS, value, place)
    text = str(value).strip() if isinstance(value, str) else ""
    try:
        moment = datetime.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text)
    except ValueError as error:
        raise LocalError(
            f"{place}: {str(value)[:40]!r} is not a time: 2026-09-01, 2026-09-01T00:00:00Z or seconds since 1970",
            field=place,
        ) from error
    span = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return _bounded(((span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds) * 1000, value, place)


def bucket(at_ns: int, width: Width) -> tuple[int, int]:
    """The hour, day or month that a moment is in: its start and its end, exclusive."""
    if width == "month":
        moment = datetime.fromtimestamp(at_ns // _SECOND_NS, UTC)
        ends = (moment.year + moment.month // 12, moment.month % 12 + 1)
        return _month_ns(moment.year, moment.month), _month_ns(*ends)
    size = HOUR_NS if width == "hour" else DAY_NS
    return at_ns - at_ns % size, at_ns - at_ns % size + size


def _month_ns(year: int, month: int) -> int:
    return (datetime(year, month, 1, tzinfo=UTC) - _EPOCH).days * DAY_NS


def _bounded(ns: int, value: Any, place: str) -> int:
    if not 0 <= ns <= INT64_MAX:
        raise LocalError(f"{place}: {str(value)[:40]!r} is before 1970 or after 2262", field=place)
    return ns
