"""The way to the door: what passes, what does not, and how it ends. The door is a script at a Unix socket."""

import asyncio
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.rig import Rig, Seen, policy, read_answer, rig

from interlock.clock import Clock
from interlock.gateway import doorway
from interlock.gateway.doorway import BODY_BYTES_MAX, Doorway
from interlock.identity import Claims, mint
from interlock.ledger import Opened

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Seen], Awaitable[None]]
Run = Callable[..., object]
SECRET = bytes(range(32))
OK = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
    b"set-cookie: a=b\r\nmcp-session-id: s\r\n\r\n{}"
)
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Later:
    """A clock that a test can set ahead."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.by_ns = 0

    def now_ns(self) -> int:
        return self._clock.now_ns() + self.by_ns

    def monotonic_ns(self) -> int:
        return self._clock.monotonic_ns() + self.by_ns


class Door:
    """What the door saw."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.gone = asyncio.Event()
        self.key_id = ""


@asynccontextmanager
async def house(directory: Path, script: Script) -> AsyncIterator[tuple[Rig, Door, str]]:
    """A gateway before a door that plays `script`, and a key with the scope."""
    door = Door()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                raw = dict(line.split(": ", 1) for line in head[1:] if line)
                headers = {name.lower(): value for name, value in raw.items()}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                door.seen.append(Seen(head[0], headers | {"caller": raw.get("x-interlock-caller", "")}, body))
                await script(reader, writer, door.seen[-1])
        except (asyncio.IncompleteReadError, ConnectionError):
            door.gone.set()
        except asyncio.CancelledError:
            pass  # the end of the test
        finally:
            writer.close()

    directory.mkdir()
    place = directory / "door.sock"
    server = await asyncio.start_unix_server(serve, place)
    async with rig(directory, policy([9])) as on:
        issued = await on.identity.issue(tenant="acme", name="agent-2", principal="ada", scopes=("tools", "inference"))
        door.key_id = issued.key.id
        on.gateway.admission._ask_secret = lambda: SECRET
        on.gateway.doorway = Doorway(asyncio.get_running_loop(), on.gateway, on.gateway.admission, str(place))
        try:
            yield on, door, issued.secret
        finally:
            server.close()


def fresh(path: Path) -> Path:
    """A directory of this run's own: each test runs on two loops."""
    return path / f"run-{len(list(path.iterdir()))}"


