"""What stands in the stream of events: its types of record, and how one is made and read. No I/O.

events.counted     events, each counted once by its key (commit.py)
events.conflict    events kept aside: each has the key of one that was counted, and other content
events.corrected   one event taken back, and perhaps another in its place (correct.py)
period.closed      a tenant's period is closed, and all before it (closing.py)
"""

from base64 import b64encode
from collections.abc import Sequence

import msgspec

from interlock.errors import InterlockError, LogUnavailable
from interlock.intake.cloudevent import Origin
from interlock.intake.decide import Known
from interlock.intake.periods import Closed, Standing
from interlock.log import Stored

STREAM = "events/0"
COUNTED, CONFLICT, CORRECTED = "events.counted", "events.conflict", "events.corrected"
CLOSED = "period.closed"

_encode = msgspec.json.Encoder().encode


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Of a record with events; a correction's has more (correct.py)."""

    tenant: str
    principal: str
    key_id: str
    application: str
    installation: str
    keys: bytes
    """16 for each event (base64 in JSON): `Event.key`; of a conflict `conflict_key`, of a reversal `reversal_key`."""
    contents: bytes
    """16 for each event: as `Event.content`; of a reversal, of what was asked for."""
    events: msgspec.Raw
    """A JSON list of CloudEvents."""


class Original(msgspec.Struct, frozen=True):
    """Where an event that is taken back was counted."""

    seq: int
    at_ns: int
    place: int = 0
    """Among the record's events."""


class Corrected(Payload, frozen=True, kw_only=True):
    """Of a correction. Two events, or one: the first, as it was stored, counts minus one; the second one."""

    reason: str
    originals: list[Original]
    """Of the first event."""


class Draft:
    """A record on its way into the log, and whether it stands."""

    __slots__ = ("at_ns", "error", "seq", "type")

    def __init__(self, type: str) -> None:
        self.type = type
        self.seq = 0
        self.at_ns = 0
        """When it is written; set before `payload` is asked for."""
        self.error: InterlockError | None = None
        """Why it does not stand; once it was written."""

    def payload(self) -> bytes:
        """Compact JSON."""
        raise NotImplementedError  # each kind of record has its own; this class is never written itself

    def known(self) -> dict[bytes, Known]:
        """The keys that it makes known, once it stands: as `known_of`."""
        return {}

    def closings(self) -> list[Standing]:
        """The same, of what it closed."""
        return []

    def done(self, error: LogUnavailable | None) -> None:
        """The journal's answer."""
        self.error = error


def payload_of(origin: Origin, keys: Sequence[bytes], contents: Sequence[bytes], events: Sequence[bytes]) -> bytes:
    """A `Payload`. By hand: the events are JSON already."""
    who = _encode(
        {
            "tenant": origin.tenant,
            "principal": origin.principal,
            "key_id": origin.key_id,
            "application": origin.application,
            "installation": origin.installation,
            "keys": b64encode(b"".join(keys)).decode(),
            "contents": b64encode(b"".join(contents)).decode(),
        }
    )
    return b'%b,"events":[%b]}' % (who[:-1], b",".join(events))


def known_of(stored: Stored) -> dict[bytes, Known]:
    """The keys that a record makes known. Raises: InterlockError `log_corrupt`: it was erased."""
    if stored.record.type not in (COUNTED, CONFLICT, CORRECTED):
        return {}
    _check_there(stored)
    payload = msgspec.json.decode(stored.record.payload, type=Payload)
    keys, contents = payload.keys, payload.contents
    return {keys[i : i + 16]: Known(contents[i : i + 16], stored.seq) for i in range(0, len(keys), 16)}


def closings_of(stored: Stored) -> list[Standing]:
    """What a record closed: nothing, as a rule. Raises: as `known_of`."""
    if stored.record.type != CLOSED:
        return []
    _check_there(stored)
    closed = msgspec.json.decode(stored.record.payload, type=Closed)
    return [Standing(stored.seq, stored.record.at_ns, closed)]


def _check_there(stored: Stored) -> None:
    if not stored.record.payload:
        why = f"record {stored.seq} of {STREAM} was erased, and with it what it made known"
        raise InterlockError(why, code="log_corrupt")
