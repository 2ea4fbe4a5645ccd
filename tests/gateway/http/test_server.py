"""Client connections under bad input, over real sockets: each fault has its own answer, and no other one suffers."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, WHOLE, ask
from tests.gateway.rig import PATHS, Rig, Upstream, policy, read_answer, rig, whole

from interlock.gateway import Limits

Run = Callable[..., Any]
LIMITS = Limits(header_bytes=4096, body_bytes=100_000, header_s=0.3, body_s=0.3, keep_alive_s=0.5, pipelined=4)


def play(run: Run, tmp_path: Path, test: Any, *, limits: Limits = LIMITS) -> None:
    async def main() -> None:
        upstream = Upstream(whole(CHAT))
        async with rig(tmp_path / "data", policy([await upstream.start()], limits=limits)) as on:
            await test(on)
        await upstream.stop()

    run(main, blocking_s=1.0)


CASES: dict[str, tuple[str, bytes | Any, tuple[str, ...], int, str]] = {
    "bad JSON": ("chat", b'{"model":"auto",}', (), 400, "invalid_json"),
    "not UTF-8": ("chat", b'{"model":"\xff"}', (), 400, "invalid_json"),
    "a key twice": ("chat", b'{"model":"a","model":"b","messages":[]}', (), 400, "duplicate_key"),
    "a nested key twice": ("chat", b'{"model":"a","messages":[{"role":"user","role":"x"}]}', (), 400, "duplicate_key"),
    "NaN": ("chat", b'{"model":"auto","temperature":NaN}', (), 400, "invalid_json"),
    "too deep": ("chat", b"[" * 5000, (), 400, "invalid_json"),
    "not an object": ("chat", b"[]", (), 400, "invalid_request"),
    "no messages": ("chat", {"model": "auto"}, (), 400, "invalid_request"),
    "wrong type": ("chat", {"model": 1, "messages": []}, (), 400, "invalid_request"),
    "stream is a string": ("messages", {**ask("messages"), "stream": "yes"}, (), 400, "invalid_request"),
    "bad mode": ("chat", ask("chat"), ("x-interlock-mode: a b",), 400, "invalid_request"),
    "bad session": ("chat", ask("chat"), ("x-interlock-session: " + "s" * 256,), 400, "invalid_request"),
    "content type": ("chat", ask("chat"), ("content-type: text/plain",), 415, "unsupported_media_type"),
    "compressed": ("chat", ask("chat"), ("content-encoding: gzip",), 415, "unsupported_media_type"),
    "too large": ("messages", b" " * 100_001, (), 413, "body_too_large"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_request_is_told_what_is_wrong(run: Run, tmp_path: Path, name: str) -> None:
    format, body, headers, status, code = CASES[name]

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[format], body, *headers)
        assert (answer.status, answer.json["error"]["code"]) == (status, code)
        assert ("type" in answer.json) is (format == "messages")
        assert answer.headers["x-interlock-request-id"].startswith("req_")
        assert await on.records() == []
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 200

    play(run, tmp_path, test)


@pytest.mark.parametrize(
    ("key", "code"), [("", "key_missing"), ("ilk_nope", "key_unknown"), ("ilk_" + "x" * 43, "key_unknown")]
)
def test_no_good_key(run: Run, tmp_path: Path, key: str, code: str) -> None:
    async def test(on: Rig) -> None:
        for format, path in PATHS.items():
            answer = await on.call(path, ask(format), key=key)
            assert (answer.status, answer.json["error"]["code"]) == (401, code)
            assert (answer.json.get("type") == "error") is (format == "messages")
        assert (await on.call("/v1/models", b"", method="GET", key=key)).status == 401

    play(run, tmp_path, test)


def test_keys_by_either_header(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        for header in (f"x-api-key: {on.secret}", f"authorization: bearer {on.secret}"):
            assert (await on.call(PATHS["chat"], ask("chat"), header, key="")).status == 200

    play(run, tmp_path, test)


def test_paths_and_methods(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        for path, method, status in (
            ("/nope", "GET", 404),
            ("/v1/chat/completions/x", "POST", 404),
            ("/v1/chat/completions", "GET", 405),
            ("/v1/messages", "DELETE", 405),
            ("/healthz", "GET", 200),
            ("/healthz", "POST", 404),
            ("/readyz", "GET", 200),
        ):
            answer = await on.call(path, b"", method=method)
            assert answer.status == status, path

    play(run, tmp_path, test)


def test_models_in_the_shape_of_the_sdk(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        openai = (await on.call("/v1/models", b"", method="GET")).json
        assert openai["object"] == "list"
        assert {"auto", "main", "d0"} <= {model["id"] for model in openai["data"]}
        anthropic = (await on.call("/v1/models?limit=1", b"", "anthropic-version: 2023-06-01", method="GET")).json
        assert (anthropic["has_more"], len(anthropic["data"]), anthropic["data"][0]["type"]) == (True, 1, "model")
        assert (await on.call("/v1/models/main", b"", method="GET")).json["id"] == "main"
        assert (await on.call("/v1/models/nope", b"", method="GET")).status == 404

    play(run, tmp_path, test)


MALFORMED = {
    "lengths": b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "header flood": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: bbbbbbbbbbbbbbbbbbbbbbb\r\n" * 1000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bytes_get_an_answer_and_a_close(run: Run, tmp_path: Path, name: str) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        other_reader, other_writer = await on.connect()
        writer.write(MALFORMED[name])
        answer = await read_answer(reader)
        assert answer.status in (400, 431)
        assert answer.headers["connection"] == "close"
        assert await reader.read() == b""
        other_writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))))
        assert (await read_answer(other_reader)).status == 200
        writer.close()
        other_writer.close()

    play(run, tmp_path, test)


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_a_refused_request_spares_the_next_one_on_its_connection(run: Run, tmp_path: Path, body: bytes) -> None:
    """Its body came with its head: what is thrown away is not the next one's."""

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], body, "content-type: text/plain"))
        assert (await read_answer(reader)).status == 415
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))))
        assert (await read_answer(reader)).status == 200
        writer.close()

    play(run, tmp_path, test)


