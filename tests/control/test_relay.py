"""Paths that the runtime's process answers, over a real socket: who asks, bodies, streams, terminals, its absence."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import msgspec
import pytest
from tests.control.test_app import issued
from tests.e2e.server import until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from interlock.control.relay import OF_ONE_MAX, OF_TENANT_MAX
from interlock.testing.control_process import ControlProcess

APP = """
import asyncio, json, os, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

def asker(connection):
    return json.loads(connection.headers["x-interlock-asker"])

async def echo(request):
    body = await request.body()
    told = {"asker": asker(request), "method": request.method, "path": request.url.path, "query": request.url.query}
    return JSONResponse({**told, "bytes": len(body), "type": request.headers.get("content-type")}, 201)

async def early(request):
    return JSONResponse({"error": {"code": "body_too_large", "message": "no", "field": "body"}}, 413)

async def drip(request):
    async def said():
        try:
            for number in range(1000):
                yield b"data: %d\\n\\n" % number
                await asyncio.sleep(0.02)
        finally:
            open(sys.argv[2], "w").write("hung up")
    return StreamingResponse(said(), media_type="text/event-stream")

async def still(request):
    async def said():
        yield b"data: 0\\n\\n"
        await asyncio.sleep(600)
    return StreamingResponse(said(), media_type="text/event-stream")

async def cut(request):
    async def said():
        yield b"half"
        os._exit(9)
    return StreamingResponse(said())

async def shell(socket):
    if socket.path_params["name"] == "full":
        answer = JSONResponse({"error": {"code": "busy", "message": "full", "field": None}}, 503)
        await socket.send_denial_response(answer)
        return
    await socket.accept()
    await socket.send_text(json.dumps(asker(socket)))
    while (message := await socket.receive())["type"] == "websocket.receive":
        if message.get("bytes") == b"end":
            await socket.close(4001, "over")
            return
        await socket.send_bytes(b"heard " + (message.get("bytes") or message["text"].encode()))
    open(sys.argv[2], "w").write("left")

