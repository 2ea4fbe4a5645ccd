"""The README's session, typed as it stands against a real server with the real local model.

What differs from a reader's machine: the ports, the home directory, and that `make run` is its two commands, because
the tests run in the environment that it would make.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.session import Step, Terminal, ids, same_shape, steps
from tests.e2e.server import Server, provide_model, run_cli, until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ACTIVATE = ". .venv/bin/activate"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """As `make run` starts it, with the default data directory below a home of the test's own."""
    data = tmp_path / ".local" / "share" / "interlock"
    provide_model(data)
    server = Server(data, env={"HOME": str(tmp_path)})
    fetched = run_cli("local", "fetch", env={"HOME": str(tmp_path)})
    assert fetched.returncode == 0, fetched.stderr
    server.start()
    try:
        until(lambda: "Paste this" in server.said, "the line to paste")
        yield server
    finally:
        server.kill()


def here(server: Server, home: Path) -> dict[str, str]:
    """The environment of the reader's second terminal."""
    kept = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home)}
    return kept | {"INTERLOCK_URL": f"http://127.0.0.1:{server.control_port}"}


def test_the_session(server: Server, tmp_path: Path) -> None:
    first, second, *rest = steps(README)
    assert (first.command, second.command) == ("make run", ACTIVATE)
    assert same_shape(first.shown, server.said.splitlines()), server.said
    terminal = Terminal(ROOT, here(server, tmp_path))
    try:
        printed, status = terminal.type(f". {sys.prefix}/bin/activate")
        assert (printed, status) == ([], 0)
        actual: dict[str, str] = {}
        for step in rest:
            follow(step, terminal, server, actual)
    finally:
        terminal.close()


def follow(step: Step, terminal: Terminal, server: Server, actual: dict[str, str]) -> None:
    """Type one command and compare; `actual` maps the ids that the README shows to those of this run."""
    command = re.sub(r"\b(?:req|key|ses)_[0-9a-f]{32}\b", lambda match: actual[match[0]], step.command)
    command = command.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
    printed, status = terminal.type(command)
    assert status == 0, (command, printed)
    assert same_shape(step.shown, printed), "\n".join([command, "shown:", *step.shown, "printed:", *printed])
    for shown, found in zip(ids(step.shown), ids(printed), strict=False):
        actual.setdefault(shown, found)


def test_make_run_is_what_was_started() -> None:
    recipe = re.search(r"^run:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert recipe[1].split("\n\t") == ["\t$(BIN)/interlock local fetch", "exec $(BIN)/interlock serve\n"]


def test_it_opens_with_one_sentence() -> None:
    opening = README.split("\n\n")[1]
    assert opening.count(". ") == 0 and opening.endswith("."), opening


def test_the_example_is_the_one_shown() -> None:
    shown = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    program = (ROOT / "examples/modes.py").read_text()
    assert shown and all(block in program for block in shown)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["a 1", "…", "b"], ["a 22", "x", "y", "b"], True),
        (["a 1", "…", "b"], ["a 22", "b"], True),
        (["a …z"], ["a b c z"], True),
        (["cost  $0.001"], ["cost $12.5"], True),
        (["cost  $0.001"], ["cost unpriced"], False),
        (["a", "b"], ["a"], False),
        (["a"], ["a", "b"], False),
        ([], ["a complaint"], False),
        (["req_" + "0" * 32], ["req_" + "f" * 32], True),
        (["req_" + "0" * 32], ["key_" + "f" * 32], False),
        (["holds  c7c4847bdd15da19"], ["BROKEN c7c4847bdd15da18"], False),
    ],
)
def test_shapes(shown: list[str], printed: list[str], same: bool) -> None:
    assert same_shape(shown, printed) is same


def test_steps() -> None:
    page = "x\n```console\n$ a \\\n  b\nout\n$ c\n```\n```sh\n$ d\n```\n"
    assert steps(page) == [Step("a \\\n  b", ["out"]), Step("c", [])]
