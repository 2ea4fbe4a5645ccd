"""Who wrote a value of the wrong shape is told where it is wrong, and what would be right."""

from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from interlock.shapes import PLACE_CHARS_MAX, WHAT_CHARS_MAX, mistake


class Level(Enum):
    LINE = "line"
    TOTAL = "total"


class Flat(msgspec.Struct, tag="flat", tag_field="model", forbid_unknown_fields=True):
    amount: str


class Tiers(msgspec.Struct, tag="tiers", tag_field="model", forbid_unknown_fields=True):
    up_to: Annotated[tuple[int, ...], msgspec.Meta(max_length=3)] = ()
    kind: Literal["whole", "part"] | None = None


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    prices: list[Flat | Tiers] = []
    named: dict[str, Flat | Tiers] = {}
    level: Level = Level.LINE
    days: tuple[Literal["mon", "tue"], Literal[1, 2]] | None = None
    wire_name: int = msgspec.field(name="wireName", default=0)


@pytest.mark.parametrize(
    ("given", "what", "place"),
    [
        ({"level": "lines"}, "'lines' is none of: line, total", "level"),
        ({"prices": [{"model": "tierz"}]}, "'tierz' is none of: flat, tiers", "prices[0].model"),
        ({"prices": [{"model": "tiers"}, {"model": "tiers", "kind": "hole"}]},
         "'hole' is none of: part, whole", "prices[1].kind"),
        ({"named": {"a": {"model": "tiers", "kind": "hole"}}}, "'hole' is none of: part, whole", "named[...].kind"),
        ({"days": ["mon", 3]}, "3 is none of: 1, 2, mon, tue", "days[1]"),
        ({"nmae": 1}, 'unknown key; did you mean "name"?', "nmae"),
        ({"wire_name": 1}, 'unknown key; did you mean "wireName"?', "wire_name"),
        ({"quite_another": 1}, "unknown key", "quite_another"),
        ({"prices": [{"model": "flat", "amont": "1"}]}, 'unknown key; did you mean "amount"?', "prices[0].amont"),
        ({"prices": [{"model": "flat"}]}, "nothing here; it is required", "prices[0].amount"),
        ({"prices": [{"amount": "1"}]}, "nothing here; it is required", "prices[0].model"),
        ({"prices": 3}, "expected a list, not a whole number", "prices"),
        ({"name": 3}, "expected a string, not a whole number", "name"),
        ({"wireName": "x"}, "expected a whole number, not a string", "wireName"),
        ({"wireName": 1.5}, "expected a whole number, not a number", "wireName"),
        ({"prices": [{"model": "tiers", "kind": 2}]},
         "expected a string or null, not a whole number", "prices[0].kind"),
        ({"named": {"a": {"model": "tiers", "up_to": [1, 2, 3, 4]}}}, "expected a list of length <= 3",
         "named[...].up_to"),
    ],
)  # fmt: skip
def test_the_place_and_what_would_be_right(given: dict[str, Any], what: str, place: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"name": "a"} | given, Plan)
    assert mistake(caught.value, Plan) == (what, place)


def test_of_the_value_itself_there_is_no_place() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert([], Plan)
    assert mistake(caught.value, Plan) == ("expected an object, not a list", "")


@pytest.mark.parametrize("given", [{"x`" * 10_000: 1}, {"level": "x\n" * 10_000}, {"x\n - at `$.y`": 1}, {"": 1}])
def test_what_the_input_says_is_bounded(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"name": "a"} | given, Plan)
    what, place = mistake(caught.value, Plan)
    assert 0 < len(what) <= WHAT_CHARS_MAX and len(place) <= PLACE_CHARS_MAX


def test_a_long_value_leaves_room_for_what_would_be_right() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"name": "a", "level": "x" * 10_000}, Plan)
    assert mistake(caught.value, Plan)[0].endswith(" is none of: line, total")
