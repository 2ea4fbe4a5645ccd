"""Answers to questions for names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.runtime.hands.egress.allowed import parse
from interlock.runtime.hands.egress.dns import NAMES_MAX, Names, answer

LIST = parse(("a.example:443", "*.b.example:*"))


def query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01" + bytes(6) + labels + b"\0" + kind.to_bytes(2, "big") + b"\0\x01"


def test_a_listed_name_has_one_address_inside_and_keeps_it() -> None:
    names = Names()
    first, again, other = (answer(query(n), LIST, names) for n in ("a.example", "A.EXAMPLE", "x.b.example"))
    assert first.message[-4:] == again.message[-4:] == bytes((127, 64, 0, 1))
    assert other.message[-4:] == bytes((127, 64, 0, 2))
    assert (first.allowed, first.name, names.name_of("127.64.0.2")) == (True, "a.example", "x.b.example")
    assert first.message[:8] == b"\x12\x34\x85\x80\x00\x01\x00\x01"


def test_a_listed_name_has_no_other_records() -> None:
    found = answer(query("a.example", 28), LIST, Names())
    assert found.allowed and found.message[3] & 15 == 0 and found.message[6:8] == b"\0\0"


@pytest.mark.parametrize(
    "name", ["secret-in-a-name.evil.example", "b.example", "example", "x.a.example", "169.254.169.254"]
)
def test_every_other_name_does_not_exist(name: str) -> None:
    found = answer(query(name), LIST, Names())
    assert not found.allowed and found.message[3] & 15 == 3 and found.name == name


def test_there_are_so_many_names_and_no_more() -> None:
    names = Names()
    for number in range(NAMES_MAX):
        assert names.address_for(f"n{number}.b.example")
    assert answer(query("more.b.example"), LIST, names).message[3] & 15 == 2
    assert len({names.address_for(f"n{number}.b.example") for number in range(NAMES_MAX)}) == NAMES_MAX


@given(st.binary(max_size=600))
def test_whatever_is_asked_is_answered_or_left(data: bytes) -> None:
    found = answer(data, LIST, Names())
    assert len(found.message) <= 600 and found.name.isprintable()
    answer(query("a.example")[:12] + data, LIST, Names())
