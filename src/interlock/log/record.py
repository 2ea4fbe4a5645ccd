"""What stands in a log, and the hash chain that holds it together.

A record has a head (who, what, when) and a payload (JSON bytes). The chain covers heads, and a head covers its payload
by hash only, so a payload can be erased for a person's sake and the chain still verifies.

    head  = {"seq":7,"id":"…","type":"usage.opened","at_ns":"…","schema":1,"payload_sha256":"…"}
    chain = SHA-256(previous chain || head);  before the first record: SHA-256("interlock/1" NUL stream name)

This chain shows that a record was changed, removed or reordered. It cannot show that the newest records were cut off:
that needs signed checkpoints (interlock.proof).
"""

from hashlib import sha256

import msgspec

SCHEMA = 1
"""The version new records are written with. Readers accept every version up to it."""

ID_BYTES_MAX = 256
TYPE_BYTES_MAX = 64
PAYLOAD_BYTES_MAX = 1 << 20  # a record is a fact about a call, never the call's own body


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One fact. Two records are the same if all fields but `at_ns` are equal."""

    id: str
    """Idempotency key, unique in its stream: 1 to 256 bytes of UTF-8, no control characters."""
    type: str
    """Dotted lower-case name, e.g. `usage.opened`."""
    at_ns: int
    """When the writer made it: wall clock, Unix epoch, UTC."""
    payload: bytes
    """Compact JSON (no raw newline or tab), at most 1 MiB."""
    schema: int = SCHEMA


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A record where it stands. `seq` counts from 1 without gaps."""

    stream: str
    seq: int
    record: Record
    chain: bytes
    """32 bytes: the chain value after this record."""
    payload_sha256: str = ""
    """Hex: what the head says, where the payload is another now (erased, or redacted: `redaction`); else empty."""


class Appended(msgspec.Struct, frozen=True):
    """Where the records stand: `seqs[i]` is that of the i-th; an id that stood before keeps its old one."""

    seqs: tuple[int, ...]
    head: int
    """The stream's last sequence number after the append."""


class Conflict(msgspec.Struct, frozen=True):
    """Nothing was written: `id` stands with other content, or (`id` is None) the head was not as expected."""

    id: str | None
    seq: int
    """Where the other content stands, or what the head is."""


def chain_start(stream: str) -> bytes:
    """The chain value before a stream's first record (32 bytes)."""
    return sha256(b"interlock/1\0" + stream.encode()).digest()


def head_json(seq: int, record: Record, payload_sha256: str = "") -> bytes:
    """The head as it is hashed and stored. `payload_sha256`: as `Stored` has it."""
    return msgspec.json.encode(
        {
            "seq": seq,
            "id": record.id,
            "type": record.type,
            "at_ns": str(record.at_ns),
            "schema": record.schema,
            "payload_sha256": payload_sha256 or sha256(record.payload).hexdigest(),
        }
    )


def chain_next(previous: bytes, head: bytes) -> bytes:
    """The chain value after a record (32 bytes)."""
    return sha256(previous + head).digest()


def same(a: Record, b: Record) -> bool:
    """Whether a retry of `a` may count as `b`: the time of writing is not part of the content."""
    return a.id == b.id and a.type == b.type and a.schema == b.schema and a.payload == b.payload
