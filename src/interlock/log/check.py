"""What may enter a log, and whether what comes out of one is what went in.

Pure. It does not know how a record is stored: adapters hand it a head, a payload and a chain value as bytes.
An **erased** payload is stored as zero bytes: the head still holds the hash of what stood there, so the chain holds.
No payload can be appended empty, so erasure is always visible and never mistaken for a change. A **redacted** payload
is another than the head says, and its hash is told from elsewhere (redaction.py).
"""

import re
from collections.abc import Callable
from hashlib import sha256

import msgspec

from interlock.errors import InterlockError, LocalError
from interlock.log.record import (
    ID_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    SCHEMA,
    TYPE_BYTES_MAX,
    Record,
    Stored,
    chain_next,
)
from interlock.units import INT64_MAX

RECORDS_MAX = 10_000
"""Records in one append."""

_STREAM = re.compile(r"(?!\.{1,2}(/|$))[a-z0-9_.-]+(/(?!\.{1,2}(/|$))[a-z0-9_.-]+)*")
_TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class LogCorrupt(InterlockError):
    """A stored record is not what was appended. It is named: `stream`, `seq`, and `what` is wrong with it."""

    default_code = "log_corrupt"

    def __init__(self, stream: str, seq: int, what: str) -> None:
        super().__init__(f"{stream} seq {seq}: {what}")
        self.stream = stream
        self.seq = seq
        self.what = what


class Head(msgspec.Struct, frozen=True):
    """A stored head, decoded. Unknown fields are let through: the chain covers the bytes, not this reading of them."""

    seq: int
    id: str
    type: str
    at_ns: str
    schema: int
    payload_sha256: str


decode_head = msgspec.json.Decoder(Head).decode


def check_stream(stream: str) -> None:
    """Raises: LocalError: not 1 to 128 of `[a-z0-9_/.-]`, or with an empty, `.` or `..` part."""
    if len(stream) > 128 or not _STREAM.fullmatch(stream):
        raise LocalError(f"{stream!r} is not a stream name (a-z 0-9 _ . - and / between parts)", field="stream")


def check_id(id: str) -> None:
    """Raises: LocalError: not 1 to 256 bytes of UTF-8, or with control characters."""
    try:
        size = len(id.encode())
    except UnicodeEncodeError as error:
        raise LocalError(f"record id {id!r} is not Unicode text", field="id") from error
    if not 1 <= size <= ID_BYTES_MAX or _CONTROL.search(id):
        raise LocalError(f"record id {id!r} is not 1 to {ID_BYTES_MAX} bytes without control characters", field="id")


def check_type(type: str) -> None:
    """Raises: LocalError: not a dotted lower-case name of at most 64 bytes."""
    if len(type) > TYPE_BYTES_MAX or not _TYPE.fullmatch(type):
        raise LocalError(f"record type {type!r} is not a dotted lower-case name", field="type")


def check_payload(payload: bytes) -> None:
    """The cheap half: what would break the file formats.

    Raises: LocalError: empty, over 1 MiB, or with a raw newline or tab.
    """
    if not 0 < len(payload) <= PAYLOAD_BYTES_MAX:
        raise LocalError(f"a payload of {len(payload)} bytes is not 1 to {PAYLOAD_BYTES_MAX}", field="payload")
    if payload.find(b"\n") >= 0 or payload.find(b"\t") >= 0:  # half the cost of `in`
        raise LocalError("a payload is compact JSON: no raw newline or tab", field="payload")


def check_record(record: Record) -> None:
    """Raises: LocalError: a field outside its limits, or a payload that is not UTF-8 JSON."""
    check_id(record.id)
    check_type(record.type)
    check_payload(record.payload)
    if not 0 <= record.at_ns <= INT64_MAX:
        raise LocalError(f"at_ns {record.at_ns!r} is not a time", field="at_ns")
    if not 1 <= record.schema <= SCHEMA:
        raise LocalError(f"schema {record.schema!r} is not one that this version writes", field="schema")
    try:
        record.payload.decode()
        msgspec.json.decode(record.payload, type=msgspec.Raw)
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise LocalError(f"the payload is not JSON: {error}", code="invalid_json", field="payload") from error


def check_count(count: int) -> None:
    """Raises: LocalError: more than `RECORDS_MAX` records in one append."""
    if count > RECORDS_MAX:
        raise LocalError(f"{count} records in one append, at most {RECORDS_MAX}", field="records")


Redacted = Callable[[int], str | None]
"""By seq, the hash (hex) of the payload that stands in the place of the one that was appended; None: none does."""


def restore(
    stream: str,
    seq: int,
    previous: bytes,
    head: bytes,
    payload: bytes,
    chain: bytes,
    redacted: Redacted = lambda seq: None,
) -> Stored:
    """The record that should stand at `seq` after chain value `previous`, from its stored bytes.

    An erased record comes back with `payload == b""`.
    Raises: LogCorrupt: it is not that record, or it is of a schema newer than this version knows.
    """
    try:
        found = decode_head(head)
        at_ns = int(found.at_ns)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise LogCorrupt(stream, seq, f"the head cannot be read: {error}") from error
    if found.seq != seq:
        raise LogCorrupt(stream, seq, f"seq {found.seq} stands where {seq} belongs: records were removed or reordered")
    if chain_next(previous, head) != chain:
        raise LogCorrupt(stream, seq, "the chain does not hold: this record or one before it was changed")
    is_there = bool(payload) and (digest := sha256(payload).hexdigest()) == found.payload_sha256
    if payload and not is_there and redacted(seq) != digest:
        raise LogCorrupt(stream, seq, "the payload does not match its hash")
    if found.schema > SCHEMA:
        raise LogCorrupt(stream, seq, f"schema {found.schema} is newer than this version reads ({SCHEMA})")
    record = Record(id=found.id, type=found.type, at_ns=at_ns, payload=payload, schema=found.schema)
    said = "" if is_there else found.payload_sha256
    return Stored(stream=stream, seq=seq, record=record, chain=chain, payload_sha256=said)
