"""What is kept of an answer, how long it is fresh, and how it is written for the server. Pure.

An entry holds its own key: whoever reads one from a server compares it, so that no mix-up there or in a client of it
can hand one call's answer to another.
"""

import msgspec

from interlock.caching.directives import Directives

JITTER = 0.1
"""A lifetime is up to this share shorter or longer than was set: what came together does not leave together."""
OVERHEAD_BYTES = 1024
"""Of an entry in memory, beside its body and lines: objects, figures, names."""

_LINES = (b"content-type:", b"cache-control:", b"x-interlock-dropped:")
"""Header lines that belong to the answer. The others tell of the call: its id, its limits, its time."""
_SCHEMA = 1


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An answer that was whole and good."""

    schema: int
    key: bytes
    tenant: str
    made_at_ns: int
    """When it was whole."""
    request_id: str
    """The call that it was made for."""
    deployment: str
    stream: bool
    """Whether `body` is a stream's events."""
    lines: bytes
    """Its header lines (`kept_lines`)."""
    body: bytes
    usage: dict[str, int]
    """What it took: the ledger's kinds."""
    finish_reason: str

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        return len(self.body) + len(self.lines) + OVERHEAD_BYTES


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def new_entry(
    key: bytes,
    tenant: str,
    *,
    made_at_ns: int,
    request_id: str,
    deployment: str,
    stream: bool,
    lines: bytes,
    body: bytes,
    usage: dict[str, int],
    finish_reason: str,
) -> Entry:
    """An entry of this version. `lines`: all that the answer had."""
    return Entry(
        _SCHEMA, key, tenant, made_at_ns, request_id, deployment, stream, kept_lines(lines), body, usage, finish_reason
    )


def to_bytes(entry: Entry) -> bytes:
    """As the server keeps it."""
    return _encode(entry)


def from_bytes(data: bytes, key: bytes, tenant: str) -> Entry | None:
    """The entry, if it is one of this version, under this key, of this tenant."""
    try:
        entry = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return entry if (entry.schema, entry.key, entry.tenant) == (_SCHEMA, key, tenant) else None


def kept_lines(lines: bytes) -> bytes:
    """Those of an answer's header lines that are kept with it."""
    return b"".join(line for line in lines.splitlines(keepends=True) if line.lower().startswith(_LINES))


def lifetime_ms(key: bytes, ttl_s: int) -> int:
    """How long an answer is fresh: `ttl_s`, up to a tenth more or less by its key, so the same wherever it is asked.

    >>> lifetime_ms(bytes(32), 100), lifetime_ms(b"\\xff" * 32, 100)
    (90000, 109999)
    """
    share = int.from_bytes(key[:4]) / (1 << 32)
    return int(ttl_s * 1000 * (1 - JITTER + 2 * JITTER * share))


def until_ns(entry: Entry, ttl_s: int) -> int:
    """When it is over."""
    return entry.made_at_ns + lifetime_ms(entry.key, ttl_s) * 1_000_000


def age_s(entry: Entry, now_ns: int) -> int:
    """Whole seconds; 0 where another machine's clock is ahead of ours."""
    return max(now_ns - entry.made_at_ns, 0) // 1_000_000_000


def fresh(entry: Entry, now_ns: int, ttl_s: int, asked: Directives) -> bool:
    """Whether an entry may be given now, under the lifetime that is set now and what the client asked for."""
    age_ms = max(now_ns - entry.made_at_ns, 0) // 1_000_000
    if age_ms + asked.min_fresh_s * 1000 >= lifetime_ms(entry.key, ttl_s):
        return False
    return asked.max_age_s is None or age_ms <= asked.max_age_s * 1000
