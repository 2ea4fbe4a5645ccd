"""What the pages say of things that can be looked up: commands, options, links, modules, configuration keys, metrics.

Whether their prose is true is not checked here.
"""

import argparse
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.parser import make_parser
from interlock.config import parse
from interlock.control import METRICS
from interlock.errors import CODES, ConfigError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TYPED = [*PAGES, *sorted((ROOT / "examples").iterdir()), ROOT / "Dockerfile", *sorted((ROOT / "deploy").iterdir())]
LOCAL_SERVE = {"--model", "--alias", "--host", "--port", "--ctx", "--threads", "--parallel", "--api-key-env", "--help"}
"""Of `python -m interlock.local`, which `local serve` passes its options on to."""

_COMMAND = re.compile(r"(?:^\s*\$ |[`(/ ]|^|#\s+)interlock (?!is\b)([a-z<-][^`\n]*)", re.MULTILINE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def typed(text: str, *, markdown: bool = True) -> Iterator[str]:
    """What follows `interlock` wherever a command is shown: in a page's code spans and fenced blocks, anywhere else."""
    fenced = "\n".join(body for _, body in _FENCE.findall(text))
    spans = "\n".join(f"`{span}`" for span in re.findall(r"`([^`\n]+)`", _FENCE.sub("", text)))
    for place in (fenced, spans) if markdown else (text,):
        yield from (match[1] for match in _COMMAND.finditer(place))


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def mistakes(command: str) -> list[str]:
    """Words of `interlock COMMAND` that the parser does not know. `a|b` and `A, B` are alternatives."""
    parser, path, found = make_parser(), "", []
    for word in command.split():
        inner = subcommands(parser)
        if not inner or word.startswith("-"):
            break
        names = re.split(r"[|]", word.strip("`.,;:)"))
        found += [f"interlock{path} {name}: no such command" for name in names if name not in inner]
        if names[0] not in inner:
            return found
        parser, path = inner[names[0]], f"{path} {names[0]}"
    known = LOCAL_SERVE if path == " local serve" else {name for a in parser._actions for name in a.option_strings}
    used = re.findall(r"(?<![\w-])--[a-z][a-z-]*", re.split(r" [|&] | && |\$\(", command)[0])
    return found + [f"interlock{path}: no option {option}" for option in used if option not in known]


def every_parser(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    inner = subcommands(parser)
    if not inner:
        yield path, parser
    for name, one in inner.items():
        yield from every_parser(one, f"{path} {name}".strip())


@pytest.mark.parametrize("path", TYPED, ids=page_name)
def test_commands_exist(path: Path) -> None:
    assert [m for command in typed(path.read_text(), markdown=path.suffix == ".md") for m in mistakes(command)] == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("`interlock keys issue --tenant T`", 0),
        ("`interlock keys list|revoke ID`", 0),
        ("`interlock keys list|remove ID`", 1),
        ("`interlock key issue`", 1),
        ("`interlock keys issue --tenants T`", 1),
        ("`interlock local serve --ctx 9`", 0),
        ("`interlock local serve --context 9`", 1),
        ("```sh\ninterlock serve --ports 1\n```", 1),
        ("```console\n$ export A=$(interlock keys isue)\n```", 1),
        ("```console\n$ interlock usages\n```", 1),
        ("#   interlock config check --config F\n", 1),
        ("CMD exec interlock serve --date D\n", 1),
        ("ExecStart=/opt/interlock/bin/interlock serv --data D\n", 1),
    ],
)
def test_a_wrong_command_is_seen(text: str, wrong: int) -> None:
    markdown = "`" in text
    assert len([m for command in typed(text, markdown=markdown) for m in mistakes(command)]) == wrong


def test_every_command_and_option_is_documented() -> None:
    page = (ROOT / "docs/cli.md").read_text()
    for path, parser in every_parser(make_parser()):
        assert re.search(rf"`{path}\b", page), f"docs/cli.md has no command {path}"
        options = {name for a in parser._actions for name in a.option_strings if name.startswith("--")}
        assert [name for name in options if name not in page and name != "--help"] == [], path


