"""Moments as people write them: `24h` or `7d` ago, a day, RFC 3339. Pure."""

from datetime import UTC, datetime

from interlock.errors import LocalError
from interlock.identity import duration_ns
from interlock.units import INT64_MAX

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_ns(text: str, now_ns: int, field: str) -> int:
    """Unix nanoseconds. `90m`, `24h`, `7d`: that long before `now_ns`; `2026-11-01`: its first moment, UTC.

    Raises: LocalError.
    >>> instant_ns("1970-01-01T00:00:01.5Z", 0, "since")
    1500000000
    """
    if text[-1:] in ("m", "h", "d"):
        return now_ns - duration_ns(text, field)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise LocalError(
            f"{text!r} is not a moment: write 24h, 7d, 2026-11-01 or 2026-11-01T12:00:00Z", field=field
        ) from error
    if moment.tzinfo is None:
        if len(text) > len("2026-11-01"):
            raise LocalError(f"{text!r} has no time zone: end it with Z or +01:00", field=field)
        moment = moment.replace(tzinfo=UTC)
    span = moment - _EPOCH
    nanoseconds = ((span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds) * 1000
    if not 0 <= nanoseconds <= INT64_MAX:
        raise LocalError(f"{text!r} is before 1970 or after 2262", field=field)
    return nanoseconds


def rfc3339(ns: int) -> str:
    """UTC, to the millisecond.

    >>> rfc3339(1_500_000_000)
    '1970-01-01T00:00:01.500Z'
    """
    whole = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns // 1_000_000 % 1000:03d}Z"
