"""Frames: what botocore reads, this reads; what is damaged is refused, and never anything else."""

import struct
import zlib

import pytest
from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]  # botocore has no types
from hypothesis import example, given
from hypothesis import strategies as st
from tests.gateway.providers import frames
from tests.gateway.providers.frames import Typed

from interlock.errors import RemoteError
from interlock.gateway.providers.eventstream import (
    FRAME_BYTES_MAX,
    HEADERS_BYTES_MAX,
    HEADERS_MAX,
    Frame,
    FrameReader,
)


def _signed(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


VALUES = st.one_of(
    st.builds(Typed, st.just(0), st.just(True)),
    st.builds(Typed, st.just(1), st.just(False)),
    st.builds(Typed, st.just(2), _signed(8)),
    st.builds(Typed, st.just(3), _signed(16)),
    st.builds(Typed, st.just(4), _signed(32)),
    st.builds(Typed, st.sampled_from([5, 8]), _signed(64)),
    st.builds(Typed, st.just(6), st.binary(max_size=300)),
    st.builds(Typed, st.just(7), st.text(max_size=80)),
    st.builds(Typed, st.just(9), st.binary(min_size=16, max_size=16)),
)
HEADERS = st.dictionaries(st.text(min_size=1, max_size=40), VALUES, max_size=6)
FRAMES = st.lists(st.tuples(HEADERS, st.binary(max_size=500)), max_size=4)


def read(data: bytes, *cuts: int) -> list[Frame]:
    reader, out, start = FrameReader(), list[Frame](), 0
    for cut in [*sorted(cuts), len(data)]:
        out += reader.feed(data[start:cut])
        start = cut
    return out


def botocores(data: bytes) -> list[Frame]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [Frame(message.headers, message.payload) for message in buffer]


@given(FRAMES)
def test_frames_are_what_was_said_and_what_botocore_reads(said: list[tuple[dict[str, Typed], bytes]]) -> None:
    data = b"".join(frames.frame(headers, payload) for headers, payload in said)
    expected = [Frame({name: typed.value for name, typed in headers.items()}, payload) for headers, payload in said]
    assert read(data) == expected == botocores(data)


def test_bytes_cut_at_every_position_give_the_same_frames() -> None:
    data = frames.event("chunk", {"a": "ä"}) + frames.frame({}, b"") + frames.exception("x", {"message": "m"})
    expected = read(data)
    assert len(expected) == 3
    for cut in range(len(data) + 1):
        assert read(data, cut) == expected
    assert read(data, *range(len(data))) == expected


@given(st.integers(0), st.integers(1, 255))
@example(0, 1)
@example(8, 1)
def test_no_byte_can_be_changed_unnoticed(at: int, change: int) -> None:
    data = bytearray(frames.event("contentBlockDelta", {"delta": {"text": "hello"}}))
    data[at % len(data)] ^= change
    with pytest.raises(RemoteError) as caught:
        read(bytes(data))
    assert caught.value.code == "upstream_invalid"


def prelude(total: int, headers: int) -> bytes:
    lengths = struct.pack(">II", total, headers)
    return lengths + struct.pack(">I", zlib.crc32(lengths))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (prelude(FRAME_BYTES_MAX + 1, 0), "announces"),
        (prelude(FRAME_BYTES_MAX, HEADERS_BYTES_MAX + 1), "announces"),
        (prelude(15, 0), "longer than itself"),
        (prelude(20, 5), "longer than itself"),
        (frames.packed(frames.header("a", frames.text("b")) * 2, b""), "twice"),
        (frames.packed(b"\x01a\x0a", b""), "type 10"),
        (frames.packed(b"\x01a", b""), "cannot be read"),
        (frames.packed(b"\x05a\x00", b"bcd"), "cannot be read"),
        (frames.packed(b"\x01a\x04\x00", b"\x00\x00\x00"), "cannot be read"),
        (frames.packed(b"\x01a\x07\x00\x05b", b"cdef"), "cannot be read"),
        (frames.packed(b"\x01a\x09bcd", b"0123456789abcdef"), "cannot be read"),
        (frames.packed(b"\x01a\x07\x00\x01\xff", b""), "cannot be read"),
        (frames.frame({f"h{i}": Typed(0, True) for i in range(HEADERS_MAX + 1)}, b""), "more than 64"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(RemoteError, match=why) as caught:
        read(data)
    assert caught.value.code == "upstream_invalid"


def test_the_limits_themselves_are_allowed() -> None:
    assert read(prelude(FRAME_BYTES_MAX, HEADERS_BYTES_MAX)) == []
    assert len(read(frames.frame({f"h{i}": Typed(0, True) for i in range(HEADERS_MAX)}, b""))) == 1
    assert len(read(frames.frame({}, bytes(FRAME_BYTES_MAX - 16)))) == 1


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_garbage_is_never_anything_but_a_remote_error(headers: bytes, payload: bytes) -> None:
    for data in (headers, frames.packed(headers, payload)):
        try:
            read(data)
        except RemoteError as error:
            assert error.code == "upstream_invalid"


def test_a_header_that_is_not_text_counts_as_none() -> None:
    (read_frame,) = read(frames.frame({"a": Typed(4, 1), "b": frames.text("c")}, b""))
    assert (read_frame.text("a"), read_frame.text("b"), read_frame.text("d")) == ("", "c", "")
