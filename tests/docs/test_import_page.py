"""The session in docs/import.md, typed as it stands against a real server on other ports."""

import os
import sys
from pathlib import Path

from tests.docs.session import Terminal, same_shape, steps
from tests.e2e.configs import scripted
from tests.e2e.server import Server, until

PAGE = Path(__file__).parents[2] / "docs" / "import.md"


def test_the_session(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", config=scripted(tmp_path / "interlock.toml", 9)).start()
    kept = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    where = {"INTERLOCK_URL": f"http://127.0.0.1:{server.control_port}", "INTERLOCK_KEY": server.admin}
    terminal = Terminal(tmp_path, kept | where | {"INTERLOCK_EVENTS_URL": f"http://127.0.0.1:{server.api_port}"})
    try:
        until(lambda: server.control("/v1/status")["events_ready"], "events are taken")
        typed = steps(PAGE.read_text())
        assert len(typed) == 6
        for step in typed:
            printed, status = terminal.type(step.command)
            assert status == 0, printed
            assert same_shape(step.shown, printed), (step.command, printed)
            if "COUNTED" in "".join(printed):
                assert printed == step.shown  # these figures are the same in every run
    finally:
        terminal.close()
        server.kill()
