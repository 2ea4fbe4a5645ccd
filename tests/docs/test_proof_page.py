"""The sessions in docs/proof.md, typed as they stand against a real server on other ports."""

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.docs.session import Terminal, same_shape, steps
from tests.e2e.configs import scripted
from tests.e2e.server import Server, until
from tests.e2e.upstream import upstream

from interlock.client import Outbox

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "proof.md"
_KEY = re.compile(r"\b[0-9a-f]{64}\b")


def test_the_session(tmp_path: Path) -> None:
    """In the data directory, as the page says, of a server that took three events."""
    with upstream(tmp_path / "upstream") as provider:
        server = Server(tmp_path / "interlock", config=scripted(tmp_path / "interlock.toml", provider.port)).start()
        kept = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
        where = {"INTERLOCK_URL": f"http://127.0.0.1:{server.control_port}", "INTERLOCK_KEY": server.admin}
        terminal = Terminal(server.places.root, kept | where | {"XDG_DATA_HOME": str(tmp_path)})
        try:
            until(lambda: server.control("/v1/status")["events_ready"], "events are taken")
            count(server)
            typed = steps(PAGE.read_text())
            assert [step.command.split()[:2] for step in typed] == [
                ["interlock", "checkpoint"],
                ["interlock", "verify"],
                ["interlock", "export"],
                ["python3", "acme-2026-11/verify.py"],
                ["interlock", "rebuild"],
            ]
            for step in typed:
                printed, status = terminal.type(step.command)
                assert status == 0, printed
                printed = [_KEY.sub("KEY", line) for line in printed]
                assert same_shape(step.shown, printed), (step.command, printed)
        finally:
            terminal.close()
            server.kill()


def count(server: Server) -> None:
    """Three events of tenant acme, of November 2026."""
    _, secret = server.issue("--scope", "events:write")
    url, at = f"http://127.0.0.1:{server.api_port}", datetime(2026, 11, 1, tzinfo=UTC)
    path = server.places.root.parent / "outbox"
    with Outbox(path, url=url, key=secret, source="shop", background=False) as outbox:
        for number in range(3):
            outbox.record("tokens", {"tokens": number}, id=f"order-{number}", time=at)
        assert outbox.flush(timeout_s=20)
