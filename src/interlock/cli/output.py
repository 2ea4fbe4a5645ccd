"""What people and scripts see: aligned tables, JSON, CSV on stdout; complaints on stderr. No colours."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from shutil import get_terminal_size
from typing import Any, NamedTuple

import msgspec

from interlock.clock import SystemClock
from interlock.units import usd

TEXT_CHARS_MIN = 8
"""What is left of a text in a table, at least."""
SHOWN_AFTER_S = 2.0
SHOWN_EVERY_S = 0.5


class Progress:
    """One line on stderr that is written over, for what takes longer than two seconds; nothing if nobody watches."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._watched = sys.stderr.isatty()
        self._clock = SystemClock()
        self._due_ns = self._clock.monotonic_ns() + int(SHOWN_AFTER_S * 1e9)
        self._shown = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def tell(self, stream: str, count: int) -> None:
        """How many records of a stream are done."""
        if self._watched and self._clock.monotonic_ns() >= self._due_ns:
            self._shown = True
            self._due_ns = self._clock.monotonic_ns() + int(SHOWN_EVERY_S * 1e9)
            line = safe(f"{self._what}: {stream}, {count:,} records")
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


class Column(NamedTuple):
    """One column: the heading, and whether it holds numbers (right-aligned)."""

    title: str
    right: bool = False


def complain(*lines: str) -> None:
    """Lines for stderr."""
    for line in lines:
        print(f"interlock: {safe(line)}", file=sys.stderr)


def say(*lines: str) -> None:
    """Lines for stdout. Text that came from clients is shown, never obeyed by the terminal."""
    for line in lines:
        print(safe(line))


def safe(text: str) -> str:
    """Control characters as escapes: a model's name may hold what a client put there."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def say_json(value: Any) -> None:
    """One JSON document, indented."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def say_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """A header and one line a row; what a row lacks is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(row.get(name)) for name in columns] for row in rows])
    say_whole(out.getvalue())


def say_whole(text: str) -> None:
    """A document for a program, as it is; on a terminal it is shown, and not obeyed either."""
    sys.stdout.write(safe(text.replace("\r\n", "\n")) if sys.stdout.isatty() else text)


def _cell(value: Any) -> Any:
    """As JSON writes it, where Python's own way is another."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else value


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of equal columns, two spaces apart, without trailing blanks; on a terminal no wider than that, if they can.

    >>> table([Column("model"), Column("tokens", right=True)], [["smol", "7"]])
    ['MODEL  TOKENS', 'smol        7']
    """
    cells = [
        [column.title.upper() for column in columns],
        *([safe(cell).replace("\n", " ") for cell in row] for row in rows),
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    if sys.stdout.isatty() and _narrow(widths, columns, get_terminal_size((0, 0)).columns):
        tell_shortened()
        cells = [[_shortened(cell, width) for cell, width in zip(line, widths, strict=True)] for line in cells]
    return [
        "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in cells
    ]


def _narrow(widths: list[int], columns: Sequence[Column], room: int) -> bool:
    """Take from the widest texts, not from numbers, until all fits in `room` (0: nobody knows it); whether any was.

    From the first column last: other commands take what stands there.
    """
    found = False
    while room and sum(widths) + 2 * (len(widths) - 1) > room:
        texts = [
            i for i, one in enumerate(columns) if not one.right and widths[i] > max(TEXT_CHARS_MIN, len(one.title))
        ]
        if not texts:
            break
        widths[max(texts[texts[0] == 0 and len(texts) > 1 :], key=widths.__getitem__)] -= 1
        found = True
    return found


def _shortened(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"


@cache
def tell_shortened() -> None:
    """Once a command, however many tables it shows."""
    complain("shortened to this terminal's width: --format json has it whole, and so has a pipe")


def money(nanousd: object) -> str:
    """Exact dollars of a decimal string or integer of nano-USD; `unpriced` for None.

    >>> money("-750000000"), money(5)
    ('-$0.75', '$0.000000005')
    """
    if nanousd is None:
        return "unpriced"
    text = usd(int(str(nanousd)))
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"


def number(value: object) -> str:
    """An integer with its thousands apart."""
    return f"{int(str(value)):,}"
