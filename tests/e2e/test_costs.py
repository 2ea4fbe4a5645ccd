"""From a client's request to a statement: team, task and tools through a real gateway, in all three formats."""

from collections.abc import Iterator
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.e2e.configs import scripted
from tests.e2e.player import Player, Step
from tests.e2e.server import Server, running, until
from tests.e2e.upstream import Upstream

CALLED = [{"id": "c1", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}]
CHAT = {
    "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": CALLED},
        {"role": "tool", "tool_call_id": "c1", "content": "text"},
    ]
}
USED = [
    {"type": "tool_use", "id": id, "name": name, "input": {}} for id, name in (("u1", "shell"), ("u2", "read_file"))
]
GIVEN = [{"type": "tool_result", "tool_use_id": id, "content": "text"} for id in ("u1", "u2")]
MESSAGES = {
    "max_tokens": 9,
    "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": USED},
        {"role": "user", "content": GIVEN},
    ],
}
ITEMS = [
    {"role": "user", "content": "go"},
    {"type": "function_call", "call_id": "f1", "name": "shell", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "f1", "output": "text"},
]


QUOTA = '[[quotas]]\nname = "monthly"\nmeasure = "usd"\namount = "9.00"\nwindow = "month"\nper = ["tenant"]\n'


def post(server: Server, path: str, secret: str, body: dict[str, Any], task: str) -> int:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"authorization": f"Bearer {secret}", "x-interlock-task": task, "anthropic-version": "2023-06-01"}
    headers["content-type"] = "application/json"
    connection.request("POST", path, msgspec.json.encode({"model": "auto", **body}), headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    upstream = Upstream(tmp_path / "upstream").start()
    with running(tmp_path / "data", config=scripted(tmp_path / "interlock.toml", upstream.port, more=QUOTA)) as server:
        yield server
    upstream.stop()


def test_names_of_a_call_reach_the_statement(server: Server) -> None:
    _, secret = server.issue("--label", "team=core")
    _, other = server.issue()
    said: list[dict[str, Any]] = [CHAT, MESSAGES, {"input": ITEMS}, {"messages": CHAT["messages"][:1]}]
    paths = ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/chat/completions"]
    for path, body in zip(paths, said, strict=True):
        for key, task in ((secret, "T-1"), (other, "T-2")):
            assert post(server, path, key, body, task) == 200
    assert post(server, paths[0], secret, CHAT, "no blanks") == 400
    until(lambda: server.control("/v1/usage")["rows"][0]["open"] == 0, "all is settled")
    rows = server.control("/v1/usage?by=team,task,tool")["rows"]
    told = {tuple(row["dimensions"].values()): row["attempts"] for row in rows}
    tools = ("", "read_file", "read_file,shell", "shell")
    assert told == {(team, task, tool): 1 for team, task in (("core", "T-1"), ("", "T-2")) for tool in tools}
    found = server.json("costs", "--by", "team,tool")
    assert len(found["rows"]) == 6
    [total] = server.control("/v1/usage")["rows"]
    assert sum(int(row["amount_nanousd"]) for row in found["rows"]) == int(total["amount_nanousd"]) > 0
    [budget] = server.json("budgets")["budgets"]
    assert (budget["name"], budget["scope"], budget["amount"]) == ("monthly", {"tenant": "acme"}, "9.00")
    assert int(Decimal(budget["used"]) * 10**9) == int(total["amount_nanousd"])


def test_a_session_of_our_own_names_its_task_and_tools(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    steps: list[Step] = [{"text": "I look.", "calls": [["shell", {"command": "echo 1"}]]}, {"text": "Done."}]
    player = Player(tmp_path / "player", steps).start()
    request.addfinalizer(player.stop)
    config = scripted(tmp_path / "interlock.toml", player.port, deployment='capabilities = ["tools"]')
    with running(tmp_path / "data", config=config) as server:
        until(server.places.runtime_socket.is_socket, "agents can run")
        run = ("run", "go", "--wire", "messages", "--allow", "shell(*)", "--hands", "bubblewrap", "--detach")
        for label in ((), ("--label", "task=T-9")):
            done = server.cli(*run, *label)
            assert done.returncode == 0, done.stderr

        def both() -> Any:
            rows = server.control("/v1/usage?by=task,tool,session")["rows"]
            return rows if sum(row["attempts"] - row["open"] for row in rows) == 4 else None

        rows = [row["dimensions"] for row in until(both, "both sessions are over", 30)]
    assert sorted((row["task"] == "T-9", row["tool"]) for row in rows) == [
        *((False, ""), (False, "shell"), (True, ""), (True, "shell"))
    ]
    assert all(row["task"] in ("T-9", row["session"]) for row in rows)
