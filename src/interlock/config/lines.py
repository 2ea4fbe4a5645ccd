"""On which line of a TOML text a key stands. Cheap and approximate: messages need it, nothing decides by it.

tomllib keeps no positions, so the text is scanned once more, line by line. A key inside an inline table or an array
takes the line of the nearest key around it; an odd construct makes a message less precise, never wrong about the key.
"""

import re
from collections.abc import Mapping

Path = tuple[str | int, ...]

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_PAIR = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")
_PART = re.compile(_KEY)
_TOKEN = re.compile(r"""\"{3}|'{3}|"(?:[^"\\]|\\.)*"?|'[^']*'?|#.*|[\[\]{}]""")
"""A string that never ends matches to the end of the line: the scan stays linear."""


class Lines:
    """Where each key of one text stands. Lines count from 1."""

    def __init__(self, text: str) -> None:
        self._at = _scan(text)

    def of(self, path: Path) -> int:
        """The line of `path`, or of the nearest key around it; 0: none is known."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._at:
                return self._at[path[:length]]
        return 0


def _scan(text: str) -> Mapping[Path, int]:
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    quote, depth = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if not quote and depth == 0:
            if header := _HEADER.match(line):
                table = _parts(header[2])
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    found.setdefault(table, number)
                    table = (*table, counts[table])
                else:
                    table = _inside(table, counts)
                _note(found, table, number)
                continue
            if pair := _PAIR.match(line):
                _note(found, (*table, *_parts(pair[1])), number)
        quote, depth = _state(line, quote, depth)
    return found


def _note(found: dict[Path, int], path: Path, number: int) -> None:
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], number)


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _inside(table: Path, counts: Mapping[Path, int]) -> Path:
    """`[a.b]` after `[[a]]` is a table of the last `a`."""
    for length in range(len(table), 0, -1):
        if table[:length] in counts:
            return (*table[:length], counts[table[:length]], *table[length:])
    return table


def _state(line: str, quote: str, depth: int) -> tuple[str, int]:
    """Whether the next line begins inside a multi-line string (its quotes), and how many brackets deep."""
    at = 0
    while True:
        if quote:
            end = line.find(quote, at)
            if end < 0:
                return quote, depth
            at, quote = end + 3, ""
        token = _TOKEN.search(line, at)
        if token is None:
            return "", depth
        at = token.end()
        if len(token[0]) == 3 and token[0] in ('"' * 3, "'" * 3):
            quote = token[0]
        elif len(token[0]) == 1:
            depth = max(0, depth + (token[0] in "[{") - (token[0] in "]}"))
