"""docs/runtime.md: its session over HTTP and its Python program do what the page says, on a real server."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.e2e.player import Player, Step
from tests.e2e.server import Server, running, until

PAGE = (Path(__file__).parents[2] / "docs" / "runtime.md").read_text()
WRITE = "echo 'I was here.' > note.txt"
STEPS: list[Step] = [{"text": "I write.", "calls": [["shell", {"command": WRITE}]]}, {"text": "It is written."}]


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("page")
    player = Player(root / "player", STEPS).start()
    config = root / "interlock.toml"
    config.write_text(
        'default_tier = "main"\n[deployments.recorded]\nprovider = "recorded"\nmodel = "m"\nprice = "free"\n'
        f'base_url = "http://127.0.0.1:{player.port}/v1"\nformats = ["messages"]\ncapabilities = ["tools"]\n'
        '[tiers]\nmain = ["recorded"]\n'
    )
    with running(root / "data", config=config) as server:
        until(server.places.runtime_socket.is_socket, "agents can run")
        yield server
    player.stop()


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    """Issued as the page says."""
    [command] = re.findall(r"`interlock (keys issue [^`]*)`", PAGE)
    done = server.cli(*command.split())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_session_over_http(server: Server, key: str) -> None:
    first, _, second = block("sh").partition("curl -sN")
    env = {**os.environ, "API": f"http://127.0.0.1:{server.api_port}", "KEY": key}
    for repeated in (False, True):
        made = subprocess.run(["sh", "-c", first], env=env, capture_output=True, timeout=30, check=True).stdout
        if repeated:
            assert msgspec.json.decode(made)["session"] == env["SESSION"]
        env["SESSION"] = msgspec.json.decode(made)["session"]
    done = subprocess.run(["sh", "-c", f"curl -sN{second}"], env=env, capture_output=True, timeout=30, check=True)
    assert b"event: turn.ended" in done.stdout and done.stdout.rstrip().endswith(b"event: end\ndata: {}"), done.stdout


def test_the_program(server: Server, key: str) -> None:
    program = f"url, key = 'http://127.0.0.1:{server.api_port}', {key!r}\n{block('python')}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [f'shell {{"command":"{WRITE}"}}', "done", "I was here."], done


def test_methods_that_are_named_exist() -> None:
    from interlock.client import Session

    [line] = re.findall(r"^(.*) are methods of the session", PAGE, re.MULTILINE)
    assert all(callable(getattr(Session, name)) for name in re.findall(r"`([a-z_]+)`", line))
