"""The session in docs/reconciliation.md, typed as it stands against a real server that lost a call."""

import asyncio
import os
import sys
from pathlib import Path

from tests.docs.session import Terminal, same_shape, steps
from tests.e2e.billed import calls, report
from tests.e2e.configs import Journals, scripted
from tests.e2e.server import running
from tests.e2e.upstream import upstream

PAGE = Path(__file__).parents[2] / "docs" / "reconciliation.md"
STATUS = (3, 0, 0, 0)


def test_the_session(tmp_path: Path) -> None:
    kept = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    kept |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config) as server:
            asyncio.run(calls(server, provider))
            report(tmp_path, Journals(server.places.journal))
            where = {"INTERLOCK_URL": f"http://127.0.0.1:{server.control_port}", "INTERLOCK_KEY": server.admin}
            terminal = Terminal(tmp_path, kept | where)
            try:
                typed = steps(PAGE.read_text())
                assert len(typed) == len(STATUS)
                for step, wanted in zip(typed, STATUS, strict=True):
                    printed, status = terminal.type(step.command)
                    assert status == wanted, printed
                    assert same_shape(step.shown, printed), (step.command, printed)
            finally:
                terminal.close()
