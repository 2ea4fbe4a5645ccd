"""What went around the proxy, as it is told: read from whoever says so, and not believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.runtime.hands.egress.stray import Place, Stray, place_of, read

QUERY = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x06SECRET\x04evil\x07example\0\0\x01\0\x01"


def message(protocol: int, version: int, address: bytes, port: int, payload: bytes = b"") -> bytes:
    return (
        bytes((protocol, version))
        + address.ljust(16, b"\0")
        + port.to_bytes(2, "big")
        + (3).to_bytes(4, "big")
        + (90).to_bytes(8, "big")
        + payload
    )


@pytest.mark.parametrize(
    ("said", "place"),
    [
        (message(17, 4, b"\x08\x08\x08\x08", 9), Place("udp", "8.8.8.8", 9)),
        (message(6, 4, b"\x08\x08\x08\x08", 443), Place("tcp", "8.8.8.8", 443)),
        (message(6, 6, b"\x20\x01" + bytes(13) + b"\x01", 443), Place("tcp", "2001::1", 443)),
        (message(17, 4, b"\x08\x08\x08\x08", 53, QUERY), Place("dns", "secret.evil.example", 53, "8.8.8.8")),
        (message(17, 4, b"\x08\x08\x08\x08", 54, QUERY), Place("udp", "8.8.8.8", 54)),
        (message(17, 4, b"\x08\x08\x08\x08", 53, b"tunnel"), Place("udp", "8.8.8.8", 53)),
    ],
)
def test_a_place_is_an_address_or_the_name_that_was_asked_for(said: bytes, place: Place) -> None:
    assert read(said) == Stray(place, 3, 90)


def test_more_bytes_than_so_many_packets_hold_are_nobodys_word() -> None:
    whole = message(17, 4, b"\x08\x08\x08\x08", 9)
    assert read(whole[:24] + (3 * 65535).to_bytes(8, "big")) == Stray(Place("udp", "8.8.8.8", 9), 3, 3 * 65535)
    assert read(whole[:24] + (3 * 65535 + 1).to_bytes(8, "big")) is None, "sums of them are to be held in 64 bits"


@given(st.binary(max_size=200))
def test_whatever_is_said_is_read_or_not(said: bytes) -> None:
    found = read(said)
    assert found is None or (found.place.host.isprintable() and found.place.port >= 0)


@given(st.binary(max_size=600))
def test_whatever_a_datagram_to_a_name_server_holds_it_is_told(payload: bytes) -> None:
    place = place_of("udp", "8.8.8.8", 53, payload)
    assert (place.protocol, place.address or place.host) in {("udp", "8.8.8.8"), ("dns", "8.8.8.8")}
    assert place.host.isprintable() and len(place.host) <= 253
