"""Reading a decoded TOML document key by key, collecting every mistake instead of stopping at the first.

A `Table` knows the keys it was asked for, so what is left over is unknown, and the nearest known one can be named.
A reader that finds a mistake notes it and returns the default: nothing that was read is used once a problem is noted.
This module knows TOML's types and no key of ours.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from decimal import Decimal
from typing import Any

from interlock.config.lines import Lines, Path

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
PLACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
"""A region, country or area."""
NAME_RULE = "1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit"
PROBLEMS_MAX = 100  # a wholly wrong file: the first hundred say enough
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECRET = re.compile(
    r"(?:^|[^a-z])(?:(?:sk|pk|rk|ilk|xai|gsk|ghp)[-_]|hf_[a-z0-9]{12}|bearer )|AKIA|AIza|eyJ[a-z0-9]{9}|-----BEGIN"
    r"|(?=[a-z]*[0-9])[a-z0-9+/=]{20}",
    re.IGNORECASE,
)
"""How keys of the usual providers begin, or a long run of letters and digits. Masking too much only costs comfort."""


def shown(value: object) -> str:
    """A value as a message may show it: short, on one line, and never if it might be a secret."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        text = str(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge integer"
        return text if len(text) <= 40 else "a very long number"
    if isinstance(value, str):
        if _SECRET.search(value) or len(value) > 80:
            return f"a string of {len(value)} characters (not shown)"
        return '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "an array"
    return "a date or time"


