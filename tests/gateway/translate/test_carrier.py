"""Carriers: whatever goes in comes out, and nothing else is taken for one."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.gateway.translate.carrier import PREFIX, Carried, carried, carry

kinds = st.sampled_from(["thinking", "redacted", "item", "plain"])
carriers = st.builds(Carried, family=st.text(), kind=kinds, seal=st.text(), id=st.text())


@given(carriers)
def test_what_goes_in_comes_out(inner: Carried) -> None:
    assert carried(carry(inner)) == inner


@given(carriers)
def test_a_carrier_can_stand_anywhere(inner: Carried) -> None:
    assert re.fullmatch(r"ilk1\.[A-Za-z0-9_-]+", carry(inner))


@given(st.binary())
def test_a_providers_seal_is_not_a_carrier(seal: bytes) -> None:
    assert carried(base64.b64encode(seal).decode()) is None
    assert carried(base64.urlsafe_b64encode(seal).decode()) is None


def _of(json: str) -> str:
    return PREFIX + base64.urlsafe_b64encode(json.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "seal",
    [
        "",
        PREFIX,
        PREFIX + "A",  # no base64 has this length
        PREFIX + "é" * 4,
        PREFIX + "////",
        _of("{"),
        _of("[]"),
        _of('{"family":"a","kind":"thinking"}'),
        _of('{"family":"a","kind":"other","seal":""}'),
        _of('{"family":1,"kind":"item","seal":""}'),
        PREFIX + base64.urlsafe_b64encode(b'{"family":"\xff","kind":"item","seal":""}').decode(),
    ],
)
def test_what_looks_like_a_carrier_but_is_none(seal: str) -> None:
    assert carried(seal) is None


@given(st.text())
def test_nothing_raises(rest: str) -> None:
    assert isinstance(carried(PREFIX + rest), Carried | None)


def test_an_earlier_carrier_is_still_read() -> None:
    """Conversations are kept by clients for months: the form may grow, never change."""
    kept = "ilk1.eyJmYW1pbHkiOiJncHQiLCJraW5kIjoiaXRlbSIsInNlYWwiOiJhYmMiLCJpZCI6InJzXzEifQ"
    assert carried(kept) == Carried(family="gpt", kind="item", seal="abc", id="rs_1")