def test_garbage_after_a_pipelined_request_spares_the_request(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))) + b"\0garbage\r\n\r\n")
        assert (await read_answer(reader)).status == 200
        assert (await read_answer(reader)).status == 400
        assert await reader.read() == b""
        writer.close()

    play(run, tmp_path, test)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/chat/comp",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\ncontent-type: application/json\r\n\r\n{",
    ],
)
def test_a_slow_sender_is_told_and_closed(run: Run, tmp_path: Path, sent: bytes) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(sent)
        dripping = asyncio.get_running_loop().create_task(_drip(writer))
        assert (await read_answer(reader)).status == 408
        dripping.cancel()
        writer.close()

    async def _drip(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:  # a byte now and then must not put the deadline off
                await asyncio.sleep(0.1)
                writer.write(b"a" if sent.startswith(b"POST /v1/chat") else b"")

    play(run, tmp_path, test)


def test_an_idle_connection_is_closed_without_a_word(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()

    play(run, tmp_path, test)


def test_expect_continue(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        body = msgspec.json.encode(ask("chat"))
        request = on.request(PATHS["chat"], body, "expect: 100-continue")
        reader, writer = await on.connect()
        writer.write(request[: -len(body)])
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await read_answer(reader)).status == 200
        writer.close()
        refused = on.request("/nope", body, "expect: 100-continue")[: -len(body)]
        assert (await on.send(refused)).status == 404

    play(run, tmp_path, test)


def test_a_large_body_without_a_key_is_refused_unread(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        request = on.request(PATHS["chat"], b" " * 90_000, key="ilk_nope")
        answer = await on.send(request[: len(request) - 89_000])
        assert (answer.status, answer.headers["connection"]) == (401, "close")

    play(run, tmp_path, test)


def test_http_1_0(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        request = on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        answer = await on.send(request)
        assert (answer.status, answer.body) == (200, WHOLE["chat"])
        assert answer.headers["connection"] == "close"

    play(run, tmp_path, test)


def test_more_connections_than_allowed_are_told_so(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        held = [await on.connect() for _ in range(3)]
        reader, writer = await on.connect()
        answer = await read_answer(reader)
        assert (answer.status, answer.json["error"]["code"]) == (503, "busy")
        for _, other in [*held, (reader, writer)]:
            other.close()

    play(run, tmp_path, test, limits=msgspec.structs.replace(LIMITS, connections=3))
