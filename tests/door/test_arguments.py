"""Arguments against schemas: what is found, and schemas that mean harm."""

import pytest

from interlock.clock import SystemClock
from interlock.door.arguments import Checker

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "ada"}, ""),
        ({"name": "ada", "age": 3}, ""),
        ({}, "'name' is a required property"),
        ({"name": "Ada"}, "arguments.name: 'Ada' does not match"),
        ({"name": "ada", "age": -1}, "arguments.age: -1 is less than the minimum"),
        ({"name": "ada", "x": 1}, "'x' is not known here"),
        ({"name": "ada", "age": "three"}, "arguments.age: 'three' is not of type 'integer'"),
        ([], "[] is not of type 'object'"),
    ],
)
def test_what_is_wrong_is_named(arguments: object, words: str) -> None:
    found = Checker(PERSON).problem(arguments)
    assert words in found and bool(words) == bool(found)


def test_a_long_value_is_not_repeated_whole() -> None:
    assert len(Checker(PERSON).problem({"name": "A" * 100_000})) < 1500


def test_references_within_the_schema_are_followed_and_others_are_not() -> None:
    schema = {"$defs": {"n": {"type": "number"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    assert Checker(schema).problem({"a": 1}) == "" and "is not of type 'number'" in Checker(schema).problem({"a": "1"})
    for ref in ("http://127.0.0.1:9/schema.json", "file:///etc/passwd", "#/$defs/none"):
        found = Checker({"properties": {"a": {"$ref": ref}}}).problem({"a": 1})
        assert "refers to what is not in it" in found


def test_a_schema_that_is_none_refuses() -> None:
    assert "its own" not in Checker({"type": "planet"}).problem({}) and Checker({"type": "planet"}).problem({})
    assert Checker({"properties": 3}).problem({}).startswith("the tool's own input schema is not one")


_DOUBLING = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}}


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 5000 + "!"}),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 5000 + "!": 1}),
        ({"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False}, {"a" * 5000 + "!": 1}),
        ({"$defs": _DOUBLING, "$ref": "#/$defs/d0"}, {}),
        ({"$ref": "#"}, {}),
        ({"properties": {"a": {"pattern": "(?=x)(a+)+\\1$"}}}, {"a": "a" * 5000 + "!"}),
    ],
)
def test_a_schema_that_means_harm_takes_no_time(schema: dict[str, object], arguments: object) -> None:
    clock = SystemClock()
    begun_ns = clock.monotonic_ns()
    Checker(schema).problem(arguments)
    assert clock.monotonic_ns() - begun_ns < 3_000_000_000


def test_what_unfolds_without_end_is_refused() -> None:
    assert "takes too long" in Checker({"$defs": _DOUBLING, "$ref": "#/$defs/d0"}).problem({})
