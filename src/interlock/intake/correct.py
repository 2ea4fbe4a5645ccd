"""Corrections: an event that was counted is taken back, and perhaps another is counted in its place.

Each event is taken back once at most, for good; that is known by a key of its own (`reversal_key`), in the index of
the events'. The record holds the event as it was stored, so that whoever folds it subtracts exactly what was added,
and the replacement, so that both stand or neither. The replacement is an event like any other, and may be corrected
in its turn; a reversal has no id and cannot be. Which period it goes into is decided where it is counted (placing.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from interlock.errors import LocalError
from interlock.intake.cloudevent import (
    ID_CHARS_MAX,
    SOURCE_CHARS_MAX,
    TEXT_BYTES_MAX,
    Event,
    Origin,
    Refused,
    is_allowed,
    key_of,
    read_event,
    text_of,
)
from interlock.intake.commit import Committer, Outcome
from interlock.intake.decide import Known, reversal_key
from interlock.intake.records import CORRECTED, STREAM, Draft, Original, payload_of
from interlock.log import LogCorrupt
from interlock.strictjson import loads

REASON_CHARS_MAX = 1000
WAVE_MAX = 50
"""Corrections written with one sync."""

_NAMES = ("source", "id", "reason", "replacement")


class Correction(msgspec.Struct, frozen=True):
    """A correction that may be made, if its event was counted."""

    source: str
    id: str
    reason: str
    replacement: Event | None
    key: bytes
    """Of the event that is taken back: `key_of`."""
    reversal: bytes
    """`reversal_key` of it."""
    content: bytes
    """16 bytes of the SHA-256 of reason and replacement: another correction of the event is a duplicate if equal."""


def read_correction(text: bytes, origin: Origin, now_s: float) -> Correction | Refused:
    """One correction from its JSON text: `{"source", "id", "reason", "replacement": CloudEvent or absent}`."""
    if len(text) > 2 * TEXT_BYTES_MAX:
        return Refused(code="body_too_large", message="a correction is this long only if its event is", field="body")
    try:
        document = loads(text, what="correction", exact=True)
    except LocalError as error:
        return Refused(code=error.code, message=error.message, field="body")
    if type(document) is not dict:
        return Refused(code="invalid_request", message="a correction must be a JSON object", field="body")
    try:
        return _read(document, origin, now_s)
    except LocalError as error:
        names = (document.get("source"), document.get("id"))
        source, id = (name[:ID_CHARS_MAX] if type(name) is str else "" for name in names)
        return Refused(code=error.code, message=error.message, field=error.field or "", source=source, id=id)


def _read(document: dict[str, Any], origin: Origin, now_s: float) -> Correction:
    for name in document:
        if name not in _NAMES:
            raise LocalError(f"{name[:40]!r} is not of a correction; there are: {', '.join(_NAMES)}", field=name[:40])
    source = text_of(document, "source", SOURCE_CHARS_MAX)
    id = text_of(document, "id", ID_CHARS_MAX)
    reason = text_of(document, "reason", REASON_CHARS_MAX)
    asked = document.get("replacement")
    replacement = None if asked is None else _replacement(asked, origin, now_s)
    key = key_of(origin.tenant, source, id)
    if replacement and replacement.key == key:
        what = "the replacement is another event than the one it replaces: give it an id of its own"
        raise LocalError(what, field="replacement.id")
    said = f"{len(reason)}:{reason}".encode() + (replacement.canonical if replacement else b"")
    return Correction(source, id, reason, replacement, key, reversal_key(key), sha256(said).digest()[:16])


def _replacement(document: Any, origin: Origin, now_s: float) -> Event:
    found = read_event(document, origin, now_s)
    if isinstance(found, Event):
        return found
    field = "replacement" if found.field in ("", "event") else f"replacement.{found.field}"
    raise LocalError(f"the replacement: {found.message}", code=found.code, field=field)


def correct(committer: Committer, origin: Origin, items: Sequence[Correction | Refused]) -> list[Outcome]:
    """An outcome for each correction, in order, once what was counted is on the disk. On the committer's thread.

    A correction may take back what one before it in `items` put in place.
    Raises: InterlockError: the log cannot be read or written; those before are made, or will be found made.
    """
    return [outcome for wave in _waves(items) for outcome in _commit(committer, origin, wave)]


def _waves(items: Sequence[Correction | Refused]) -> Iterator[list[Correction | Refused]]:
    """Those that have nothing to do with each other; what does is decided once it is known what became of the first."""
    wave: list[Correction | Refused] = []
    touched: set[bytes] = set()
    for item in items:
        keys = set(_event_keys(item))
        if len(wave) >= WAVE_MAX or touched & keys:
            yield wave
            wave, touched = [], set()
        wave.append(item)
        touched |= keys
    if wave:
        yield wave


def _event_keys(item: Correction | Refused) -> list[bytes]:
    if isinstance(item, Refused):
        return []
    return [item.key, item.replacement.key] if item.replacement else [item.key]


def _commit(committer: Committer, origin: Origin, wave: Sequence[Correction | Refused]) -> list[Outcome]:
    corrections = [item for item in wave if isinstance(item, Correction)]
    known = committer.find([key for one in corrections for key in (one.reversal, *_event_keys(one))])
    committer.reached("looked_up")
    stored = _Stored(committer)
    decided = [_decide(item, origin, known, stored, committer) for item in wave]
    drafts = [one for one in decided if isinstance(one, _Correcting)]
    if drafts:
        committer.write(drafts)
    return [one if isinstance(one, Outcome) else one.outcome() for one in decided]


def _decide(
    item: Correction | Refused,
    origin: Origin,
    known: Mapping[bytes, Known],
    stored: "_Stored",
    committer: Committer,
) -> "Outcome | _Correcting":
    """What is to be written, or why nothing is."""
    if isinstance(item, Refused):
        return Outcome(
            result="refused", id=item.id, source=item.source, code=item.code, message=item.message, field=item.field
        )
    if before := known.get(item.reversal):
        if before.content == item.content:
            return Outcome(result="duplicate", seq=before.seq)
        return _conflict(item, before.seq, f"it was corrected already, otherwise, in record {before.seq}", "id")
    counted = known.get(item.key)
    if counted is None:
        return _refused(item, "event_unknown", "no event with this source and id was counted", "id")
    if item.replacement and (other := known.get(item.replacement.key)):
        return _conflict(
            item, other.seq, f"the replacement's id stands already, in record {other.seq}", "replacement.id"
        )
    try:
        original, event = stored.event(counted.seq, item.key)
    except (LogCorrupt, LocalError) as error:
        return _refused(item, error.code, error.message, "id")
    of = msgspec.json.decode(event, type=_Subject)
    subject = of.subject
    if of.erased or subject in committer.leaving.get(origin.tenant, ()):
        return _refused(item, "event_erased", "the event's subject was erased since: it cannot be corrected", "id")
    if origin.subjects and not is_allowed(subject, origin.subjects):
        return _refused(item, "subject_refused", "the key may not correct for this subject", "id")
    return _Correcting(item, origin, original, event)


def _refused(item: Correction, code: str, message: str, field: str) -> Outcome:
    return Outcome(result="refused", id=item.id, source=item.source, code=code, message=message, field=field)


def _conflict(item: Correction, seq: int, message: str, field: str) -> Outcome:
    return Outcome(
        result="conflict", id=item.id, source=item.source, seq=seq, code="conflict", message=message, field=field
    )


class _Correcting(Draft):
    """A correction on its way."""

    __slots__ = ("event", "item", "origin", "original")

    def __init__(self, item: Correction, origin: Origin, original: Original, event: bytes) -> None:
        super().__init__(CORRECTED)
        self.item = item
        self.origin = origin
        self.original = original
        self.event = event
        """The one that is taken back, as it is stored."""

    def payload(self) -> bytes:
        """As `Corrected`."""
        made = [(self.item.reversal, self.item.content, self.event)]
        if one := self.item.replacement:
            made.append((one.key, one.content, one.canonical))
        keys, contents, events = zip(*made, strict=True)
        more = msgspec.json.encode({"reason": self.item.reason, "originals": [self.original]})
        return payload_of(self.origin, keys, contents, events)[:-1] + b"," + more[1:]

    def known(self) -> dict[bytes, Known]:
        new = {self.item.reversal: Known(self.item.content, self.seq)}
        if one := self.item.replacement:
            new[one.key] = Known(one.content, self.seq)
        return new

    def outcome(self) -> Outcome:
        """What became of it, once it was written."""
        if self.error:
            return Outcome(
                result="unavailable",
                id=self.item.id,
                source=self.item.source,
                code=self.error.code,
                message="not written; send it again",
            )
        return Outcome(result="counted", seq=self.seq)


class _Subject(msgspec.Struct):
    subject: str = ""
    erased: str = ""


class _Events(msgspec.Struct):
    """As much of a `Payload` as is looked at here."""

    keys: bytes
    events: list[msgspec.Raw]


class _Stored:
    """Events as they stand in the log. The last record is kept: of those that are corrected, many come together."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._seq = 0
        self._at_ns = 0
        self._last = _Events(b"", [])

    def event(self, seq: int, key: bytes) -> tuple[Original, bytes]:
        """The event with this key in record `seq`. Raises: LogCorrupt. LocalError `event_erased`."""
        if seq != self._seq:
            self._read(seq)
        keys = self._last.keys
        places = [at for at in range(0, len(keys), 16) if keys[at : at + 16] == key]
        if not places:
            raise LogCorrupt(STREAM, seq, "the event that the index names is not in it")
        place = places[0] // 16
        return Original(seq, self._at_ns, place), bytes(self._last.events[place])

    def _read(self, seq: int) -> None:
        stored = self._committer.record_at(seq)
        if stored is None or not stored.record.payload:
            what = "dropped" if stored is None else "erased"
            raise LocalError(f"the event was counted in record {seq}, which was {what} since", code="event_erased")
        self._last = msgspec.json.decode(stored.record.payload, type=_Events)
        self._seq, self._at_ns = seq, stored.record.at_ns
