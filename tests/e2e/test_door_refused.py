"""What `/mcp` says of bodies and parameters that are wrong, and while the process that serves tools cannot start."""

import os
from collections.abc import Iterator

import pytest
from tests.door.rogue import rogue
from tests.e2e.doors import configured, over_http, send
from tests.e2e.server import Server, running, until

from interlock import strictjson

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("door")
    with rogue() as wild:
        config = configured(root / "interlock.toml", over_http("wild", wild.url))
        with running(root / "data", config=config) as server:
            yield server


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"nope", "the body is not JSON"),
        (b"[]", "the body: expected an object"),
        (b"{}", "jsonrpc: nothing here; it is required"),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', "jsonrpc: '1.0' is none of: 2.0"),
        (b'{"jsonrpc":"2.0","id":1}', "method: nothing here; it is required"),
        (b'{"jsonrpc":"2.0","id":1,"method":3}', "method: expected a string, not a whole number"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', "id: expected"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', "params: expected an object"),
    ],
)
@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_a_malformed_body_is_answered_with_the_fields_name(
    server: Server, body: bytes, told: str, version: str
) -> None:
    status, _, answer = send(
        server,
        "POST",
        body,
        {"authorization": f"Bearer {server.admin}", "mcp-protocol-version": version},
    )
    error = strictjson.loads(answer)["error"]
    assert status == 400 and error["message"].startswith(told), error
    assert error["code"] == (-32700 if body == b"nope" else -32600)


def test_a_parameter_that_is_wrong_is_named(server: Server) -> None:
    bearer = {"authorization": f"Bearer {server.admin}"}
    _, headers, _ = send(server, "POST", INITIALIZE, bearer)
    within = bearer | {"mcp-session-id": headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    send(server, "POST", {"jsonrpc": "2.0", "method": "notifications/initialized"}, within)
    for params, told in (({}, "params.name: nothing here; it is required"), ({"name": 3}, "params.name: ")):
        asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
        _, _, answer = send(server, "POST", asked, within)
        error = strictjson.loads(b"{" + answer.partition(b"data: {")[2].partition(b"\n")[0])["error"]
        assert error["code"] == -32602 and error["message"].startswith(told)


def test_a_door_that_cannot_start_keeps_nobody_waiting(server: Server) -> None:
    bearer = {"authorization": f"Bearer {server.admin}"}
    config, starts = server.config, server.places.door_starts
    assert config is not None and send(server, "POST", INITIALIZE, bearer)[0] == 200
    good = config.read_text()
    config.write_text("nothing of the kind")
    os.kill(server.pids()["door"], 9)
    until(lambda: starts.exists() and starts.stat().st_size > 1, "it has failed to start")
    status, _, answer = send(server, "POST", INITIALIZE, bearer)
    assert status == 503 and b"tools_unavailable" in answer
    config.write_text(good)
    until(lambda: not starts.exists(), "it serves again")
    assert send(server, "POST", INITIALIZE, bearer)[0] == 200
