"""What people and scripts see: aligned tables, JSON, CSV on stdout; complaints on stderr. No colours."""

import csv
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from interlock.units import usd


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
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if row.get(name) is None else row[name] for name in columns] for row in rows])


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of equal columns, two spaces apart, without trailing blanks.

    >>> table([Column("model"), Column("tokens", right=True)], [["smol", "7"]])
    ['MODEL  TOKENS', 'smol        7']
    """
    cells = [
        [column.title.upper() for column in columns],
        *([safe(cell).replace("\n", " ") for cell in row] for row in rows),
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return [
        "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in cells
    ]


def money(nanousd: object) -> str:
    """Exact dollars of a decimal string or integer of nano-USD; `unpriced` for None."""
    return "unpriced" if nanousd is None else f"${usd(int(str(nanousd)))}"


def number(value: object) -> str:
    """An integer with its thousands apart."""
    return f"{int(str(value)):,}"
