"""The session in docs/credits.md, typed as it stands against a real server on other ports."""

import os
import sys
from pathlib import Path

from tests.docs.session import Terminal, same_shape, steps
from tests.e2e.configs import scripted
from tests.e2e.server import running

PAGE = Path(__file__).parents[2] / "docs" / "credits.md"


def test_the_session(tmp_path: Path) -> None:
    with running(tmp_path / "data", config=scripted(tmp_path / "interlock.toml", 9)) as server:
        kept = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
        kept |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        where = {"INTERLOCK_URL": f"http://127.0.0.1:{server.control_port}", "INTERLOCK_KEY": server.admin}
        for tenant in ("acme", "bolt"):
            server.json("tenants", "create", tenant)
        terminal = Terminal(tmp_path, kept | where)
        try:
            typed = steps(PAGE.read_text())
            assert len(typed) == 12
            ports = {"127.0.0.1:8080": f"127.0.0.1:{server.port}", "127.0.0.1:8081": f"127.0.0.1:{server.api_port}"}
            for step in typed:
                command = step.command
                for shown, ours in ports.items():
                    command = command.replace(shown, ours)
                printed, status = terminal.type(command)
                assert status == 0, printed
                assert same_shape(step.shown, printed), (step.command, printed)
        finally:
            terminal.close()