def dotted(path: Path) -> str:
    """`deployments.opus.price`, `rules[2].when`; an odd key is quoted, a suspicious one masked."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = _PLAIN_KEY.fullmatch(part) and not _SECRET.search(part)
            odd = '"(not shown)"' if _SECRET.search(part) else shown(part)
            text += ("." if text else "") + (part if plain else odd)
    return text or "(the file)"


def nearest(word: str, known: Collection[str]) -> str:
    """The nearest of the known words; empty if none is near."""
    close = difflib.get_close_matches(word.lower()[:80], sorted(known), n=1, cutoff=0.6)
    return close[0] if close else ""


def meant(word: str, known: Collection[str]) -> str:
    """A closing remark that names the nearest known word, if one is near."""
    close = nearest(word, known)
    return f'; did you mean "{close}"?' if close else ""


def there_are(known: Collection[str]) -> str:
    """A closing remark that lists what there is."""
    listed = sorted(known)[:16]
    return f"; there are {', '.join(listed) or 'none'}{' and more' if len(known) > len(listed) else ''}"


class Notes:
    """Everything found about one file: problems and warnings, each with its place."""

    def __init__(self, file: str, lines: Lines) -> None:
        self.file = file
        self._lines = lines
        self._problems: list[tuple[int, str]] = []
        self._warnings: list[tuple[int, str]] = []
        self.credentials: frozenset[str] = frozenset()
        """The warnings that are about credentials."""
        self.asked: set[Path] = set()
        """Every key that a reader asked for, there or not."""

    def problem(self, path: Path, text: str) -> None:
        self._problems.append(self._placed(path, text))

    def warning(self, path: Path, text: str) -> None:
        self._warnings.append(self._placed(path, text))

    def credential(self, path: Path, text: str) -> None:
        """A warning that matters only to who sends calls."""
        self.warning(path, text)
        self.credentials |= {self._placed(path, text)[1]}

    def problems(self) -> list[str]:
        """In the order of the file."""
        ordered = _ordered(self._problems)
        more = len(ordered) - PROBLEMS_MAX
        return [*ordered[:PROBLEMS_MAX], *([f"{self.file}: and {more} more"] if more > 0 else [])]

    def warnings(self) -> tuple[str, ...]:
        return tuple(_ordered(self._warnings))

    def _placed(self, path: Path, text: str) -> tuple[int, str]:
        line = self._lines.of(path)
        return line, f"{self.file}{f':{line}' if line else ''}: {dotted(path)}: {text}"


def _ordered(noted: Sequence[tuple[int, str]]) -> list[str]:
    return list(dict.fromkeys(text for _, text in sorted(noted, key=lambda item: item[0])))


class Table:
    """One TOML table being read."""

    def __init__(self, values: dict[str, Any], path: Path, notes: Notes) -> None:
        self.values = values
        self.path = path
        self.notes = notes
        self._asked: dict[str, None] = {}
        self._missing: dict[str, str] = {}

    def at(self, key: str | int) -> Path:
        return (*self.path, key)

    def problem(self, key: str, text: str) -> None:
        self.notes.problem(self.at(key), text)

    def take(self, key: str) -> Any:
        """The raw value, or None; the key counts as known from now on."""
        self._asked[key] = None
        self.notes.asked.add(self.at(key))
        return self.values.get(key)

    def wrong(self, key: str, expected: str, close: Collection[str] = ()) -> None:
        """Note what was found under `key` and what would be right."""
        value = self.values[key]
        hint = meant(value, close) if isinstance(value, str) else ""
        self.problem(key, f"found {shown(value)}; expected {expected}{hint}")

    def require(self, key: str, expected: str) -> None:
        """Note, when `done`, that `key` is not there, unless a misspelt one is."""
        if key not in self.values:
            self._missing[key] = expected

    def done(self) -> None:
        """Note every key that nobody asked for, and every one that must be there and is not."""
        for key in self.values:
            if key not in self._asked:
                self._missing.pop(nearest(key, self._asked), None)
                self.notes.problem(self.at(key), f"unknown key{meant(key, self._asked) or there_are(self._asked)}")
        for key, expected in self._missing.items():
            self.problem(key, f"nothing here; expected {expected}")

    def text(
        self, key: str, default: str = "", *, rule: str = "a string", check: Callable[[str], object] | None = None
    ) -> str:
        """A string of 1 to 1024 characters that `check` accepts."""
        value = self.take(key)
        if value is None:
            return default
        good = isinstance(value, str) and 0 < len(value) <= 1024 and value.isprintable()
        if not good or (check and not check(value)):
            self.wrong(key, rule)
            return default
        return str(value)

    def choice(self, key: str, default: str, options: Sequence[str]) -> str:
        value = self.take(key)
        if value is None or (isinstance(value, str) and value in options):
            return default if value is None else str(value)
        self.wrong(key, "one of " + ", ".join(f'"{option}"' for option in options), options)
        return default

    def flag(self, key: str, default: bool | None = None) -> bool | None:
        value = self.take(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.wrong(key, "true or false")
        return default

    def integer(self, key: str, default: int | None, low: int, high: int, unit: str) -> int | None:
        """An integer in [low, high]."""
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.wrong(key, f"an integer from {low} to {high} ({unit})")
        return default

    def seconds(self, key: str, default: float, low: float, high: float) -> float:
        """In [low, high]."""
        return self.number(key, default, low, high, "seconds")

    def number(self, key: str, default: float, low: float, high: float, unit: str) -> float:
        """In [low, high]; whole or not."""
        value = self.take(key)
        if value is None:
            return default
        number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        if number and Decimal(value).is_finite() and low <= value <= high:  # TOML has nan, which does not compare
            return float(value)
        self.wrong(key, f"a number from {low:g} to {high:g} ({unit})")
        return default

    def strings(
        self, key: str, *, rule: str, check: Callable[[str], object], close: Collection[str] = (), most: int = 64
    ) -> tuple[str, ...] | None:
        """A non-empty array of different strings, or a single one; None if the key is not there."""
        value = self.take(key)
        if value is None:
            return None
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not 0 < len(items) <= most:
            self.wrong(key, f"an array of 1 to {most} strings, each {rule}")
            return None
        for index, item in enumerate(items):
            if not isinstance(item, str) or not item or len(item) > 256 or not item.isprintable() or not check(item):
                hint = meant(item, close) if isinstance(item, str) else ""
                self.notes.problem((*self.at(key), index), f"found {shown(item)}; expected {rule}{hint}")
            elif item in items[:index]:
                self.notes.problem((*self.at(key), index), f"{shown(item)} stands here twice")
        return tuple(item for item in items if isinstance(item, str))

    def table(self, key: str) -> "Table":
        """The table under `key`, empty if it is not there."""
        value = self.take(key)
        if value is not None and not isinstance(value, dict):
            self.wrong(key, "a table")
        return Table(value if isinstance(value, dict) else {}, self.at(key), self.notes)

    def named(self, key: str, most: int) -> "Iterator[tuple[str, Table]]":
        """The tables of a table of tables, by name."""
        for name, value in self._named(key, most):
            if isinstance(value, dict):
                yield name, Table(value, (*self.at(key), name), self.notes)
            else:
                self.notes.problem((*self.at(key), name), f"found {shown(value)}; expected a table")

    def _named(self, key: str, most: int) -> Iterator[tuple[str, Any]]:
        outer = self.table(key)
        if len(outer.values) > most:
            self.problem(key, f"found {len(outer.values)} entries; expected at most {most}")
        for name, value in list(outer.values.items())[:most]:
            if not NAME.fullmatch(name):
                self.notes.problem(outer.at(name), f"not a good name; expected {NAME_RULE}")
            yield name, value
