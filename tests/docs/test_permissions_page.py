"""docs/permissions.md: its examples say what is decided, its modes are the code's, its bounds are the code's."""

import re
from pathlib import Path
from typing import get_args

import pytest
from tests.runtime.permissions.asking import ruling

from interlock.runtime.permissions.patterns import PATTERN_CHARS_MAX, PATTERNS_MAX, TOOLS
from interlock.runtime.permissions.readers import reading
from interlock.runtime.permissions.script import (
    AGAIN_CHARS_MAX,
    COMMANDS_MAX,
    REDIRECTS_MAX,
    TEXT_BYTES_MAX,
    WORDS_MAX,
    read,
)
from interlock.runtime.permissions.shell import PATHS_MAX
from interlock.runtime.permissions.words import DEPTH_MAX
from interlock.runtime.sessions.agent import Mode

PAGE = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


@pytest.mark.parametrize(("example", "rules", "verdict"), table("Commands"))
def test_examples(example: str, rules: str, verdict: str) -> None:
    lists: dict[str, list[str]] = {"deny": [], "ask": [], "allow": []}
    for which, rule in re.findall(r"(deny|ask|allow) `([^`]+)`", rules):
        lists[which].append(rule)
    assert ruling(example.strip("`"), **lists).verdict == verdict  # type: ignore[arg-type]  # the three lists


def test_modes() -> None:
    rows = {row[0].strip("`"): row[1:] for row in table("Modes")}
    assert tuple(rows) == get_args(Mode)
    calls = (("src/a", "read"), ("src/a", "edit"), ("npm test", "shell"))
    for mode, cells in rows.items():
        for (argument, tool), cell in zip(calls, cells, strict=True):
            verdict = ruling(argument, tool, mode=mode).verdict  # type: ignore[arg-type]  # the page's modes are all
            assert cell.split(";")[0] == verdict, (mode, tool)


def test_every_tool_has_a_rule() -> None:
    shown = re.findall(r"`([a-z]+)\(?", " ".join(row[0] for row in table("Rules")))
    assert set(shown) == set(TOOLS)


def test_what_is_said_to_read_reads() -> None:
    said = re.search(r"each with the options that were looked at: (.*?), checksums, and (.*?) and some more\.", PAGE)
    assert said is not None
    programs = re.findall(r"`([^`]+)`", said[1])
    subcommands = [f"git {name.removeprefix('git ')}" for name in re.findall(r"`([^`]+)`", said[2])]
    for text in programs + subcommands:
        operand = {"cd": " src", "rg": " x", "grep": " x"}.get(text, "")
        assert reading(read(text + operand).commands[0]) is not None, text


def test_bounds() -> None:
    assert (
        f"A line has at most {TEXT_BYTES_MAX // 1024} KiB, {COMMANDS_MAX:,} commands, {REDIRECTS_MAX:,} redirects"
        in PAGE
    )
    assert (
        f", {WORDS_MAX:,} words, {DEPTH_MAX} levels of nesting, {PATHS_MAX:,} paths; texts in it that are read" in PAGE
    )
    assert f" again at most {AGAIN_CHARS_MAX // 1024} KiB together." in PAGE
    assert f"Rules: {PATTERNS_MAX:,} of {PATTERN_CHARS_MAX} characters." in PAGE


def test_the_python_example_says_what_comes_out() -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    shown = re.findall(r"^(decide.*)  # (\w+)$", block, re.MULTILINE)
    exec(block, names)
    assert len(shown) == 2
    for call, verdict in shown:
        assert eval(call, names) == verdict
