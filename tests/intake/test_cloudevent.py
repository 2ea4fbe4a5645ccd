"""What is an event, and what is the same event."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.intake.events import NOW_S, ORIGIN, document, event, read

from interlock.intake import Event, Refused, read_json
from interlock.intake.cloudevent import key_of, read_event

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"specversion": None}, "specversion"),
    ({"specversion": "0.3"}, "specversion"),
    ({"id": None}, "id"),
    ({"id": ""}, "id"),
    ({"id": 7}, "id"),
    ({"id": "x" * 10_000}, "id"),
    ({"id": "a\nb"}, "id"),
    ({"source": None}, "source"),
    ({"source": "s" * 1025}, "source"),
    ({"type": None}, "type"),
    ({"subject": ""}, "subject"),
    ({"subject": 3}, "subject"),
    ({"time": "yesterday"}, "time"),
    ({"time": "2026-11-28T10:00:00"}, "time"),
    ({"time": 1_795_860_000}, "time"),
    ({"time": "1969-12-31T23:59:59Z"}, "time"),
    ({"time": "2026-11-29T10:00:00Z"}, "time"),
    ({"data": [1]}, "data"),
    ({"data": "7"}, "data"),
    ({"data_base64": "AA=="}, "data_base64"),
    ({"datacontenttype": "text/xml"}, "datacontenttype"),
    ({"datacontenttype": 1}, "datacontenttype"),
    ({"dataschema": ""}, "dataschema"),
    ({"tenant": "other"}, "tenant"),
    ({"principal": "other"}, "principal"),
    ({"application": "other"}, "application"),
    ({"installation": "other"}, "installation"),
    ({"Upper": "x"}, "event"),
    ({"x" * 21: "x"}, "event"),
    ({"nested": {}}, "nested"),
    ({"half": 0.5}, "half"),
    ({"long": "x" * 1025}, "long"),
    ({"data": {"x": "y" * 70_000}}, "event"),
]


@pytest.mark.parametrize(("changes", "field"), REFUSED)
def test_what_cannot_be_counted_is_refused_by_its_field(changes: dict[str, Any], field: str) -> None:
    found = read(document(**changes))
    assert isinstance(found, Refused)
    assert (found.field, bool(found.message)) == (field, True)
    assert len(found.id) <= 256


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "invalid_json"),
        (b"[]", "invalid_request"),
        (b"null", "invalid_request"),
        (b'{"id":', "invalid_json"),
        (b'{"specversion":"1.0","data":{"n":NaN}}', "invalid_json"),
        (b'{"specversion":"1.0","data":{"n":Infinity}}', "invalid_json"),
        (b'{"id":"a","id":"b"}', "duplicate_key"),
        (b'{"data":{"n":1,"n":2}}', "duplicate_key"),
        (b"\xff\xfe", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
    ],
)
def test_what_is_no_event(text: bytes, code: str) -> None:
    found = read_json(text, ORIGIN, NOW_S)
    assert isinstance(found, Refused) and found.code == code


def test_what_may_be_left_out() -> None:
    found = event(subject=None, time=None, data=None)
    assert msgspec.json.decode(found.canonical) == document(subject=None, time=None, data=None)


def test_null_is_not_there() -> None:
    nulls = {"subject": None, "time": None, "data": None, "datacontenttype": None, "dataschema": None, "extra": None}
    without = {name: value for name, value in document().items() if name not in nulls}
    assert read(msgspec.json.encode({**without, **nulls})) == read(without)
    for name in ("id", "source", "type", "specversion"):
        found = read(msgspec.json.encode({**document(), name: None}))
        assert isinstance(found, Refused) and found.field == name


def test_a_little_ahead_is_a_badly_kept_clock() -> None:
    assert isinstance(read(document(time="2026-11-28T10:04:59Z")), Event)


@pytest.mark.parametrize(
    "same",
    [
        {"time": "2026-11-28T11:00:00+01:00"},
        {"time": "2026-11-28T10:00:00.000Z"},
        {"time": "2026-11-28 10:00:00Z"},
        {"time": "2026-11-28t10:00:00z"},
    ],
)
def test_one_moment_has_one_spelling(same: dict[str, Any]) -> None:
    assert event(**same) == event()


@pytest.mark.parametrize(
    "other",
    [
        {"time": "2026-11-28T10:00:00.000001Z"},
        {"data": {"tokens": 8}},
        {"data": {"tokens": "7"}},
        {"data": None},
        {"type": "other"},
        {"subject": "customer-2"},
        {"extra": "x"},
    ],
)
def test_other_content_under_the_same_key(other: dict[str, Any]) -> None:
    assert event(**other).key == event().key
    assert event(**other).content != event().content


def test_order_and_white_space_are_no_content() -> None:
    turned = dict(reversed(document().items()))
    assert read(json.dumps(turned, indent=2).encode()) == event()


@pytest.mark.parametrize("number", [b"0.10", b"1e400", b"123456789012345678901234567890", b"-0.0000001", b"1E+2"])
def test_numbers_are_not_touched(number: bytes) -> None:
    text = msgspec.json.encode(document(data={"n": 1})).replace(b'"n":1', b'"n":%b' % number)
    found = read(text)
    assert isinstance(found, Event)
    kept = found.canonical.partition(b'"n":')[2].partition(b"}")[0]
    assert json.loads(kept, parse_float=str) == json.loads(number, parse_float=str) or kept.upper() in (  # noqa: TID251 - an oracle of its own
        number.upper(),
        number.upper().replace(b"E", b"E+"),
        b"-1E-7",
    )
    assert read(found.canonical) == found


def test_the_columns_of_a_key_are_told_apart() -> None:
    keys = [
        ("a-b", "c", "d"),
        ("a", "b-c", "d"),
        ("a", "b", "c-d"),
        ("a", "bc", "d"),
        ("ab", "c", "d"),
        ("a", "b", "cd"),
    ]
    assert len({key_of(*columns) for columns in keys}) == len(keys)


@given(st.lists(st.tuples(*(st.text(max_size=3) for _ in range(3))), unique=True, max_size=20))
def test_other_columns_have_another_key(columns: list[tuple[str, str, str]]) -> None:
    columns = [one for one in columns if not any("\ud800" <= c <= "\udfff" for part in one for c in part)]
    assert len({key_of(*one) for one in columns}) == len(columns)


ALLOWED = msgspec.structs.replace(ORIGIN, subjects=("customer-1", "eu-*"))


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [("customer-1", True), ("eu-", True), ("eu-7", True), ("customer-11", False), ("EU-7", False), (None, False)],
)
def test_a_key_sends_for_its_own_customers(subject: str | None, allowed: bool) -> None:
    found = read(document(subject=subject), ALLOWED)
    if allowed:
        assert isinstance(found, Event)
    else:
        assert isinstance(found, Refused) and (found.code, found.field) == ("subject_refused", "subject")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*document(), "tenant", "extra", "data_base64"]), JSON | st.text(), max_size=9))
def test_whatever_is_sent_is_an_event_or_refused(changes: dict[str, Any]) -> None:
    found = read({**document(), **changes})  # as JSON: no number comes as a float of Python's
    if isinstance(found, Event):
        assert read_json(found.canonical, ORIGIN, NOW_S) == found
    else:
        assert found.code and found.message


def test_a_lone_surrogate_is_refused() -> None:
    assert isinstance(read_event(document(data={"x": "\ud800"}), ORIGIN, NOW_S), Refused)
    assert isinstance(read_event(document(id="\ud800"), ORIGIN, NOW_S), Refused)
