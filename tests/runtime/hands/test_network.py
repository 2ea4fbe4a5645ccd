"""What is seen in a sandbox's network: packets as they were read off one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.runtime.hands.network import PACKET_BYTES, Seen, packet_filter, seen

UDP4 = bytes.fromhex("45000021d2a80000401188047f00000108080808c345270f000d000068656c6c6f")
SYN4 = bytes.fromhex("4500003cc33000004006976c0808080808080808c86801bb548d186e00000000a002ff8000000000")
UDP6 = bytes.fromhex(
    "60000000000d11400000000000000000000000000000000220014860486000000000000000008888fd4270f0000d000068656c6c6f"
)


@pytest.mark.parametrize(
    ("packet", "what"),
    [
        (UDP4, Seen("udp", "8.8.8.8", 9999, b"hello", 5)),
        (SYN4, Seen("tcp", "8.8.8.8", 443, b"", 0)),
        (b"\x46" + UDP4[1:20] + bytes(4) + UDP4[20:], Seen("udp", "8.8.8.8", 9999, b"hello", 5)),
        (UDP4[:28], Seen("udp", "8.8.8.8", 9999, b"", 5)),
        (UDP4[:27], None),
        (b"", None),
    ],
)
def test_a_packet_is_for_whom_and_how_long(packet: bytes, what: Seen | None) -> None:
    assert seen(packet) == what


ROUTED6 = UDP6[:6] + b"\x2b" + UDP6[7:40] + b"\x11\x02\x04\0" + bytes(20) + UDP6[40:]
FIRST6 = UDP6[:6] + b"\x2c" + UDP6[7:40] + b"\x11\0\0\1" + bytes(4) + UDP6[40:]
LATER6 = UDP6[:6] + b"\x2c" + UDP6[7:40] + b"\x11\0\0\x10" + bytes(4) + UDP6[40:]
SYN6 = UDP6[:6] + b"\x2b" + UDP6[7:40] + b"\x06" + bytes(7) + SYN4[20:]


@pytest.mark.parametrize(
    ("packet", "what"),
    [
        (ROUTED6, Seen("udp", "2001:4860:4860::8888", 0x70F0, b"hello", 5)),
        (FIRST6, Seen("udp", "2001:4860:4860::8888", 0x70F0, b"hello", 5)),
        (SYN6, Seen("tcp", "2001:4860:4860::8888", 443, b"", 0)),
        (SYN6[:61] + b"\x10" + SYN6[62:], None),
        (LATER6, None),
        (FIRST6[:44], None),
    ],
    ids=["by way of others", "in pieces", "connection", "in a connection", "later piece", "cut short"],
)
def test_heads_before_the_datagrams_own_hide_nothing(packet: bytes, what: Seen | None) -> None:
    assert seen(packet) == what


def test_six_is_read_too() -> None:
    found = seen(UDP6)
    assert found is not None and (found.protocol, found.address) == ("udp", "2001:4860:4860::8888")


@given(st.binary(max_size=PACKET_BYTES))
def test_whatever_comes_is_read_or_not(packet: bytes) -> None:
    found = seen(packet)
    assert found is None or (0 <= found.port < 1 << 16 and found.length >= 0)


def test_every_jump_of_the_filter_is_forward_and_within() -> None:
    code = packet_filter()
    lines = [code[at : at + 8] for at in range(0, len(code), 8)]
    for here, line in enumerate(lines):
        assert here + 1 + max(line[2], line[3]) <= len(lines) - 1 or line[0] == 6
