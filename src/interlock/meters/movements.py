"""What a record of the events' stream adds and takes back, and where that counts. Pure.

An event counts at its own time; one whose period was closed before it came, and one taken back from a closed period,
count when the log took them, naming the period. What is placed depends on the records before it alone.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from interlock.errors import InterlockError
from interlock.intake import records
from interlock.intake.periods import Closed
from interlock.intake.placing import Closing, Closings
from interlock.intake.records import Corrected
from interlock.log import Stored
from interlock.meters.measure import Who

PLACES = 1 << 10
"""More than a record has events."""
_EPOCH = datetime(1970, 1, 1)


class _Counted(msgspec.Struct):
    """Of a `Payload`, what is folded: keys and contents are passed over."""

    tenant: str
    principal: str
    key_id: str
    application: str
    installation: str
    events: msgspec.Raw


_counted = msgspec.json.Decoder(_Counted).decode


class Movement(NamedTuple):
    """Events of one record that all count, or all count no more."""

    who: Who
    sign: int
    """Plus or minus one."""
    events: bytes | msgspec.Raw
    """A JSON list, as the log holds them."""
    at_us: int
    seq: int
    first: int = 0
    """The place in the record of the first of them."""
    original: tuple[int, int, int] | None = None
    """Of a reversal: when the original's record was written (Unix microseconds), its seq, and the place in it."""

    @property
    def default_us(self) -> int:
        """The time of an event that names none: of the record that counted it."""
        return self.original[0] if self.original else self.at_us

    @property
    def first_ordinal(self) -> int:
        """Of the first event, in the order of counting; of a reversal, which has one, the original's."""
        seq, place = self.original[1:] if self.original else (self.seq, self.first)
        return seq * PLACES + place

    def place(self, closings: Closings, time_us: int) -> tuple[int, str]:
        """Where an event of it counts (Unix microseconds), and the closed period that it belongs to, if any."""
        if self.original is None:
            return closings.place(self.who.tenant, time_us, self.at_us, self.seq)
        original_at_us, original_seq, _ = self.original
        return closings.place_reversal(self.who.tenant, time_us, original_at_us, original_seq, self.at_us, self.seq)


def movements(stored: Stored) -> Iterator[Movement]:
    """Of one record: none of most types. Raises: InterlockError `log_corrupt`: it was erased."""
    at_us, seq = stored.record.at_ns // 1000, stored.seq
    if not stored.record.payload:
        raise InterlockError(f"record {seq} was erased, so it cannot be folded again", code="log_corrupt")
    match stored.record.type:
        case records.COUNTED:
            counted = _counted(stored.record.payload)
            yield Movement(_who(counted), 1, counted.events, at_us, seq)
        case records.CORRECTED:
            corrected = msgspec.json.decode(stored.record.payload, type=Corrected)
            events = msgspec.json.decode(corrected.events, type=list[msgspec.Raw])
            original = corrected.originals[0]
            who = _who(corrected)
            where = (original.at_ns // 1000, original.seq, original.place)
            yield Movement(who, -1, b"[%b]" % bytes(events[0]), at_us, seq, original=where)
            if events[1:]:
                yield Movement(who, 1, b"[%b]" % bytes(events[1]), at_us, seq, first=1)


def closed(stored: Stored) -> tuple[str, Closing] | None:
    """The tenant and the period that a record closes."""
    if stored.record.type != records.CLOSED:
        return None
    payload = msgspec.json.decode(stored.record.payload, type=Closed)
    return payload.tenant, Closing(stored.seq, payload.period, payload.since_us, payload.until_us)


def time_text(time_us: int) -> str:
    """As events are stored with: `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat() + "Z"


def _who(payload: _Counted | Corrected) -> Who:
    return Who(payload.tenant, payload.principal, payload.application, payload.installation, payload.key_id)