def answering(*parts: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return script


def caller(seen: Seen) -> Any:
    return msgspec.json.decode(urlsafe_b64decode(seen.headers["caller"]))


def test_the_door_hears_who_asks_from_the_worker_alone(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with house(fresh(tmp_path), answering(OK)) as (on, door, key):
            answer = await on.call(
                "/mcp", {"a": 1}, "x-interlock-caller: forged", "mcp-session-id: s-1", "cookie: a", key=key
            )
            assert (answer.status, answer.body) == (200, b"{}")
            assert answer.headers["mcp-session-id"] == "s" and "set-cookie" not in answer.headers
            seen = door.seen[-1]
            assert seen.path == "POST /mcp HTTP/1.1" and seen.body == b'{"a":1}'
            assert caller(seen)["principal"] == "ada" and caller(seen)["tenant"] == "acme"
            assert seen.headers["mcp-session-id"] == "s-1"
            for name in ("authorization", "cookie", "x-api-key"):
                assert name not in seen.headers
            assert key not in repr(seen)

    run(main, blocking_s=1.0)


def test_who_is_not_let_in(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with house(fresh(tmp_path), answering(OK)) as (on, door, key):
            refused = {
                "none": await on.call("/mcp", {}, key=""),
                "scope": await on.call("/mcp", {}),
                "method": await on.call("/mcp", {}, method="PATCH", key=key),
                "large": await on.call("/mcp", b"x" * (BODY_BYTES_MAX + 1), key=key),
            }
            assert {name: answer.status for name, answer in refused.items()} == {
                "none": 401,
                "scope": 403,
                "method": 405,
                "large": 413,
            }
            chunked = on.request("/mcp", b"", "transfer-encoding: chunked", key=key).replace(
                b"content-length: 0\r\n", b""
            )
            size = BODY_BYTES_MAX + 1
            answer = await on.send(chunked + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n")
            assert answer.status == 413
            assert door.seen == []

    run(main, blocking_s=1.0)


def test_tokens_open_their_own_door_only(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with house(fresh(tmp_path), answering(OK)) as (on, door, _key):
            clock = Later(on.gateway.clock)
            on.gateway.clock = clock
            now_ns = clock.now_ns()

            def token(audience: str, **more: Any) -> str:
                given = {"session": "s-9", "key_id": door.key_id, "expires_at_ns": now_ns + 60_000_000_000} | more
                return mint(SECRET, Claims(audience=audience, **given))  # type: ignore[arg-type]  # one of the two

            mine = token("mcp", tools=("a.*",))
            assert (await on.call("/mcp", {}, key=mine)).status == 200
            told = caller(door.seen[-1])
            assert (told["session"], told["tools"], told["key_id"]) == ("s-9", ["a.*"], door.key_id)
            assert (await on.call("/mcp", {}, key=token("inference"))).status == 403
            assert (await on.call("/v1/models", b"", method="GET", key=mine)).status == 403
            assert (await on.call("/v1/models", b"", method="GET", key=token("inference"))).status == 200
            assert (await on.call("/mcp", {}, key=token("mcp", key_id="key_none"))).status == 401
            assert (await on.call("/mcp", {}, key=mine[:-3] + "xyz")).status == 401
            reader, writer = await on.connect()
            body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
            models = on.request("/v1/chat/completions", body, key=token("inference"))
            for by_ns, status in ((0, 502), (61_000_000_000, 401)):
                clock.by_ns = by_ns
                writer.write(models)
                assert (await read_answer(reader)).status == status, "one connection, whose caller is remembered"
            writer.close()
            assert (await on.call("/mcp", {}, key=mine)).status == 401
            clock.by_ns = 0
            await on.identity.revoke(door.key_id)
            assert (await on.call("/mcp", {}, key=mine)).status == 401

    run(main, blocking_s=1.0)


def test_a_call_with_a_token_is_its_keys_and_its_sessions(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with house(fresh(tmp_path), answering(OK)) as (on, door, _key):
            later = on.gateway.clock.now_ns() + 60_000_000_000
            token = mint(SECRET, Claims(session="s-9", key_id=door.key_id, audience="inference", expires_at_ns=later))
            body = {"model": "d0", "messages": [{"role": "user", "content": "hi"}]}
            await on.call("/v1/chat/completions", body, "x-interlock-session: another", key=token)
            on.gateway.journal.flush()  # type: ignore[attr-defined]  # the real one has it
            first = (await on.records())[0]
            assert isinstance(first, Opened)
            assert (first.session, first.key_id) == ("s-9", door.key_id)

    run(main, blocking_s=1.0)


def test_a_stream_passes_as_it_comes_and_a_hang_up_reaches_the_door(run: Run, tmp_path: Path) -> None:
    more = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(SSE + b"5\r\nfirst\r\n")
        await more.wait()
        writer.write(b"6\r\nsecond\r\n")
        assert await reader.read(1) == b""  # until the worker closes
        raise ConnectionError

    async def main() -> None:
        more.clear()
        async with house(fresh(tmp_path), script) as (on, door, key):
            reader, writer = await on.connect()
            writer.write(on.request("/mcp", b"{}", key=key))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"text/event-stream" in head
            assert await reader.readexactly(10) == b"5\r\nfirst\r\n"
            more.set()
            assert await reader.readexactly(11) == b"6\r\nsecond\r\n"
            writer.close()
            await asyncio.wait_for(door.gone.wait(), 5)
            assert on.gateway.doorway.passages == set()

    run(main, blocking_s=1.0)


def test_no_door_and_a_door_that_dies_are_told_apart_from_an_answer(run: Run, tmp_path: Path) -> None:
    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        if seen.body == b"{}":
            writer.write(SSE + b"5\r\nfirst\r\n")
        writer.transport.abort()
        raise ConnectionError

    async def main() -> None:
        directory = fresh(tmp_path)
        async with house(directory, dies) as (on, _door, key):
            answer = await on.call("/mcp", {"a": 1}, key=key)
            assert answer.status == 503 and b"tools_unavailable" in answer.body
            reader, writer = await on.connect()
            writer.write(on.request("/mcp", b"{}", key=key))
            rest = await reader.read()
            assert not rest.endswith(b"0\r\n\r\n"), "a part does not look whole"
            writer.close()
            (directory / "door.sock").unlink()
            answer = await on.call("/mcp", {}, key=key)
            assert answer.status == 503 and b"tools_unavailable" in answer.body
            on.gateway.doorway = Doorway(asyncio.get_running_loop(), on.gateway, on.gateway.admission, "")
            assert (await on.call("/mcp", {}, key=key)).status == 503
            assert (await on.call("/v1/models", b"", method="GET", key=key)).status == 200, "models are not concerned"

    run(main, blocking_s=1.0)


def test_a_request_has_a_connection_of_its_own_and_is_sent_once(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async def lost(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
            assert seen.headers["connection"] == "close"
            if seen.body == b"2":
                writer.transport.abort()
                raise ConnectionError
            writer.write(OK)  # and the connection stays open, as if it could be used again

        async with house(fresh(tmp_path), lost) as (on, door, key):
            assert [(await on.call("/mcp", b"%d" % n, key=key)).status for n in (1, 2, 3)] == [200, 503, 200]
            assert [seen.body for seen in door.seen] == [b"1", b"2", b"3"], "a lost one may have had its effect"

    run(main, blocking_s=1.0)


def test_silence_ends(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        await reader.read(1)
        raise ConnectionError

    async def main() -> None:
        monkeypatch.setattr(doorway, "SILENCE_S", 0.1)
        async with house(fresh(tmp_path), silent) as (on, door, key):
            answer = await asyncio.wait_for(on.call("/mcp", {}, key=key), 10)
            assert answer.status == 504
            await asyncio.wait_for(door.gone.wait(), 5)

    run(main, blocking_s=1.0)


def test_nobody_waits_for_a_door_that_is_known_to_fail(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        await reader.read(1)
        raise ConnectionError

    async def main() -> None:
        monkeypatch.setattr(doorway, "START_S", 0.1)
        directory = fresh(tmp_path)
        async with house(directory, silent) as (on, door, key):
            starts = directory / "door.starts"
            starts.write_bytes(b".")  # it starts, for the first time
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                waiting = group.create_task(on.call("/mcp", {"n": 1}, key=key))
                await _seen(door)
                assert not waiting.done()
                starts.write_bytes(b"..")  # and again, and has not served in between
            answer = waiting.result()
            assert answer.status == 503 and b"tools_unavailable" in answer.body and b"does not start" in answer.body
            again = await asyncio.wait_for(on.call("/mcp", {"n": 2}, key=key), 20)
            assert again.status == 503 and [seen.body for seen in door.seen] == [b'{"n":1}'], "it was not sent"

    run(main, blocking_s=1.0)


async def _seen(door: Door) -> None:
    while not door.seen:
        await asyncio.sleep(0)


def test_a_stream_ends_with_its_key_and_with_the_server(run: Run, tmp_path: Path) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(SSE + b"5\r\nfirst\r\n")
        await reader.read(1)
        raise ConnectionError

    async def main() -> None:
        async with house(fresh(tmp_path), endless) as (on, _door, key):
            other = await on.identity.issue(tenant="acme", name="other", scopes=("tools",))
            streams = []
            for secret in (key, other.secret):
                reader, writer = await on.connect()
                writer.write(on.request("/mcp", b"", method="GET", key=secret))
                await reader.readuntil(b"first\r\n")
                streams.append((reader, writer))
            await on.identity.revoke(other.key.id)
            assert await asyncio.wait_for(streams[1][0].read(), 5) == b""
            assert len(on.gateway.doorway.passages) == 1, "nobody else's"
            on.gateway.drain()
            assert await asyncio.wait_for(streams[0][0].read(), 5) == b""
            for _, writer in streams:
                writer.close()

    run(main, blocking_s=1.0)
