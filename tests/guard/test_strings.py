"""The text of a document: every key, string and whole number in order, and nothing across two of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import strictjson
from interlock.guard import Detector, Pattern
from interlock.guard.strings import AFTER_KEY, AFTER_VALUE, readable, text_of

SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=8)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
PARTS = Detector([Pattern(name="across", regex=r"be[^x]*[\s\S]*low")], kinds=())


def strings(value: object) -> list[str]:
    """The same by another way: every string and key, in order."""
    if isinstance(value, dict):
        return [text for key, entry in value.items() for text in (key, *strings(entry))]
    if isinstance(value, list):
        return [text for entry in value for text in strings(entry)]
    return [value] if isinstance(value, str) else []


def keys(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(keys, value.values()))
    return sum(map(keys, value)) if isinstance(value, list) else 0


@given(DOCUMENTS)
def test_every_string_is_there_in_order(document: object) -> None:
    pieces = text_of(document).replace(AFTER_KEY, AFTER_VALUE).split(b"\n" + AFTER_VALUE + b"\n")
    rest = iter(pieces)
    for text in strings(document):
        assert readable(text) in rest  # each after the one before
    assert text_of(document).count(AFTER_KEY) == keys(document)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"a": "b"}, b"a\n\xfe\nb\n\xff\n"),
        ({"a": {"b": ["c", "d"]}}, b"a\n\xfe\nb\n\xfe\nc\n\xff\nd\n\xff\n"),
        ({"a": None, "b": []}, b"a\n\xfe\n\n\xff\nb\n\xfe\n\n\xff\n"),
        ({"a": 1234567, "b": 999_999}, b"a\n\xfe\n1234567\n\xff\nb\n\xfe\n\n\xff\n"),
        ([10**19 - 1, 10**19, -4_111_111_111_111_111, True, 1.5], b"9999999999999999999" + b"\n\xff\n" * 5),
        ("a", b"a\n\xff\n"),
    ],
)
def test_the_text(document: object, text: bytes) -> None:
    assert text_of(document) == text


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (["below"], True),
        (["be...low"], True),
        (["be\nlow"], True),
        (["be", "low"], False),
        ({"be": "low"}, False),
        ({"a": "be", "low": "b"}, False),
        ([["be"], {"low": 1}], False),
    ],
)
def test_no_expression_matches_across_two_strings(document: object, found: bool) -> None:
    assert (PARTS.scan_document(document) != ()) == found


def test_each_string_is_lines_of_its_own() -> None:
    whole = Detector([Pattern(name="whole", regex="^secret$")], kinds=())
    assert whole.scan("secret") == whole.scan_document(["a", "secret", "b"]) == whole.scan("a\nsecret\nb")
    assert [detection.count for detection in whole.scan_document({"secret": "secret", "x": "a secret"})] == [2]


@given(st.text())
def test_nothing_in_a_string_looks_like_the_end_of_one(text: str) -> None:
    assert not {AFTER_KEY[0], AFTER_VALUE[0]} & set(readable(text))


def test_half_a_character_is_read_too() -> None:
    assert readable("a\ud800b") == b"a?b"


def test_line_ends_of_json_in_a_string() -> None:
    number = "4111 1111 1111 1111"
    for text in (f"a\\n{number}\\n", f"a\\t{number}", f"a\\r\\n{number}\\\\n", f"a\n{number}\n"):
        assert [detection.kind for detection in Detector().scan(text)] == ["card"], text


def test_escapes_hide_nothing_from_the_decoded_document() -> None:
    """In the body's bytes the number cannot be seen, or is glued to a letter; and two strings would be one number."""
    detector = Detector()
    for body in (
        rb'{"m":"\u0034\u0031\u0031\u0031111111111111"}',
        rb'{"m":"x\n4111111111111111"}',
        b"[4111111111111111]",
    ):
        assert [detection.kind for detection in detector.scan_document(strictjson.loads(body))] == ["card"], body
    assert detector.scan_document(strictjson.loads(b'["4111 1111", "1111 1111"]')) == ()
