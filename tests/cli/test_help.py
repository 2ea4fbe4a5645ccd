"""What `--help` prints can be read, and its examples typed."""

import argparse
import shlex
from collections.abc import Iterator

import pytest

from interlock.cli.help import Help
from interlock.cli.parser import make_parser, parse


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


EXAMPLES = [
    line.strip()
    for parser in parsers(make_parser())
    for line in parser.format_help().splitlines()
    if line.startswith("  interlock ")
]


def test_text_is_wrapped_and_examples_stay() -> None:
    text = "one two\nthree\n  interlock a  b\n  interlock c\nfour"
    parser = argparse.ArgumentParser(prog="x", epilog=text, add_help=False, formatter_class=Help)
    assert parser.format_help().endswith("\n\none two three\n  interlock a  b\n  interlock c\nfour\n")


def test_there_are_examples() -> None:
    assert {line.split()[1] for line in EXAMPLES} >= {"credits", "reconcile", "ledger"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_command(example: str) -> None:
    parse(shlex.split(example)[1:])
