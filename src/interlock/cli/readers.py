"""What stands in a command's options, read. All raise argparse.ArgumentTypeError: it is nothing of the kind."""

import argparse

BY = (
    *("tenant", "principal", "session", "mode", "tier", "deployment", "model", "day"),
    *("key", "outcome", "source", "provider", "team", "task", "tool"),
)
"""What usage and costs can be grouped by: `ledger.DIMENSIONS`, which is not imported for it."""


def character(text: str) -> str:
    """One character; `\\t` and `tab` are a tab."""
    text = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(text) != 1 or text in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r} is not one character (tab: \\t)")
    return text


def whole(text: str) -> int:
    """From 0."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def count(text: str) -> int:
    """From 1."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def names(text: str) -> list[str]:
    """With commas between."""
    return [name for name in text.split(",") if name]


def columns(text: str) -> list[tuple[str, str]]:
    """`COLUMN` or `COLUMN=NAME`, with commas between."""
    pairs = [name.partition("=") for name in text.split(",")]
    found = [(column, member if equals else column) for column, equals, member in pairs]
    members = [member for _, member in found]
    if not all(column and member for column, member in found) or len(set(members)) < len(members):
        raise argparse.ArgumentTypeError(f"{text!r} is not COLUMN or COLUMN=NAME, each name once, with commas between")
    return found


def by(text: str) -> str:
    """Names of BY, with commas between."""
    for column in text.split(","):
        if column not in BY:
            raise argparse.ArgumentTypeError(f"{column!r} is not one of {', '.join(BY)}")
    return text
