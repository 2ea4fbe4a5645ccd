"""A server with agents on it, tenants' keys, and recordings for them: shared by the tests of how agents are used."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
from tests.e2e.player import Player, Step
from tests.e2e.server import Server, running, until

from interlock.client import Agents, Session


def shell(command: str) -> Step:
    """A step that runs a line of shell."""
    return {"text": "I run it.", "calls": [["shell", {"command": command}]]}


SCRIPTS: dict[str, list[Step]] = {
    "hello": [{"text": "Hello there, whoever you are."}],
    "write": [shell("echo written > here.txt; cat here.txt"), {"text": "It is written."}],
    "two": [shell("echo one >> log.txt"), {"text": "Once."}, shell("echo two >> log.txt"), {"text": "Twice."}],
    "long": [shell("echo begun; sleep 60; echo ended > ended.txt"), {"text": "Finished."}],
    "large": [shell("seq 1 20000"), {"text": "Counted."}],
    "many": [shell(f"echo {n}") for n in range(6)],
}
ALLOW = {"mode": "accept-edits", "rules": {"allow": ["shell(*)"]}}


class House:
    """A server, and tenants' keys."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{server.api_port}"
        self.keys = {name: self.issue(name) for name in ("acme", "other")}
        self.acme, self.other = (Agents(self.url, self.keys[name]) for name in ("acme", "other"))
        admin = (server.places.root / "admin.key").read_text().strip()
        self.operator = Agents(f"http://127.0.0.1:{server.control_port}", admin)

    def issue(self, tenant: str, *scopes: str) -> str:
        wanted = scopes or ("sessions:run", "sessions:approve", "inference")
        args = [word for scope in wanted for word in ("--scope", scope)]
        done = self.server.cli("keys", "issue", "--tenant", tenant, "--name", "k", *args)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1]

    def ask(self, method: str, path: str, key: str, body: Any = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.server.api_port, timeout=20)
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        try:
            connection.request(method, path, None if body is None else msgspec.json.encode(body), headers)
            answer = connection.getresponse()
            return answer.status, msgspec.json.decode(answer.read())
        finally:
            connection.close()


@contextmanager
def inhabited(root: Path) -> Iterator[House]:
    """The house, in a directory of its own."""
    player = Player(root / "player", SCRIPTS).start()
    config = root / "interlock.toml"
    config.write_text(
        'default_tier = "main"\n[deployments.recorded]\nprovider = "recorded"\nmodel = "m"\n'
        f'base_url = "http://127.0.0.1:{player.port}/v1"\nformats = ["messages", "chat"]\ncapabilities = ["tools"]\n'
        'price = { input = "1", output = "2" }\n[tiers]\nmain = ["recorded"]\n'
    )
    with running(root / "data", config=config) as server:
        until(server.places.runtime_socket.is_socket, "agents can run")
        yield House(server)
    player.stop()


def ended(session: Session, after: int = 0) -> list[dict[str, Any]]:
    """All events behind `after`, once it is idle."""
    return list(session.watch(after=after, until_idle=True))


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Their types."""
    return [event["type"] for event in events]
