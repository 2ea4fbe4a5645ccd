"""One record as one line of a journal file: text that `cut`, `grep` and `jq` read.

    LENCRC CHAIN <tab> HEAD <tab> PAYLOAD <newline>

LEN: 8 hex digits, bytes of the whole line with its newline. CRC: 8 hex digits, CRC-32 of what stands between the space
and the newline. CHAIN: 64 hex digits, the chain value after this record. HEAD and PAYLOAD: JSON; an erased payload is
empty. LEN and CRC say whether a line is whole; the chain says whether it is the line that was written. Nothing here
touches a file.
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from zlib import crc32

from interlock.errors import LogUnavailable
from interlock.log.record import PAYLOAD_BYTES_MAX, SCHEMA

PREFIX_BYTES = 81
LINE_BYTES_MAX = PAYLOAD_BYTES_MAX + 8192
"""Prefix, head (id and type escaped at worst six bytes for one) and the largest payload."""

_BODY_FROM = 17
_NEWLINE = ord("\n")

Done = Callable[[LogUnavailable | None], None]

Entry = tuple[str, str, int, bytes, Done | None, bool]
"""A record on its way: id and type as JSON, at_ns, payload, done, reserved. A bare tuple: it is hot."""


def encode_lines(entries: Iterable[Entry], seq: int, chain: bytes) -> list[bytes]:
    """The lines that follow seq `seq` and chain value `chain`.

    The head is put together by hand, byte-equal to `record.head_json`: a third of the cost, and this is the hot path.
    """
    lines = []
    for id_json, type_json, at_ns, payload, _, _ in entries:
        seq += 1
        head = (
            f'{{"seq":{seq},"id":{id_json},"type":{type_json},"at_ns":"{at_ns}","schema":{SCHEMA},'
            f'"payload_sha256":"{sha256(payload).hexdigest()}"}}'
        ).encode()
        chain = sha256(chain + head).digest()
        body = b"\t".join((chain.hex().encode(), head, payload))  # as `frame`, without the call
        lines.append(b"%016x %b\n" % (len(body) + _BODY_FROM + 1 << 32 | crc32(body), body))
    return lines


def frame(chain: bytes, head: bytes, payload: bytes) -> bytes:
    """The line of a record."""
    body = b"\t".join((chain.hex().encode(), head, payload))
    return b"%016x %b\n" % (len(body) + _BODY_FROM + 1 << 32 | crc32(body), body)


def overruns(rest: bytes) -> bool:
    """Whether bytes without a newline are at least as many as the line that they begin says it has.

    A write that was cut short never is; so the line's end was changed. Cut within its length, it says nothing.
    """
    try:
        return len(rest) >= 8 and len(rest) >= int(rest[:8], 16) > 0
    except ValueError:
        return False


def chain_of(line: bytes) -> bytes:
    """The chain value (32 bytes) of a line that is known to be whole."""
    return bytes.fromhex(line[_BODY_FROM:PREFIX_BYTES].decode())


def parse(text: bytes | bytearray, start: int = 0, end: int | None = None) -> tuple[bytes, bytes, bytes]:
    """Chain value, head and payload of the line that stands there with its newline; of it, only these are copied.

    Raises: ValueError: it is not exactly what `frame` would write; the message says what is wrong.
    """
    end = len(text) if end is None else end
    head_from = start + PREFIX_BYTES + 1
    tab = text.find(b"\t", head_from, end)
    if text.find(b"\t", start, end) != head_from - 1 or tab < 0 or text.find(b"\t", tab + 1, end) >= 0:
        raise ValueError("this is not a line of the journal")
    view = memoryview(text)
    prefix, crc = view[start : head_from - 1].tobytes(), crc32(view[start + _BODY_FROM : end - 1])
    if prefix[:_BODY_FROM] != b"%016x " % (end - start << 32 | crc) or view[end - 1] != _NEWLINE:
        raise ValueError("length or CRC do not match the line")
    chain = chain_of(prefix)
    if chain.hex().encode() != prefix[_BODY_FROM:]:
        raise ValueError("the chain value is not as it was written")
    return chain, view[head_from:tab].tobytes(), view[tab + 1 : end - 1].tobytes()