def anchors(page: str) -> set[str]:
    """As the usual renderers make them of headings."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path, text: str) -> list[str]:
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", text)):
        place, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        goal = (path.parent / place) if place else path
        exists = goal.exists()
        if not exists or (anchor and anchor not in anchors(text if goal == path else goal.read_text())):
            found.append(target)
    return found


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "changes/README.md"], ids=page_name)
def test_links_resolve(path: Path) -> None:
    assert broken_links(path, path.read_text()) == []


def test_a_broken_link_is_seen() -> None:
    text = "# A b\n[a](docs/gone.md) [b](#a-b) [c](#a-c) [d](docs/design.md#the-house) [e](docs/design.md#no)"
    assert broken_links(ROOT / "README.md", text) == ["docs/gone.md", "#a-c", "docs/design.md#no"]


def test_the_index_names_every_page() -> None:
    page = (ROOT / "docs/index.md").read_text()
    others = [path for path in PAGES[1:] if path.name != "index.md"]
    assert [page_name(p) for p in others if f"]({p.relative_to(ROOT / 'docs').as_posix()})" not in page] == []


def house(text: str) -> list[tuple[str, bool]]:
    """(package or module, whether it is marked `later`) of the house drawing in docs/design.md."""
    drawing = re.search(r"^src/interlock/\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert drawing is not None
    found = []
    for line in drawing[1].splitlines():
        names, _, told = line.strip().partition("   ")
        if line.startswith("  ") and not line.startswith("   "):
            found += [(name, "later" in told) for name in names.split()]
    return found


def test_the_house_is_drawn_as_it_stands() -> None:
    drawn = dict(house((ROOT / "docs/design.md").read_text()))
    there = {
        path.name + "/" * path.is_dir()
        for path in (ROOT / "src/interlock").iterdir()
        if (path.suffix == ".py" and path.name != "__init__.py") or any(path.glob("*.py"))
    }
    assert {name for name, later in drawn.items() if not later} == there
    assert {name for name, later in drawn.items() if later} & there == set()


def modules_named(text: str) -> list[str]:
    return re.findall(r"(?<![\w/.-])(?:[a-z_]+/)*[a-z_]+\.py\b", text)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_modules_that_are_named_exist(path: Path) -> None:
    every = {f"/{one.relative_to(ROOT).as_posix()}" for one in ROOT.rglob("*.py") if ".venv" not in one.parts}
    missing = [name for name in modules_named(path.read_text()) if not any(one.endswith(f"/{name}") for one in every)]
    assert missing == []


def spoilt_keys(block: str) -> list[str]:
    """Keys of a piece of configuration that no such file may have. A piece may lack the rest."""
    tomllib.loads(block)
    try:
        parse(block, file="piece", folder=ROOT, env={})
    except ConfigError as error:
        return [problem for problem in error.problems if "unknown key" in problem]
    return []


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_pieces_of_configuration_have_known_keys(path: Path) -> None:
    blocks = [body for language, body in _FENCE.findall(path.read_text()) if language == "toml"]
    assert [problem for block in blocks for problem in spoilt_keys(block)] == []


def test_an_unknown_key_is_seen() -> None:
    assert len(spoilt_keys('[deployments.a]\nmodel = "m"\nfacts = { local = true }\n')) == 1


def test_metrics_and_codes_are_documented() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    listed = set(re.findall(r"^\| `(interlock_\w+)`", page, re.MULTILINE))
    assert listed == set(METRICS)
    errors = (ROOT / "docs/errors.md").read_text()
    assert [code for code in CODES if f"| `{code}` |" not in errors] == []


def test_every_metric_says_its_kind_and_labels() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    rows: dict[str, Any] = dict(re.findall(r"^\| `(interlock_\w+)` \| (.*) \|$", page, re.MULTILINE))
    for name, metric in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        assert rows[name] == f"{metric.type} | {labels} | {metric.help}", name
