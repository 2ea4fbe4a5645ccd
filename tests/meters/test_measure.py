"""Quantities, groups and filters of single events: exact or refused, in a batch as alone."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.meters.definition import Meter, Version, check
from interlock.meters.measure import DIGITS, PICO, Measured, Reader, Who
from interlock.meters.rows import decimal_text

WHO = Who("acme", "p-1", "chat", "", "key_1")


def measured(datas: list[bytes], **meter: Any) -> Measured:
    """What a meter makes of events with such data, read as the fold reads them."""
    defined = {"slug": "m", "event_type": "t", "aggregation": "sum", "value": "$.q", "allow_negative": True, **meter}
    version = Version(tenant="acme", version=1, meter=check(Meter(**defined)))
    reader = Reader([version])
    events = reader.events(
        b"[%b]" % b",".join(b'{"data":%b,"id":"i","source":"s","type":"t"}' % data for data in datas)
    )
    [lens] = reader.lenses["t"]
    return lens.read(events, WHO, reader.raws)


def quantity(text: str, **meter: Any) -> int:
    [found] = measured([b'{"q":%b}' % text.encode()], **meter).quantities
    return found


@given(
    st.decimals(min_value=-(10**15) + 1, max_value=10**15 - 1, allow_nan=False, allow_infinity=False, places=12)
    | st.integers(-(10**15) + 1, 10**15 - 1).map(Decimal)
)
def test_a_number_is_what_it_says_to_the_last_digit(number: Decimal) -> None:
    for text in (str(number), f'"{number}"', f"{number:f}", f'"{number:E}"'):
        assert Decimal(quantity(text)) == number * PICO
    assert Decimal(decimal_text(quantity(f'"{number}"'))) == number


@pytest.mark.parametrize(
    "text",
    [
        *(
            '"NaN"',
            '"Infinity"',
            '"-inf"',
            '""',
            '"1_0"',
            '"0x10"',
            '"1,5"',
            '" 5"',
            '"\u0663"',
            "true",
            "false",
            "null",
            "[1]",
            '{"a":1}',
        ),
        *("1000000000000000", "-1000000000000000", "1e15", "1e400", '"1e999999999999"', "1e-13", "0.1234567890123"),
        f'"{"1" * 65}"',
    ],
)
def test_what_is_no_quantity_is_refused_and_named(text: str) -> None:
    with pytest.raises(LocalError) as caught:
        quantity(text)
    assert caught.value.field == "data.q" and "data.q" in caught.value.message


def test_the_edges() -> None:
    assert quantity("9" * DIGITS) == (10**DIGITS - 1) * PICO
    assert quantity("999999999999999.999999999999") == 10**DIGITS * PICO - 1
    assert quantity("1e-12") == 1 and quantity('"-0"') == 0 and quantity("0e999") == 0 and quantity("0e-999") == 0
    with pytest.raises(LocalError, match="negative"):
        quantity("-1", allow_negative=False)


def test_a_place_that_is_not_there() -> None:
    for data in (b"{}", b'{"q":null}', b'{"q":{"b":1}}', b'{"q":{"a":{"b":1}}}', b'{"q":7}'):
        with pytest.raises(LocalError):
            measured([data], value="$.q.a.c")
    assert measured([b'{"q":{"a":{"c":5}}}'], value="$.q.a.c").quantities == [5 * PICO]


def test_groups_are_texts_and_null_is_a_group() -> None:
    datas = [b'{"q":1,"g":%b}' % value for value in (b'"x"', b"5", b"1.50", b"true", b"null")] + [b'{"q":1}']
    found = measured(datas, group_by={"g": "$.g", "app": "application", "to": "installation"})
    assert found.groups == [["x", "5", "1.50", "true", None, None], ["chat"] * 6, [None] * 6]
    for bad in (b"[1]", b"{}", b'"%b"' % (b"x" * 257)):
        with pytest.raises(LocalError) as caught:
            measured([b'{"q":1,"g":%b}' % bad], group_by={"g": "$.g"})
        assert caught.value.field == "data.g"


def test_a_filter_leaves_out_what_could_not_be_read() -> None:
    found = measured([b'{"q":1,"r":"eu"}', b'{"q":"?","r":"us"}'], where={"$.r": ("eu",)})
    assert found.quantities == [PICO] and len(found.events) == 1


@given(st.lists(st.sampled_from([b'{"q":1}', b'{"q":2,"g":"x"}', b'{"q":"3","g":"y"}', b'{"q":0.5}']), max_size=20))
def test_a_batch_is_as_its_events(datas: list[bytes]) -> None:
    together = measured(datas, group_by={"g": "$.g"})
    alone = [measured([data], group_by={"g": "$.g"}) for data in datas]
    assert list(together.quantities) == [one.quantities[0] for one in alone]
    assert list(together.groups[0]) == [one.groups[0][0] for one in alone]


def test_strings_of_escapes_and_other_scripts() -> None:
    text = 'line "quoted" \\ \u00fc \U0001f600'
    assert measured([b'{"q":1,"g":%b}' % msgspec.json.encode(text)], group_by={"g": "$.g"}).groups == [[text]]
