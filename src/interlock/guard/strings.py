"""The strings of a decoded JSON document as one text, in which nothing matches across two of them. Pure.

They are put together with bytes that UTF-8 never holds, and that no expression over UTF-8 matches, not even `.` or
`[^x]`; so a text cannot hold them either. Keys count, and so do whole numbers. It is the decoded strings that are
read, not the body's bytes: `\\n` in front of a key would hide it, `","` would lie between two strings that are none,
and nothing would tell a key from a value.
"""

import re

AFTER_KEY, AFTER_VALUE = b"\xfe", b"\xff"
_KEY, _VALUE = b"\n\xfe\n", b"\n\xff\n"
"""With line ends, so that `^` and `$` of an operator's pattern are the ends of each string."""
_INTEGER_MIN, _INTEGER_MAX = 10**6, 10**19
"""Whole numbers between them are read; there is no card or id of fewer than seven digits, or more than nineteen."""

_TYPESET = (
    *((space, " ") for space in "\u00a0\u2007\u2009\u202f"),
    *((dash, "-") for dash in "\u2010\u2011\u2012\u2013"),
)
"""What typesetting puts between the groups of a number, and what is read instead."""
_ESCAPED = re.compile(rb"\\[nrt]")


def readable(text: str) -> bytes:
    """One string as the expressions read it: UTF-8, typeset spaces and dashes as plain ones, `\\n` as a line end."""
    return _unescaped(_encoded(text))


def text_of(document: object) -> bytes:
    """Every key, string and whole number of a document (dict, list, str, int, float, bool, None), in its order.

    A key is followed by `AFTER_KEY` and what it leads to, everything else by `AFTER_VALUE`.
    """
    parts: list[bytes] = []
    _collect(document, parts)
    return _unescaped(b"".join(parts))


def _encoded(text: str) -> bytes:
    if not text.isascii():
        for written, meant in _TYPESET:
            if written in text:  # many times faster than to replace nothing
                text = text.replace(written, meant)
    return text.encode("utf-8", "replace")


def _unescaped(raw: bytes) -> bytes:
    """JSON inside a string (a tool's arguments) has its line ends and tabs as two characters: `\\n`.

    They are read as line ends, or the letter would be glued to the word that follows.
    """
    return _ESCAPED.sub(b"\n", raw) if b"\\" in raw else raw


def _collect(value: object, parts: list[bytes]) -> None:
    if type(value) is str:
        parts += (_encoded(value), _VALUE)
    elif type(value) is dict and value:
        for key, entry in value.items():
            parts += (_encoded(key), _KEY)
            _collect(entry, parts)
    elif type(value) is list and value:
        for entry in value:
            _collect(entry, parts)
    elif type(value) is int and _INTEGER_MIN <= value < _INTEGER_MAX:
        parts += (str(value).encode(), _VALUE)
    else:
        parts.append(_VALUE)  # so that no key is thought to lead to what follows
