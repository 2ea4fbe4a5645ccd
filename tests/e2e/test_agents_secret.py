"""A secret that the broker holds is used by an agent's tool call, and is found nowhere that agents or people look.

The tool server echoes what it was given, as careless servers do, in results and in errors.
"""

import os
import re
from pathlib import Path

import msgspec
from tests.door.rogue import Rogue, rogue, said, tool
from tests.e2e.agents import House, ended
from tests.e2e.player import Player, Step
from tests.e2e.server import Server, running, until

SECRET = "broker-held-7f3e19c2a4"
LOOK = "env; cat /proc/[0-9]*/environ; ls -la / /run; echo > up; sleep 8"
SCRIPTS: dict[str, list[Step]] = {
    "secret": [
        {"text": "First.", "calls": [["vault__echo", {"fail": False}]]},
        {"text": "Then.", "calls": [["vault__echo", {"fail": True}]]},
        {"text": "Around.", "calls": [["shell", {"command": LOOK}]]},
        {"text": "That is all."},
    ]
}  # fmt: skip


def echoes(_: Rogue, params: dict[str, object], headers: dict[str, str]) -> object:
    if params["arguments"] == {"fail": True}:
        return 500, {"content-type": "text/plain"}, f"refused: {headers['authorization']}".encode()
    return said(f"you are {headers['authorization']}")


def test_it_is_used_and_found_nowhere(tmp_path: Path) -> None:
    player = Player(tmp_path / "player", SCRIPTS).start()
    with rogue() as vault:
        vault.tools = [tool("echo", properties={"fail": {"type": "boolean"}})]
        vault.scripts["echo"] = echoes
        config = tmp_path / "interlock.toml"
        config.write_text(
            'default_tier = "main"\n[deployments.recorded]\nprovider = "recorded"\nmodel = "m"\n'
            f'base_url = "http://127.0.0.1:{player.port}/v1"\nformats = ["messages"]\ncapabilities = ["tools"]\n'
            'price = "free"\n[tiers]\nmain = ["recorded"]\n[[tools.servers]]\nname = "vault"\n'
            f'url = "{vault.url}"\nallow = [{{}}]\ncredential = {{ env = "VAULT_KEY" }}\n'
        )
        with running(tmp_path / "data", config=config, env={"VAULT_KEY": SECRET}) as server:
            until(server.places.runtime_socket.is_socket, "agents can run")
            house = House(server)
            agent = {
                "mode": "accept-edits",
                "tools": ["shell", "mcp(vault.*)"],
                "rules": {"allow": ["shell(*)", "mcp(vault.*)"]},
            }
            acme = house.issue("acme", "sessions:run", "inference", "tools")
            session = type(house.acme)(house.url, acme).run("[secret]", agent=agent)
            until(lambda: "up" in workspace_files(server), "the command runs")
            memory = [hit for pid in sandboxed(server) for hit in search_memory(pid)]
            events = ended(session)
            used = [headers["authorization"] for headers in vault.calls("echo")]
            assert used and set(used) == {f"Bearer {SECRET}"}, "it was attached on the way out"
            results = [event["content"]["text"] for event in events if event["type"] == "tool.finished"]
            assert results[0].startswith("you are Bearer") and len(results) == 3
            assert memory == []
            assert SECRET not in msgspec.json.encode(events).decode()
            for api in ("sessions", "explain"):
                assert SECRET not in server.cli(api, "list" if api == "sessions" else "none").stdout
        assert SECRET not in server.said
        assert found_in(server.places.root) == []
    player.stop()


def workspace_files(server: Server) -> set[str]:
    return {path.name for path in server.places.workspaces.glob("*/files/*")}


def sandboxed(server: Server) -> list[int]:
    """Processes of the sandboxes' users."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if path.stat().st_uid >= 1_879_048_192:
                found.append(int(path.name))
        except FileNotFoundError:
            continue
    assert found, "nothing runs in a sandbox"
    return found


def search_memory(pid: int) -> list[str]:
    """Mappings of a process in which the secret stands."""
    hits = []
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except OSError:
        return []
    try:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if match is None:
                continue
            start, end = (int(bound, 16) for bound in match.groups())
            try:
                if SECRET.encode() in os.pread(memory, end - start, start):
                    hits.append(f"{pid}: {line}")
            except (OSError, OverflowError):  # the kernel's own pages
                continue
    finally:
        os.close(memory)
    return hits


def found_in(root: Path) -> list[str]:
    """Files below a data directory that hold it."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 10
    return [str(path) for path in files if SECRET.encode() in path.read_bytes()]
