"""What is read of a file, row by row: the values between readers, the mapping and the sending. Pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol


class Row(NamedTuple):
    """A row of columns, not an event yet."""

    place: int
    """The line on which it begins, or in Parquet its number; from 1."""
    cells: dict[str, Any]
    """By column; None: nothing. A CSV file's are all text."""


class Ready(NamedTuple):
    """An event as it is sent, JSON on one line."""

    place: int
    text: bytes


class Bad(NamedTuple):
    """A row that cannot be an event."""

    place: int
    code: str
    message: str
    field: str
    row: Any
    """As far as it could be read: cells, or text."""


class Source(Protocol):
    """One file that was opened."""

    name: str
    """As it was given."""
    text_cells: bool
    """Whether all cells are text, so that which are numbers must be seen in them."""
    unit: str
    """What a row's place counts: `line` or `row`."""

    @property
    def columns(self) -> Sequence[str] | None:
        """None: it has none in common (lines of JSON that are events already)."""
        ...

    def rows(self) -> Iterator[Row | Ready | Bad]:
        """Once. Raises: LocalError: the file is damaged from here on; the message says where."""
        ...

    def share(self) -> float | None:
        """How much of it was read, 0 to 1; None: nobody knows how long it is."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


Needed = Callable[[Sequence[str]], tuple[Sequence[str], Sequence[str]]]
"""Of a file's columns: those that are read at all, and those of them that become data."""
