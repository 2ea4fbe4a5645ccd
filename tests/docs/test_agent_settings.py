"""docs/sessions.md has every setting of an agent with the code's defaults and bounds; examples/agent.toml is one."""

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from interlock.cli.agents import settings_of
from interlock.cli.parser import make_parser
from interlock.errors import LocalError
from interlock.runtime.api.given import GivenAgent, agent_of, check_tools
from interlock.runtime.hands.egress import parse as parse_egress
from interlock.runtime.permissions import Ruleset
from interlock.runtime.sessions.agent import Agent
from interlock.runtime.sessions.checks import check_agent

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sessions.md").read_text()
EXAMPLE = ROOT / "examples" / "agent.toml"
_ROW = re.compile(r"^\| `([a-z_.]+)` \| (none|`.*?`) \| (.*?) \| .* \|$", re.MULTILINE)
ROWS = {name: (default, bounds) for name, default, bounds in _ROW.findall(PAGE)}


def leaves(struct: type[msgspec.Struct], value: Any, before: str = "") -> dict[str, tuple[Any, Any]]:
    """(type, default) of every setting, by its name with dots."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, kind in get_type_hints(struct).items():
        inner = getattr(value, name)
        if isinstance(inner, msgspec.Struct):
            found |= leaves(type(inner), inner, f"{before}{name}.")
        else:
            found[before + name] = (kind, inner)
    return found


SETTINGS = leaves(Agent, Agent())


def given(name: str, value: Any) -> Agent:
    outer, _, inner = name.rpartition(".")
    return msgspec.convert({outer: {inner: value}} if outer else {name: value}, Agent)


def refused(name: str, value: Any) -> bool:
    try:
        check_agent(given(name, value))
    except LocalError as error:
        return error.field == f"agent.{name}"
    return False


def test_every_setting_is_there_with_its_default() -> None:
    said = {
        name: None if default == "none" else tomllib.loads(f"x = {default[1:-1]}")["x"]
        for name, (default, _) in ROWS.items()
    }
    assert said == {name: list(value) if isinstance(value, tuple) else value for name, (_, value) in SETTINGS.items()}


@pytest.mark.parametrize("name", SETTINGS)
def test_its_bounds_are_the_codes(name: str) -> None:
    kind, _ = SETTINGS[name]
    bounds = ROWS[name][1]
    if get_origin(kind) is Literal:
        assert re.findall(r'`"(.*?)"`', bounds) == list(get_args(kind))
    elif kind is bool:
        assert bounds == "`true`, `false`"
    elif name == "hands":
        assert bounds == "a kind that `[runtime]` names"
    elif many := re.fullmatch(r"at most (\d+)", bounds):
        most = int(many[1])
        assert (refused(name, ["a"] * most), refused(name, ["a"] * (most + 1))) == (False, True)
    elif size := re.fullmatch(r"(\d+) to ([\d,]+) bytes", bounds):
        least, most = int(size[1]), int(size[2].replace(",", ""))
        assert [refused(name, "a" * length) for length in (least, most, most + 1)] == [False, False, True]
        assert least == 0 or refused(name, "")
    else:
        ends = re.fullmatch(r"([\d.,]+) to ([\d.,]+)", bounds)
        assert ends is not None, bounds
        low, high = (float(end.replace(",", "")) for end in ends.groups())
        numbers = (
            [low, high, low - 0.001, high * 1.001] if "float" in str(kind) else [low, high, low - 1, high + high // 100]
        )
        tried = numbers if "float" in str(kind) else [int(number) for number in numbers]
        assert [refused(name, number) for number in tried] == [False, False, True, True]


def test_the_example_is_an_agent() -> None:
    args = make_parser().parse_args(["run", "--agent", str(EXAMPLE), "--steps", "7", "Mend it."])
    agent = agent_of(msgspec.convert(settings_of(args), GivenAgent))
    check_agent(agent)
    check_tools(agent.tools)
    Ruleset.parse(agent.rules)
    parse_egress(agent.resources.egress)
    assert (agent.mode, agent.budget.steps, agent.budget.wall_s) == ("accept-edits", 7, 1800)


def test_a_misspelt_setting_of_a_file_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(EXAMPLE.read_text().replace("wall_s", "wall_seconds"))
    args = make_parser().parse_args(["run", "--agent", str(file), "Mend it."])
    with pytest.raises(msgspec.ValidationError, match="wall_seconds"):
        msgspec.convert(settings_of(args), GivenAgent)
