"""Rows to CloudEvents: which column is which attribute, and numbers exactly as they are written. Pure.

It does not judge the event as a whole (lengths, times ahead, subjects of the key): the server does, the same for all.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from interlock.client import is_finite
from interlock.errors import LocalError
from interlock.importing.rows import Row
from interlock.importing.times import Times

ROW_ID_BYTES = 16
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_encode = msgspec.json.Encoder(decimal_format="number").encode
_encode_sorted = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode

NO_ID = """{what} has no column id, and none is named: say --id COLUMN. An event is known by its id for ever: that is
why a second import, or a sender that sent some of these rows already, counts nothing twice. If no column tells rows
apart, --id-from-row makes an id of a row's whole content and its number among equal rows of the file"""


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a row's columns. An attribute that is not told is taken from the column of its name."""

    type: str = ""
    source: str = ""
    """These two for all rows."""
    id: str = ""
    time: str = ""
    subject: str = ""
    """Columns."""
    data: Sequence[tuple[str, str]] | None = None
    """(column, member of data); None: every column that is no attribute, under its own name."""
    texts: frozenset[str] = frozenset()
    """Columns that are text whatever they look like."""
    numbers: frozenset[str] = frozenset()
    """Columns that must be numbers."""
    id_from_row: bool = False
    times: Times = Times()

    @property
    def attributes(self) -> dict[str, str]:
        """The column of each attribute that comes from one."""
        found = {} if self.id_from_row else {"id": self.id or "id"}
        found |= {name: name for name in ("source", "type") if not getattr(self, name)}
        return found | {"subject": self.subject or "subject", "time": self.time or "time"}

    def check(self, columns: Sequence[str], what: str) -> None:
        """Raises: LocalError: rows of these columns can be no events, or a column that is named is not there."""
        attributes = self.attributes
        if attributes.get("id") == "id" and "id" not in columns:
            raise LocalError(NO_ID.format(what=what).replace("\n", " "), field="--id")
        for name in ("type", "source"):
            if attributes.get(name) == name and name not in columns:
                raise LocalError(f"{what} has no column {name}: say --{name}", field=f"--{name}")
        if attributes["time"] == "time" and "time" not in columns:
            why = "without it all would count as of now"
            raise LocalError(f"{what} has no column time, and none is named: say --time COLUMN; {why}", field="--time")
        named = {
            "--id": [self.id],
            "--time": [self.time],
            "--subject": [self.subject],
            "--data": [column for column, _ in self.data or ()],
            "--text": sorted(self.texts),
            "--number": sorted(self.numbers),
        }
        for option, wanted in named.items():
            for column in wanted:
                if column and column not in columns:
                    there = ", ".join(columns)[:500]
                    raise LocalError(f"{what} has no column {column!r}; there are: {there}", field=option)

    def needed(self, columns: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """As `rows.Needed`."""
        taken = set(self.attributes.values())
        if self.data is None:
            data = [column for column in columns if column not in taken]
        else:
            data = [column for column, _ in self.data]
        if self.id_from_row:
            return columns, data
        taken.update(data)
        return [column for column in columns if column in taken], data

    def event(self, row: Row, row_id: Callable[[bytes], str], *, text_cells: bool) -> bytes:
        """A row's event, JSON on one line.

        Args:
            row_id: the id for a row with this digest (`digest`); asked only if ids come from rows.
        Raises: LocalError: what cannot be; `field` is the column.
        """
        cells = row.cells
        event: dict[str, Any] = {"specversion": "1.0"}
        if self.id_from_row:
            event["id"] = ""  # it stands first, and is made last: of rows that are sent alone
        if self.source:
            event["source"] = self.source
        if self.type:
            event["type"] = self.type
        for name, column in self.attributes.items():
            value = cells.get(column)
            if value is None or value == "":
                if name != "subject":
                    raise LocalError(f"{name} is empty", field=column)
            elif name == "time":
                event[name] = self.times.read(value, column)
            else:
                event[name] = _word(value, column)
        event["data"] = self._data(cells, text_cells)
        try:
            if self.id_from_row:
                event["id"] = row_id(digest(cells))
            return _encode(event)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise LocalError(f"the row cannot be written as JSON: {error}", field="row") from error

    def _data(self, cells: dict[str, Any], text_cells: bool) -> dict[str, Any]:
        if self.data is None:
            taken = self.attributes.values()
            members = [(column, column) for column in cells if column not in taken]
        else:
            members = [*self.data]
        found = {}
        for column, member in members:
            value = cells.get(column)
            if value is not None and not (text_cells and value == ""):
                found[member] = self._member(value, column, text_cells)
        return found

    def _member(self, value: Any, column: str, text_cells: bool) -> Any:
        if type(value) is str:
            if column in self.numbers or (text_cells and column not in self.texts):
                return self._number(value, column)
            return value
        if column in self.texts and type(value) in (int, Decimal, float):
            return _encode(value).decode()
        if type(value) is not int and not is_finite(value):
            raise LocalError(f"{_shown(value)} is no number that can be counted", field=column)
        if column in self.numbers and type(value) not in (int, Decimal, float):
            raise LocalError(f"{_shown(value)} is not a number", field=column)
        return value

    def _number(self, text: str, column: str) -> Any:
        """A cell's number with the digits it is written with, or its text."""
        bare = text.strip(" ")
        if _NUMBER.fullmatch(bare):
            return msgspec.Raw(bare.encode())
        if _NO_NUMBER.fullmatch(bare):
            raise LocalError(f"{text!r} is no number that can be counted; if it is a word, say --text", field=column)
        if column in self.numbers:
            raise LocalError(f"{text[:60]!r} is not a number as JSON writes it: 1234.5", field=column)
        return text


def digest(cells: dict[str, Any]) -> bytes:
    """16 bytes of all a row says: columns in any order, each value as it is written."""
    return blake2b(_encode_sorted(cells), digest_size=ROW_ID_BYTES).digest()


def _word(value: Any, column: str) -> str:
    """An attribute that is text."""
    if type(value) is str:
        return value
    whole = type(value) is int or (type(value) is Decimal and value.as_tuple().exponent == 0)
    if whole:
        return str(value)
    raise LocalError(f"{_shown(value)} must be text or a whole number", field=column)


def _shown(value: Any) -> str:
    return repr(value)[:60]
