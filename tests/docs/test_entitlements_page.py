"""The session in docs/entitlements.md, typed as it stands against a real server on other ports, and its plan files."""

import os
import re
import sys
from pathlib import Path

from tests.docs.session import Terminal, same_shape, steps
from tests.e2e.server import running
from tests.e2e.upstream import upstream

from interlock.rating import read_plan_file

PAGE = (Path(__file__).parents[2] / "docs" / "entitlements.md").read_text()
CONFIG = """
default_tier = "main"

[deployments.big]
provider = "scripted"
base_url = "http://127.0.0.1:PORT/v1"
model = "big-1"
formats = ["chat", "responses", "messages"]
price = { input = "1", output = "2" }

[deployments.small]
provider = "scripted"
base_url = "http://127.0.0.1:PORT/v1"
model = "small-1"
formats = ["chat", "responses", "messages"]
price = { input = "1", output = "2" }

[tiers]
main = ["big", "small"]
"""


def files(directory: Path) -> list[str]:
    """Write the plans that the page shows; their names."""
    found = re.findall(r"^`(\w+\.toml)`:\n\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for name, text in found:
        (directory / name).write_text(text)
    return [name for name, _ in found]


def test_the_plans_are_plans(tmp_path: Path) -> None:
    names = files(tmp_path)
    assert names == ["silver.toml", "gold.toml"]
    assert all(read_plan_file(tmp_path / name).entitlements is not None for name in names)


def test_the_session(tmp_path: Path) -> None:
    files(tmp_path)
    with upstream(tmp_path / "upstream") as provider:
        config = tmp_path / "interlock.toml"
        config.write_text(CONFIG.replace("PORT", str(provider.port)))
        with running(tmp_path / "data", config=config) as server:
            kept = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
            kept |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
            where = {"INTERLOCK_URL": f"http://127.0.0.1:{server.control_port}", "INTERLOCK_KEY": server.admin}
            terminal = Terminal(tmp_path, kept | where)
            try:
                typed = steps(PAGE)
                assert len(typed) == 12
                ports = {"127.0.0.1:8080": f"127.0.0.1:{server.port}", "127.0.0.1:8081": f"127.0.0.1:{server.api_port}"}
                for step in typed:
                    command = step.command
                    for shown, ours in ports.items():
                        command = command.replace(shown, ours)
                    printed, status = terminal.type(command)
                    assert status == 0, printed
                    assert same_shape(step.shown, printed), (step.command, printed)
                    names = [line for line in step.shown if "not_entitled" in line or "x-interlock-deployment" in line]
                    assert [line for line in names if not line.startswith("{") and line not in printed] == []
            finally:
                terminal.close()
