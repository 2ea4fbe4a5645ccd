"""A cell that says when: RFC 3339 in UTC or with its offset, or why it cannot be. Pure.

A time without a zone is one only with a zone said beside it, and on the day the clocks change not even then: an hour
is missing or comes twice. Fractions keep the digits they have; the ledger's are microseconds.
"""

import re
from datetime import datetime, timedelta, timezone
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from interlock.errors import LocalError

Unit = Literal["s", "ms", "us", "ns"]
DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?P<minute>\d\d:\d\d)(?P<second>:\d\d)?(?P<fraction>\.\d{1,9})?)?"
    r" ?(?P<zone>[Zz]|UTC|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1)


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How a file's times are to be read."""

    zone: ZoneInfo | None = None
    """Of times that name none."""
    fold: Literal["", "earlier", "later"] = ""
    """Which of two equal local times is meant when the clocks go back; empty: such a time is refused."""
    unit: Unit | None = None
    """Of times that are numbers: since 1970."""

    def read(self, value: object, field: str) -> str:
        """A time as an event says it. Raises: LocalError: it is none, or not one alone."""
        text = str(value).strip() if type(value) in (str, int) else repr(value)
        match = _TIME.fullmatch(text)
        if match is None:
            if text.removeprefix("-").isdigit() and text.isascii():
                return self._since(text, field)
            raise LocalError(f"{text[:60]!r} is no time: write 2026-11-28T10:00:00Z", field=field)
        day, minute, second, fraction, zone = match.groups()
        if minute is None and zone:
            raise LocalError(f"{text!r} is a day with an offset and no time of day", field=field)
        local, fraction = f"{day}T{minute or '00:00'}{second or ':00'}", fraction or ""
        return self._zoned(local, fraction, zone, field) if zone else self._local(local, fraction, field)

    def _zoned(self, local: str, fraction: str, zone: str, field: str) -> str:
        if zone in ("Z", "z", "UTC") or zone.strip("+-0:") == "":
            offset = "Z"
        else:
            digits = zone[1:].replace(":", "").ljust(4, "0")
            offset = f"{zone[0]}{digits[:2]}:{digits[2:]}"
        try:
            msgspec.convert(f"{local}{offset}", datetime)
        except msgspec.ValidationError as error:
            raise LocalError(f"{local}{offset} is not in the calendar", field=field) from error
        return f"{local}{fraction}{offset}"

    def _local(self, local: str, fraction: str, field: str) -> str:
        if self.zone is None:
            raise LocalError(f"{local} has no time zone, and --zone was not given", field=field)
        try:
            naive = datetime.fromisoformat(local)
        except ValueError as error:
            raise LocalError(f"{local} is not in the calendar", field=field) from error
        first, second = (naive.replace(tzinfo=self.zone, fold=fold).utcoffset() for fold in (0, 1))
        assert first is not None and second is not None
        if second > first:
            how = f"the clocks went forward from {_hours(first)} to {_hours(second)}"
            raise LocalError(f"{local} does not exist in {self.zone}: {how}", field=field)
        if second < first and not self.fold:
            how = f"at {_hours(first)} and at {_hours(second)}: write the offset, or say --fold"
            raise LocalError(f"{local} came twice in {self.zone}, {how}", field=field)
        try:
            return f"{(naive - (second if self.fold == 'later' else first)).isoformat()}{fraction}Z"
        except OverflowError as error:
            raise LocalError(f"{local} is not in the calendar", field=field) from error

    def _since(self, text: str, field: str) -> str:
        if self.unit is None:
            raise LocalError(f"{text[:60]!r} is a number: since 1970 in which unit? Say --time-unit", field=field)
        places = DIGITS[self.unit]
        if len(text) > 24:
            raise LocalError(f"{text[:60]!r} is not in the calendar", field=field)
        seconds, rest = divmod(int(text), 10**places)
        try:
            moment = _EPOCH + timedelta(seconds=seconds)
        except OverflowError as error:
            raise LocalError(f"{text} {self.unit} is not in the calendar", field=field) from error
        fraction = f".{rest:0{places}}".rstrip("0") if rest else ""
        return f"{moment.isoformat()}{fraction}Z"


def _hours(offset: timedelta) -> str:
    """As `UTC+02:00`."""
    return str(timezone(offset))
