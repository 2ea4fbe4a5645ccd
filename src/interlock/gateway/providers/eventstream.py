"""AWS event-stream framing (`application/vnd.amazon.eventstream`): bytes in, frames out.

A frame is: total length and length of the headers (4 bytes each, big-endian, as everything), CRC-32 of these eight
bytes, headers, payload, CRC-32 of all that came before. No I/O; what a frame means is the caller's.
"""

import struct
from collections.abc import Iterator
from zlib import crc32

import msgspec

from interlock.errors import RemoteError

FRAME_BYTES_MAX = 16 * 1024 * 1024
"""AWS sets this limit to a payload; a whole frame is hardly more than its payload."""
HEADERS_BYTES_MAX = 128 * 1024
"""AWS's own."""
HEADERS_MAX = 64
"""Frames of Bedrock have three."""

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_FIXED = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q")}
_FIXED[8] = _FIXED[5]  # a time, in milliseconds
_SIZED, _TEXT, _UUID = (6, 7), 7, 9

HeaderValue = bool | int | str | bytes


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One message. Times are integers (Unix milliseconds), UUIDs their 16 bytes."""

    headers: dict[str, HeaderValue]
    payload: bytes

    def text(self, name: str) -> str:
        """The header, where it is text; else empty."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class FrameReader:
    """Reads one stream. The frames do not depend on how the bytes were cut."""

    def __init__(self) -> None:
        self._carry = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete; those before a faulty one come before the error.

        Raises: RemoteError: `upstream_invalid`; what follows cannot be read any more.
        """
        self._carry += data
        return self._whole()

    def _whole(self) -> Iterator[Frame]:
        at = 0
        try:
            while (size := _size(self._carry, at)) and len(self._carry) - at >= size:
                frame = _frame(bytes(memoryview(self._carry)[at : at + size]))
                at += size
                yield frame
        finally:
            del self._carry[:at]


def _size(data: bytearray, at: int) -> int:
    """Bytes of the frame that begins there; 0: its prelude is not whole yet."""
    if len(data) - at < _PRELUDE.size:
        return 0
    total, headers, crc = _PRELUDE.unpack_from(data, at)
    if crc32(data[at : at + 8]) != crc:
        raise _invalid("its prelude's checksum is wrong")
    if total > FRAME_BYTES_MAX or headers > HEADERS_BYTES_MAX:
        raise _invalid(f"it announces {total} bytes, {headers} of them headers")
    if headers + _PRELUDE.size + _CRC.size > total:
        raise _invalid("its headers are longer than itself")
    return int(total)


def _frame(data: bytes) -> Frame:
    body, (crc,) = data[: -_CRC.size], _CRC.unpack_from(data, len(data) - _CRC.size)
    if crc32(body) != crc:
        raise _invalid("its checksum is wrong")
    end = _PRELUDE.size + int.from_bytes(data[4:8])
    headers: dict[str, HeaderValue] = {}
    try:
        for name, value in _headers(data, end):
            if name in headers:
                raise _invalid("it has a header twice")
            headers[name] = value
            if len(headers) > HEADERS_MAX:
                raise _invalid(f"it has more than {HEADERS_MAX} headers")
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise _invalid("its headers cannot be read") from error
    return Frame(headers, body[end:])


def _headers(data: bytes, end: int) -> Iterator[tuple[str, HeaderValue]]:
    at = _PRELUDE.size
    block = data[:end]  # a header that runs beyond it is cut, and seen below
    while at < end:
        name_end = at + 1 + block[at]
        name = block[at + 1 : name_end].decode()
        value, at = _value(block, block[name_end], name_end + 1)
        if at > end:
            raise IndexError
        yield name, value


def _value(block: bytes, kind: int, at: int) -> tuple[HeaderValue, int]:
    """(value, where it ends)."""
    if kind in (0, 1):
        return kind == 0, at
    if kind in _FIXED:
        return _FIXED[kind].unpack_from(block, at)[0], at + _FIXED[kind].size
    if kind == _UUID:
        return block[at : at + 16], at + 16
    if kind not in _SIZED:
        raise _invalid(f"a header is of type {kind}")
    end = at + 2 + int.from_bytes(block[at : at + 2])
    raw = block[at + 2 : end]
    return raw.decode() if kind == _TEXT else raw, end


def _invalid(why: str) -> RemoteError:
    return RemoteError(f"the upstream's event stream holds a frame that is none: {why}", code="upstream_invalid")
