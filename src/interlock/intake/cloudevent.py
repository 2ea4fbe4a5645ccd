"""One CloudEvent as the ledger takes it: checked, in one spelling, hashed. Pure.

What is stored is not the sender's bytes but the event they say, keys sorted and the time in UTC, so that a retry by
another library is the same event. Numbers stay as they were written (0.10 is not 0.1). It does not decide whether the
event was counted before (decide.py), nor what it measures.

Source: CloudEvents 1.0.2 and its JSON format.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import Any

import msgspec

from interlock.errors import LocalError
from interlock.intake.residue import ERASED
from interlock.strictjson import loads

EVENT_BYTES_MAX = 64 * 1024
TEXT_BYTES_MAX = 8 * EVENT_BYTES_MAX
"""Of an event as it was sent: parsing holds up the whole process, so what cannot become one is not parsed."""
ID_CHARS_MAX = 256
SOURCE_CHARS_MAX = 1024
TYPE_CHARS_MAX = 256
SUBJECT_CHARS_MAX = 256
EXTENSION_CHARS_MAX = 1024
AHEAD_S_MAX = 300.0
"""How far an event's time may be ahead of this machine's clock: what badly kept clocks differ by (Stripe's bound)."""
CREDENTIAL_NAMES = frozenset({"tenant", "principal", "application", "installation"})
"""Told by the credential; a body that says them is refused, or somebody would believe it."""

_OURS = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"})
_EXTENSION = re.compile(r"[a-z0-9]{1,20}")
_JSON_TYPE = re.compile(r"application/([a-z0-9.+-]+\+)?json( *;.*)?", re.IGNORECASE)
_SECONDS_CHARS = len("2026-11-28T10:00:00Z")
_encode = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends: all of it from the credential."""

    tenant: str
    principal: str
    key_id: str
    application: str = ""
    installation: str = ""
    subjects: tuple[str, ...] = ()
    """Customers that the key may report for; a trailing `*` stands for anything; empty: all."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """An event that may be counted."""

    source: str
    id: str
    key: bytes
    """16 bytes: what it is deduplicated by (`key_of`)."""
    content: bytes
    """16 bytes of the SHA-256 of `canonical`: a second event with this key is a duplicate if this is equal too."""
    canonical: bytes
    """The event as JSON, on one line."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """An event that cannot be counted, whoever sends it and however often."""

    code: str
    message: str
    field: str = ""
    source: str = ""
    id: str = ""


def key_of(tenant: str, source: str, id: str) -> bytes:
    """16 bytes for the three columns of an event's key, told apart by their lengths: `a-b`, `c` is not `a`, `b-c`."""
    digest = _columns(tenant, source).copy()
    digest.update(id.encode())
    return digest.digest()


@lru_cache(maxsize=1024)
def _columns(tenant: str, source: str) -> blake2b:
    return blake2b(f"{len(tenant)},{len(source)}:{tenant}{source}".encode(), digest_size=16)


def read_json(text: bytes, origin: Origin, now_s: float) -> Event | Refused:
    """One event from its JSON text. As `read_event`."""
    if len(text) > TEXT_BYTES_MAX:
        return Refused(code="body_too_large", message=f"an event has at most {EVENT_BYTES_MAX} bytes", field="event")
    try:
        document = loads(text, what="event", exact=True)
    except LocalError as error:
        return Refused(code=error.code, message=error.message)
    return read_event(document, origin, now_s)


def read_event(document: Any, origin: Origin, now_s: float) -> Event | Refused:
    """Check one event. `document`: decoded with exact numbers; `now_s`: Unix seconds."""
    if type(document) is not dict:
        return Refused(code="invalid_request", message="an event must be a JSON object", field="event")
    try:
        return _read(document, origin, now_s)
    except LocalError as error:
        names = (document.get("source"), document.get("id"))
        source, id = (name[:ID_CHARS_MAX] if type(name) is str else "" for name in names)
        return Refused(code=error.code, message=error.message, field=error.field or "", source=source, id=id)


def _read(document: dict[str, Any], origin: Origin, now_s: float) -> Event:
    if None in document.values():  # an attribute that is null is one that is not there (JSON format, 2.2)
        document = {name: value for name, value in document.items() if value is not None}
    if document.get("specversion") != "1.0":
        raise LocalError('specversion must be "1.0"', field="specversion")
    id = text_of(document, "id", ID_CHARS_MAX)
    source = text_of(document, "source", SOURCE_CHARS_MAX)
    text_of(document, "type", TYPE_CHARS_MAX)
    if "subject" in document:
        text_of(document, "subject", SUBJECT_CHARS_MAX)
    if origin.subjects and not is_allowed(document.get("subject", ""), origin.subjects):
        raise LocalError("the key may not report for this subject", code="subject_refused", field="subject")
    time = document.get("time")
    if time is not None:
        document["time"] = time_in_utc(time, now_s)
    if not document.keys() <= _OURS:
        _extensions(document, document.keys() - _OURS)
    if "datacontenttype" in document or "dataschema" in document:
        _about_data(document)
    data = document.get("data")
    if data is not None and type(data) is not dict:
        raise LocalError("data must be an object", field="data")
    try:
        canonical = _encode(document)
    except (UnicodeEncodeError, RecursionError, ValueError) as error:  # a lone surrogate
        raise LocalError(f"the event cannot be written as JSON again: {error}", field="event") from error
    if len(canonical) > EVENT_BYTES_MAX:
        raise LocalError(f"an event has at most {EVENT_BYTES_MAX} bytes", code="body_too_large", field="event")
    content = sha256(canonical).digest()[:16]
    return Event(source, id, key_of(origin.tenant, source, id), content, canonical)


def is_allowed(subject: str, allowed: Sequence[str]) -> bool:
    """Whether a subject is one of those, or begins as one that ends in `*`."""
    return any(subject == one or (one[-1:] == "*" and subject.startswith(one[:-1])) for one in allowed)


def text_of(document: dict[str, Any], name: str, most: int) -> str:
    """A member that must be a string of 1 to `most` printable characters. Raises: LocalError."""
    value = document.get(name)
    if type(value) is not str or not 0 < len(value) <= most or not value.isprintable():
        raise LocalError(f"{name} must be a string of 1 to {most} printable characters", field=name)
    return value


def time_in_utc(value: object, now_s: float) -> str:
    """The time in UTC, to the microsecond, in one spelling. Raises: LocalError: it is none, or far ahead of `now_s`."""
    try:
        moment = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise LocalError("time must be RFC 3339 with a time zone: 2026-11-28T10:00:00Z", field="time")
    assert type(value) is str
    since_s = moment.timestamp()
    if since_s < 0.0:
        raise LocalError("time is before 1970", field="time")
    if since_s > now_s + AHEAD_S_MAX:
        raise LocalError(f"time is more than {AHEAD_S_MAX:.0f} s ahead of the server's clock", field="time")
    if len(value) == _SECONDS_CHARS and value[10] == "T" and value[-1] == "Z":
        return value  # in that spelling already, as most are
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _extensions(document: dict[str, Any], names: set[str]) -> None:
    """Attributes that CloudEvents leaves to its users."""
    if "data_base64" in names:
        raise LocalError("data must be JSON, not data_base64", field="data_base64")
    for name in names:
        if name == ERASED:
            raise LocalError(f"{name} is the ledger's own: it marks what is left of an erased event", field=name)
        if name in CREDENTIAL_NAMES:
            raise LocalError(f"{name} is told by the key, not by the event", field=name)
        value = document[name]
        if not _EXTENSION.fullmatch(name):
            raise LocalError(f"{name[:40]!r} is no name of an attribute: 1 to 20 of a-z 0-9", field="event")
        if type(value) is str and len(value) > EXTENSION_CHARS_MAX:
            raise LocalError(f"{name} must have at most {EXTENSION_CHARS_MAX} characters", field=name)
        if type(value) not in (str, bool, int):
            raise LocalError(f"{name} must be a string, a boolean or an integer", field=name)


def _about_data(document: dict[str, Any]) -> None:
    kind = document.get("datacontenttype", "application/json")
    if type(kind) is not str or not _JSON_TYPE.fullmatch(kind):
        raise LocalError("datacontenttype must be application/json", field="datacontenttype")
    if "dataschema" in document:
        text_of(document, "dataschema", SOURCE_CHARS_MAX)
