"""The model over HTTP: what is sent, what comes back, and what is worth another try."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tests.runtime.brain.test_wires import HEARD, MESSAGES

from interlock.gateway.translate import neutral
from interlock.runtime.brain.model import (
    BACKOFF_S,
    RETRY_AFTER_S_MAX,
    GatewayModel,
    Reply,
    Request,
    retry_in_s,
)
from interlock.runtime.brain.wires import Broke

Run = Callable[..., Any]
Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
REQUEST = Request(
    session="ses_1", wire="messages", body=b'{"model":"m"}', key="ses_1-3", step=3, mode="auto", token="ils_secret"
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
TOLD = b"x-interlock-deployment: here\r\nx-interlock-request-id: req_1\r\nx-interlock-amount-nanousd: 42\r\n"


@asynccontextmanager
async def serving(serve: Serve, **times: float) -> AsyncIterator[GatewayModel]:
    """A gateway that answers each request as told."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await serve(head + await reader.readexactly(size), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    model = GatewayModel(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", **times)
    try:
        yield model
    finally:
        model.close()
        server.close()
        for _ in range(10):
            await asyncio.sleep(0)


def chunked(*pieces: bytes) -> bytes:
    return (
        b"transfer-encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
    )


def answering(*answers: bytes, seen: list[bytes] | None = None) -> Serve:
    left = list(answers)

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        if seen is not None:
            seen.append(request)
        writer.write(left.pop(0))

    return serve


async def ask(model: GatewayModel, told: list[neutral.Event] | None = None) -> Reply:
    return await model.ask(REQUEST, (told if told is not None else []).append)


def test_a_call_is_sent_and_its_answer_heard(run: Run) -> None:
    async def main() -> None:
        seen, told = list[bytes](), list[neutral.Event]()
        answer = HEAD + TOLD + chunked(MESSAGES[:100], MESSAGES[100:])
        async with serving(answering(answer, answer, seen=seen)) as model:
            reply = await ask(model, told)
            assert reply == Reply(said=HEARD, deployment="here", request_id="req_1", amount_nanousd=42)
            assert (await ask(model)).said == HEARD
        head, _, body = seen[0].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /v1/messages HTTP/1.1" and body == REQUEST.body
        for line in (
            b"authorization: Bearer ils_secret",
            b"x-interlock-session: ses_1",
            b"x-interlock-request: ses_1-3",
            b"x-interlock-step: 3",
            b"x-interlock-mode: auto",
            b"anthropic-version: 2023-06-01",
        ):
            assert line in lines
        assert any(isinstance(event, neutral.TextDelta) for event in told)

    run(main)


ERROR = b'{"type":"error","error":{"type":"limit_exceeded","message":"too much"}}'
CHAT_ERROR = b'{"error":{"type":"invalid_request_error","code":"model_unknown","message":"no such"}}'


@pytest.mark.parametrize(
    ("answer", "code", "status", "after_s"),
    [
        (b"HTTP/1.1 429 X\r\nretry-after: 7\r\n" + chunked(ERROR), "limit_exceeded", 429, 7.0),
        (b"HTTP/1.1 404 X\r\n" + chunked(CHAT_ERROR), "model_unknown", 404, None),
        (b"HTTP/1.1 500 X\r\ncontent-length: 4\r\n\r\noops", "upstream_error", 500, None),
        (b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", "upstream_error", 503, None),
        (b"HTTP/1.1 500 X\r\n" + chunked(b"x" * 10_000_000), "upstream_error", 500, None),
        (HEAD + chunked(MESSAGES[:200]), "upstream_closed", 502, None),
        (HEAD + b"content-length: 999\r\n\r\n" + MESSAGES[:200], "upstream_closed", 502, None),
        (b"nonsense\r\n\r\n", "upstream_invalid", 502, None),
    ],
)
def test_what_is_no_answer_is_a_value(run: Run, answer: bytes, code: str, status: int, after_s: float | None) -> None:
    async def main() -> None:
        async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            await writer.drain()
            writer.close()

        async with serving(serve) as model:
            reply = await ask(model)
        assert isinstance(reply.said, Broke), reply
        assert (reply.said.code, reply.said.status, reply.retry_after_s) == (code, status, after_s)
        assert len(reply.said.message) <= 500

    run(main)


def test_nobody_is_there(run: Run) -> None:
    async def main() -> None:
        model = GatewayModel("http://127.0.0.1:1")
        reply = await ask(model)
        assert isinstance(reply.said, Broke) and reply.said.code == "upstream_unreachable"
        assert retry_in_s(reply, 1) is not None
        model.close()

    run(main)


@pytest.mark.parametrize(
    "first", [b"", HEAD + b"transfer-encoding: chunked\r\n\r\n", HEAD + chunked(MESSAGES[:200])[:-5]]
)
def test_silence_has_an_end(run: Run, first: bytes) -> None:
    async def main() -> None:

        async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(first)
            await writer.drain()

        async with serving(serve, silent_s=0.1) as model:
            reply = await ask(model)
        assert isinstance(reply.said, Broke) and reply.said.code == "upstream_timeout"

    run(main)


def test_a_call_that_is_cancelled_hangs_up(run: Run) -> None:
    async def main() -> None:
        asked, closed = asyncio.Event(), asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            with suppress(ConnectionError):
                await reader.read()
            closed.set()
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        model = GatewayModel(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            task = group.create_task(ask(model))
            await asked.wait()
            task.cancel()
            await closed.wait()
        server.close()

    run(main)


def test_a_flood_is_not_held_and_a_fast_answer_does_not_wait(run: Run) -> None:
    async def main() -> None:
        delta = b'data: {"type":"ping"}\n\n' * 1000
        flood = HEAD + chunked(*[delta] * 300, MESSAGES)
        async with serving(answering(flood, HEAD + chunked(MESSAGES))) as model:
            assert (await ask(model)).said == HEARD
            assert (await ask(model)).said == HEARD, "the connection is used again"

    run(main)


def broken(code: str, status: int, after_s: float | None = None) -> Reply:
    return Reply(said=Broke(code=code, message="m", status=status), retry_after_s=after_s)


def test_what_is_worth_another_try_and_when() -> None:
    for status in (429, 500, 502, 503, 504, 529):
        assert [retry_in_s(broken("x", status), n) for n in range(1, len(BACKOFF_S) + 2)] == [*BACKOFF_S, None]
    for status in (400, 401, 403, 404, 413):
        assert retry_in_s(broken("x", status), 1) is None
    assert retry_in_s(broken("limit_exceeded", 429, 33.0), 1) == 33.0
    assert retry_in_s(broken("limit_exceeded", 429, 1e6), 1) == RETRY_AFTER_S_MAX
    assert retry_in_s(broken("limit_exceeded", 429, 0.0), 1) == 0.1
    for code in ("limit_too_small", "boundary_refused", "unpriced", "internal"):
        assert retry_in_s(broken(code, 503), 1) is None
