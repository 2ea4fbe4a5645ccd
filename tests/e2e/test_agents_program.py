"""An agent program that somebody else wrote runs in the hands, finds its model through the gateway, and holds no key.

The program is `llm`, a command line from the package index, with a tool of its own.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.e2e.agents import House, ended
from tests.e2e.player import Player, Step
from tests.e2e.server import running, until

ROOT = Path(__file__).parents[2]
TOOLS = """
import subprocess

def sh(command: str) -> str:
    "Run a line of shell."
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout
"""
LOOK = "(env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline) > seen 2>/dev/null; echo made > by-the-program"
STEPS: dict[str, list[Step]] = {
    "program": [
        {"text": "I look around.", "calls": [["sh", {"command": LOOK}]]},
        {"text": "I have made a file."},
    ]
}


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """Where the program is: for the machine's own Python, and where a sandbox's user may go."""
    root = Path(tempfile.mkdtemp(dir="/var/tmp"))
    root.chmod(0o755)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(root)]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), "llm"], check=True, timeout=300)
    yield root
    shutil.rmtree(root)


def test_a_command_line_from_the_index_works_in_a_sandbox(installed: Path, tmp_path: Path) -> None:
    player = Player(tmp_path / "player", STEPS).start()
    config = tmp_path / "interlock.toml"
    config.write_text(
        'default_tier = "main"\n[deployments.recorded]\nprovider = "recorded"\nmodel = "m"\n'
        f'base_url = "http://127.0.0.1:{player.port}/v1"\nformats = ["chat"]\ncapabilities = ["tools"]\n'
        f'price = {{ input = "1", output = "2" }}\n[tiers]\nmain = ["recorded"]\n[runtime]\nread = "{installed}"\n'
    )
    llm = ["env", f"PYTHONPATH={installed}", "/usr/bin/python3", "-m", "llm"]
    program = [*llm, "prompt", "-m", "gpt-4o-mini", "-n", "--no-stream", "--functions", TOOLS, "{prompt}"]
    try:
        with running(tmp_path / "data", config=config) as server:
            until(server.places.runtime_socket.is_socket, "agents can run")
            house = House(server)
            session = house.acme.run("[program] make a file", agent={"program": program})
            events = ended(session)
            assert events[-1]["reason"] == "done", str(events)[-3000:]
            [answer] = [event for event in events if event["type"] == "model.answered"]
            assert "I have made a file." in answer["parts"][0]["text"]
            assert session.read("by-the-program") == b"made\n"
            reached = {(e["host"], e["allowed"]) for e in events if e["type"] == "hands.connected"}
            assert reached == {("interlock.internal", True)}
            # Each of its model calls was metered as this session's, by the token that was put on outside.
            usage = house.server.cli("usage", "--by", "session", "--format", "json")
            [row] = [r for r in msgspec.json.decode(usage.stdout)["rows"] if r["dimensions"]["session"] == session.id]
            assert row["requests"] == 2
            seen = session.read("seen").decode(errors="replace")
            assert "interlock.internal" in seen
            told = msgspec.json.encode(events).decode() + seen
            assert "ils_" not in told and house.keys["acme"] not in told
    finally:
        player.stop()
