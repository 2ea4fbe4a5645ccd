"""The quick reading says what the full one says, or nothing."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.intake.events import NOW_S, ORIGIN, document
from tests.intake.test_cloudevent import REFUSED

from interlock.intake import Event, Origin, Quick, read_json

BOUND = msgspec.structs.replace(ORIGIN, subjects=("eu-*",))

texts = st.text(max_size=12) | st.sampled_from(["", "a\\b", 'a"b', "é", "\u2028", "\x7f", "\ud800", "x" * 257, "\n"])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    texts | numbers | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
TIMES = [
    "2026-11-28T10:00:00Z",
    "2026-11-28T10:00:00.5Z",
    "2026-11-28T10:00:00.1234567Z",
    "2026-11-28T10:00:00+02:00",
    "2026-11-28t10:00:00z",
    "2026-11-28 10:00:00Z",
    "2026-11-28T10:00:00",
    "1969-12-31T23:59:59.5Z",
    "2026-02-30T10:00:00Z",
    "2026-11-28T10:14:59Z",
    "2026-11-28T10:25:00Z",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+23:59",
]
changes = st.dictionaries(
    st.sampled_from(["id", "source", "type", "subject", "specversion", "datacontenttype", "dataschema", "erased", "x"]),
    texts | st.sampled_from(["1.0", "application/json", "eu-1", None, 7]),
    max_size=3,
)


def written(event: Any, spaced: bool, ascii: bool) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    text = json.dumps(event, separators=separators, ensure_ascii=ascii)
    return text.encode("utf-8", "surrogatepass")


@given(
    changes,
    values | st.dictionaries(texts, values, max_size=3),
    st.sampled_from(TIMES) | texts,
    st.booleans(),
    st.booleans(),
)
@example({}, {"x": 1e22, "y": 0.1, "z": -0.0}, TIMES[0], False, False)
def test_they_agree(change: dict[str, Any], data: Any, time: str, spaced: bool, ascii: bool) -> None:
    text = written(document(time=time, data=data, **change), spaced, ascii)
    for origin in (ORIGIN, BOUND):
        assert Quick(origin, NOW_S).read(text) == read_json(text, origin, NOW_S)


PLAIN = document(data={"a": {"b": 1, "c": [1, 0.5]}, "m": "x"})
"""Of the kind that most are."""


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("time", ["2026-11-28T10:00:00Z", "2026-11-28T10:00:00.123Z", "2026-11-28T12:00:00+02:00"])
def test_what_most_send_is_read_quickly(time: str, spaced: bool) -> None:
    text = written({**PLAIN, "time": time, "datacontenttype": "application/json"}, spaced, False)
    quick = Quick(ORIGIN, NOW_S)._read(text)
    assert isinstance(quick, Event) and quick == read_json(text, ORIGIN, NOW_S)


@pytest.mark.parametrize(
    "text",
    [
        b'{"id":"i","id":"j","source":"s","specversion":"1.0","type":"t"}',
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":{"a":1,"a":1}}',
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":{"a":{"b":1,"b":2}}}',
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":[{"a":1}]}',
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":{"aaa":1e5,"a":0,"a":0}}',
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":{"a":0,"a":0},"time":"2026-11-28T10:00:00.5Z"}',
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":{"a":' + b"[" * 199 + b"]" * 199 + b"}}",
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":{"a":' + b"[" * 1100 + b"]" * 1100 + b"}}",
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":{"a":-0,"b":1.0,"c":1E+2,"d":18446744073709551616}}',
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":{"a":NaN}}',
        b'{"id":"\\u0069","source":"s","specversion":"1.0","type":"t"}',
        b'{"id":"i","source":"s","specversion":"1.0","type":"t"} {}',
        b'\xef\xbb\xbf{"id":"i","source":"s","specversion":"1.0","type":"t"}',
        b'{"id":"\xff","source":"s","specversion":"1.0","type":"t"}',
        b"null",
        b"",
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":{"a":"' + b"x" * 65_450 + b'"}}',
        b'{"id":"i","source":"s","specversion":"1.0","type":"t","data":{"a":"%b"},"time":"2026-11-28T10:00:00.5Z"}'
        % (b"x" * 65_426),
        *(msgspec.json.encode(document(**change)) for change, _ in REFUSED),
    ],
)
def test_hostile_ones(text: bytes) -> None:
    origin = Origin(tenant="acme", principal="meter", key_id="key_1")
    assert Quick(origin, NOW_S).read(text) == read_json(text, origin, NOW_S)


@given(st.binary(max_size=3), st.integers(0, 200))
def test_any_bytes(noise: bytes, place: int) -> None:
    whole = msgspec.json.encode(PLAIN)
    text = whole[:place] + noise + whole[place + 1 :]
    assert Quick(ORIGIN, NOW_S).read(text) == read_json(text, ORIGIN, NOW_S)