app = Starlette(routes=[
    Route("/v1/sessions", echo, methods=["GET", "POST"]),
    Route("/v1/sessions/early", early, methods=["PUT"]),
    Route("/v1/sessions/drip", drip),
    Route("/v1/sessions/still", still),
    Route("/v1/sessions/cut", cut),
    Route("/v1/sessions/{id}/files/{path:path}", echo, methods=["GET", "PUT"]),
    Route("/v1/approvals/{id}/{approval}", echo, methods=["POST"]),
    WebSocketRoute("/v1/sessions/{id}/shells/{name}", shell),
])
uvicorn.run(app, uds=sys.argv[1], log_level="error")
"""


@pytest.fixture
def behind(control: ControlProcess, tmp_path: Path) -> Iterator[Path]:
    """The process behind the socket; yields the file in which it says what became of a client."""
    (tmp_path / "app.py").write_text(APP)
    path, told = control.data_dir / "run" / "runtime.sock", tmp_path / "told"
    process = subprocess.Popen([sys.executable, str(tmp_path / "app.py"), str(path), str(told)])
    until(lambda: _answers(path), "it listens")
    yield told
    process.kill()
    process.wait()
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def shell(control: ControlProcess, key: str, name: str) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{control.api_port}/v1/sessions/s/shells/{name}",
        additional_headers={"authorization": f"Bearer {key}"},
        proxy=None,
    )


def test_who_asks_is_told_and_cannot_be_claimed(control: ControlProcess, behind: Path) -> None:
    key = issued(control, tenant="acme", principal="jane@acme", scopes=["sessions:run"])
    claim = '{"tenant":"other","principal":"x","key_id":"k","every_tenant":true}'
    headers = {"x-interlock-asker": claim}
    path = "/v1/sessions?limit=2"
    answer = control.ask("GET", path, key=str(key["secret"]), port=control.api_port, headers=headers)
    told = answer.json()
    assert answer.status == 201 and told["query"] == "limit=2"
    assert told["asker"] == {
        "tenant": "acme",
        "principal": "jane@acme",
        "key_id": key["id"],
        "scopes": ["sessions:run"],
        "every_tenant": False,
    }
    operator = control.ask("GET", path, headers=headers).json()["asker"]
    assert operator["every_tenant"] is True and operator["tenant"] == "default"


def test_scopes(control: ControlProcess, behind: Path) -> None:
    run = str(issued(control, scopes=["sessions:run"])["secret"])
    approve = str(issued(control, scopes=["sessions:approve"])["secret"])
    reader = str(issued(control, scopes=["usage:read"])["secret"])

    def status(method: str, path: str, key: str) -> int:
        return control.ask(method, path, {} if method == "POST" else None, key=key, port=control.api_port).status

    assert status("POST", "/v1/sessions", run) == status("POST", "/v1/approvals/s/a", approve) == 201
    assert {status("POST", "/v1/approvals/s/a", run), status("GET", "/v1/sessions", approve)} == {403}
    assert {status(m, p, reader) for m in ("GET", "POST") for p in ("/v1/sessions", "/v1/approvals/s/a")} == {403}
    assert status("GET", "/v1/sessions", "") == 401
    for key, code in ((reader, 403), ("", 401)):
        with pytest.raises(InvalidStatus) as refused:
            shell(control, key, "main")
        assert refused.value.response.status_code == code


def test_bodies_pass_whole_and_one_that_is_not_read_is_still_answered(control: ControlProcess, behind: Path) -> None:
    key = str(issued(control, scopes=["sessions:run"])["secret"])
    body = os.urandom(3_000_000)
    headers = {"content-type": "application/octet-stream"}
    put = control.ask("PUT", "/v1/sessions/s/files/a%20b/c", body, key=key, port=control.api_port, headers=headers)
    told = put.json()
    assert (told["bytes"], told["path"], told["type"]) == (
        len(body),
        "/v1/sessions/s/files/a b/c",
        headers["content-type"],
    )
    early = control.ask("PUT", "/v1/sessions/early", body, key=key, port=control.api_port, headers=headers)
    assert early.status == 413 and early.json()["error"]["code"] == "body_too_large"


def test_a_stream_comes_as_it_is_said_and_a_hang_up_arrives(control: ControlProcess, behind: Path) -> None:
    key = str(issued(control, scopes=["sessions:run"])["secret"])
    connection = HTTPConnection("127.0.0.1", control.api_port, timeout=10)
    connection.request("GET", "/v1/sessions/drip", headers={"authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.readline() == b"data: 0\n"  # long before the stream's end, 20 s away
    connection.close()
    until(lambda: behind.exists() and behind.read_text() == "hung up", "the other process knows")


def test_who_opens_many_streams_does_not_shut_out_other_tenants(control: ControlProcess, behind: Path) -> None:
    keys = [str(issued(control, tenant="acme", principal=f"p{n}", scopes=["sessions:run"])["secret"]) for n in range(3)]
    other = str(issued(control, tenant="other", principal="p0", scopes=["sessions:run"])["secret"])
    with contextlib.ExitStack() as stack:

        def streams(key: str) -> int:
            """The status of one more, which stays open."""
            connection = HTTPConnection("127.0.0.1", control.api_port, timeout=20)
            stack.callback(connection.close)
            connection.request("GET", "/v1/sessions/still", headers={"authorization": f"Bearer {key}"})
            return connection.getresponse().status

        assert [streams(keys[0]) for _ in range(OF_ONE_MAX)] == [200] * OF_ONE_MAX
        refused = control.ask("GET", "/v1/sessions", key=keys[0], port=control.api_port)
        assert (refused.status, refused.json()["error"]["code"]) == (503, "busy")
        assert f"a principal may have {OF_ONE_MAX}" in refused.json()["error"]["message"]
        with pytest.raises(InvalidStatus) as full:
            shell(control, keys[0], "main")
        assert full.value.response.status_code == 503
        assert [streams(keys[1]) for _ in range(OF_ONE_MAX)] == [200] * OF_ONE_MAX
        refused = control.ask("GET", "/v1/sessions", key=keys[2], port=control.api_port)
        assert f"a tenant may have {OF_TENANT_MAX}" in refused.json()["error"]["message"]
        assert control.ask("GET", "/v1/sessions", key=other, port=control.api_port).status == 201
    until(
        lambda: control.ask("GET", "/v1/sessions", key=keys[0], port=control.api_port).status == 201,
        "what has ended counts no more",
    )


def test_terminals(control: ControlProcess, behind: Path) -> None:
    key = str(issued(control, tenant="acme", scopes=["sessions:run"])["secret"])
    with shell(control, key, "main") as one:
        assert msgspec.json.decode(one.recv())["tenant"] == "acme"
        one.send(b"\x00\xff")
        assert one.recv() == b"heard \x00\xff"
        one.send('{"columns": 80}')
        assert one.recv() == b'heard {"columns": 80}'
    until(lambda: behind.exists() and behind.read_text() == "left", "a client that leaves is seen to leave")
    with shell(control, key, "main") as two:
        two.recv()
        two.send(b"end")
        with pytest.raises(ConnectionClosed) as closed:
            two.recv()
        assert closed.value.rcvd is not None and (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "over")
    with pytest.raises(InvalidStatus) as full:
        shell(control, key, "full")
    assert full.value.response.status_code == 503
    assert msgspec.json.decode(bytes(full.value.response.body or b""))["error"]["message"] == "full"


def test_a_key_that_is_revoked_ends_what_it_had_opened(control: ControlProcess, behind: Path) -> None:
    key = issued(control, tenant="acme", scopes=["sessions:run"])
    connection = HTTPConnection("127.0.0.1", control.api_port, timeout=10)
    connection.request("GET", "/v1/sessions/drip", headers={"authorization": f"Bearer {key['secret']}"})
    stream = connection.getresponse()
    with shell(control, str(key["secret"]), "main") as terminal:
        terminal.recv()
        assert control.ask("DELETE", f"/v1/keys/{key['id']}").status == 200
        with pytest.raises(ConnectionClosed) as closed:
            terminal.recv(timeout=10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        with pytest.raises(Exception, match="IncompleteRead"):  # it would go on for 20 s
            stream.read()
    connection.close()


def test_a_process_that_is_not_there_or_dies(control: ControlProcess, behind: Path) -> None:
    key = str(issued(control, scopes=["sessions:run"])["secret"])
    connection = HTTPConnection("127.0.0.1", control.api_port, timeout=10)
    connection.request("GET", "/v1/sessions/cut", headers={"authorization": f"Bearer {key}"})
    with pytest.raises(Exception, match="IncompleteRead"):  # what was cut off does not look whole
        connection.getresponse().read()
    connection.close()
    answers: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(control.ask("GET", "/v1/sessions", key=key, port=control.api_port).status)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [503] * 4
    assert control.ask("GET", "/v1/sessions", key=key, port=control.api_port).json()["error"]["code"] == "busy"
    with pytest.raises(InvalidStatus) as gone:
        shell(control, key, "main")
    assert gone.value.response.status_code == 503
