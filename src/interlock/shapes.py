"""What is wrong with a value from outside that does not have its type, and what would be right.

msgspec says where and what; which keys and values there are it leaves to whoever knows the type. Nothing is checked
here.
"""

import difflib
import re
from collections.abc import Iterator

import msgspec
from msgspec import inspect

WHAT_CHARS_MAX = 400
PLACE_CHARS_MAX = 200
_AT = re.compile(r"(?P<what>.*?)(?: - at `(?:key` in `)?\$(?P<path>.*?)`)?", re.DOTALL)
_KEY = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<key>.*)`", re.DOTALL)
_VALUE = re.compile(r"Invalid (?:enum )?value (?P<value>.*)", re.DOTALL)
_KINDS = re.compile(r"`([^`]*)`")
_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[[^\]]*\]")


def mistake(error: msgspec.ValidationError, kind: object) -> tuple[str, str]:
    """(what is wrong, where): for a reader who wrote the value and does not see the type.

    Args:
        kind: the type that the value was converted to.
    Returns: at most 400 characters, and at most 200 of the place, as `charges[0].price.model`; empty: the value itself.
    """
    found = _AT.fullmatch(str(error))
    assert found is not None, error
    what, path = found["what"], found["path"] or ""
    if key := _KEY.fullmatch(what):
        place = f"{path}.{key['key']}".lstrip(".")[:PLACE_CHARS_MAX]
        if key["what"] == "missing required":
            return "nothing here; it is required", place
        known = [
            name for member in _at(path, kind) if isinstance(member, inspect.StructType) for name in _names(member)
        ]
        close = difflib.get_close_matches(key["key"][:100], known, n=1)
        return "unknown key" + (f'; did you mean "{close[0]}"?' if close else ""), place
    if value := _VALUE.fullmatch(what):
        known = sorted({str(name) for member in _at(path, kind) for name in _values(member)})
        what = f"{value['value'][:100]} is none of: {', '.join(known)}" if known else what
    elif what.startswith("Expected `"):  # in its own words for types, which are Python's
        what = _KINDS.sub(_said, f"e{what[1:]}").replace(", got ", ", not ", 1)
    return what[:WHAT_CHARS_MAX], path.lstrip(".")[:PLACE_CHARS_MAX]


def _said(found: re.Match[str]) -> str:
    return " or ".join(_WORDS.get(name, name) for name in found[1].split(" | "))


def _at(path: str, kind: object) -> list[inspect.Type]:
    """What may stand at a path of msgspec's: unions are taken apart; empty where the path leaves what is described."""
    here = list(_members(inspect.type_info(kind)))
    for step in _STEP.finditer(path):
        here = [inner for outer in here for next_ in _inside(outer, step["name"]) for inner in _members(next_)]
    return here


def _members(one: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(one, inspect.UnionType):
        for member in one.types:
            yield from _members(member)
    else:
        yield one.type if isinstance(one, inspect.Metadata) else one


def _inside(outer: inspect.Type, name: str | None) -> Iterator[inspect.Type]:
    if isinstance(outer, inspect.StructType) and name == outer.tag_field and outer.tag is not None:
        yield inspect.LiteralType((outer.tag,))
    elif isinstance(outer, inspect.StructType):
        yield from (field.type for field in outer.fields if field.encode_name == name)
    elif isinstance(outer, inspect.DictType):
        yield outer.value_type
    elif isinstance(outer, inspect.CollectionType):
        yield outer.item_type
    elif isinstance(outer, inspect.TupleType):
        yield from outer.item_types


def _names(struct: inspect.StructType) -> Iterator[str]:
    yield from (field.encode_name for field in struct.fields)


def _values(one: inspect.Type) -> Iterator[object]:
    if isinstance(one, inspect.LiteralType):
        yield from one.values
    elif isinstance(one, inspect.EnumType):
        yield from (member.value for member in one.cls)
