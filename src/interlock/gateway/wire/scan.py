"""Where the members of a JSON object stand in its bytes.

For text that was parsed before (`interlock.strictjson`): it finds places, it does not validate. Used off the hot path.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

STRING = rb'"(?:[^"\\]++|\\.)*+"'  # possessive: no backtracking on megabytes of base64
_TOKEN = re.compile(STRING + rb"|[{}\[\],:]", re.DOTALL)
_OPENERS, _CLOSERS, _WHITESPACE = b"{[", b"}]", b" \t\r\n"
_QUOTE, _COLON = ord('"'), ord(":")


class Member(NamedTuple):
    """One member of an object; offsets into the text."""

    key: str
    start: int
    """Of the key's opening quote."""
    value_start: int
    value_end: int
    """Exclusive, white space left out."""


def members(text: bytes, at: int = 0) -> Iterator[Member]:
    """The members of the first object at or after offset `at`, in order; those of nested objects are skipped."""
    depth, key, value_start = 0, (0, 0), -1
    for token in _TOKEN.finditer(text, at):
        first = text[token.start()]
        if first in _OPENERS:
            depth += 1
        elif depth > 1:
            depth -= first in _CLOSERS
        elif first == _COLON:
            value_start = token.end()
        elif value_start < 0:
            key = token.span()
            if first != _QUOTE:
                return  # the object is empty
        elif first != _QUOTE:
            yield _member(text, key, value_start, token.start())
            value_start = -1
            if first in _CLOSERS:
                return


def _member(text: bytes, key: tuple[int, int], start: int, end: int) -> Member:
    while text[start] in _WHITESPACE:
        start += 1
    while text[end - 1] in _WHITESPACE:
        end -= 1
    return Member(msgspec.json.decode(text[key[0] : key[1]], type=str), key[0], start, end)


def find(text: bytes, key: str, at: int = 0) -> Member | None:
    """The member named `key` of the first object at or after `at`."""
    return next((member for member in members(text, at) if member.key == key), None)


def without(text: bytes, key: str, at: int = 0) -> bytes:
    """The text with that member and one comma cut out; the text itself if there is no such member."""
    all_members = list(members(text, at))
    index = next((i for i, member in enumerate(all_members) if member.key == key), None)
    if index is None:
        return text
    start, end = all_members[index].start, all_members[index].value_end
    if index > 0:
        start = all_members[index - 1].value_end
    elif len(all_members) > 1:
        end = all_members[1].start
    return text[:start] + text[end:]
