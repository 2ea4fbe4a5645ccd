"""What an attacker sends, over real sockets: one answer, a close, and no second request that is read.

Every attack carries a second request that must not be answered: it stands where a lenient server would read one.
"""

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, ask
from tests.gateway.http.test_client import until
from tests.gateway.http.test_server import LIMITS, play
from tests.gateway.rig import PATHS, Rig, Upstream, policy, read_answer, rig, silent, whole

Run = Callable[..., Any]
HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"
START = (
    b"POST /v1/messages HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nAuthorization: Bearer SECRET\r\n"
)
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"


def coding(value: bytes, *more: bytes) -> bytes:
    """A request with this Transfer-Encoding, an empty body of chunks, and the hidden request."""
    return START + b"Transfer-Encoding: " + value + b"\r\n" + b"".join(more) + b"\r\n0\r\n\r\n" + HIDDEN


def sized(*values: bytes) -> bytes:
    """A request with these Content-Lengths."""
    lines = b"".join(b"Content-Length: " + value + b"\r\n" for value in values)
    return START + lines + b"\r\n" + HIDDEN


ATTACKS: dict[str, bytes] = {
    "CL.TE": START + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG" + HIDDEN,
    "TE.CL": START + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE.TE": coding(b"chunked", b"Transfer-Encoding: x\r\n"),
    "a coding that is not chunked": coding(b"xchunked"),
    "chunked, then another": coding(b"chunked, identity"),
    "another, then chunked": coding(b"identity, chunked"),
    "chunked with a parameter": coding(b"chunked;q=1"),
    "chunked after a vertical tab": coding(b"\x0bchunked"),
    "chunked in quotes": coding(b'"chunked"'),
    "a folded coding": coding(b"\r\n chunked"),
    "a folded second line": coding(b"x\r\n\tchunked"),
    "a coding hidden by a bare LF": START + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a coding hidden by a bare CR": START + b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a space before the colon": START + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a NUL in a name": START + b"Transfer-Encoding\0: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "an empty name": START + b": x\r\n\r\n" + HIDDEN,
    "a line that begins with a space": b"GET / HTTP/1.1\r\n Host: gateway\r\n\r\n" + HIDDEN,
    "chunks on HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n" + HIDDEN,
    "two lengths": sized(b"0", b"41"),
    "one length twice": sized(b"0", b"0"),
    "a list of lengths": sized(b"0, 0"),
    "a length below zero": sized(b"-1"),
    "a length with a sign": sized(b"+0"),
    "a length in hexadecimal": sized(b"0x0"),
    "a length of two words": sized(b"0 0"),
    "a length past 64 bits": sized(b"18446744073709551616"),
    "no length after the colon": sized(b""),
    "a vertical tab after a length": sized(b"0\x0b"),
    "a chunk size past 64 bits": CHUNKED + b"10000000000000000\r\n\r\n" + HIDDEN,
    "a chunk size below zero": CHUNKED + b"-1\r\n\r\n" + HIDDEN,
    "a chunk size with 0x": CHUNKED + b"0x0\r\n\r\n" + HIDDEN,
    "an empty chunk size": CHUNKED + b"\r\n\r\n" + HIDDEN,
    "a space after a chunk size": CHUNKED + b"0 \r\n\r\n" + HIDDEN,
    "a bare LF after a chunk size": CHUNKED + b"0\n\n" + HIDDEN,
    "a bare LF in a chunk extension": CHUNKED + b"0;a\n\r\n" + HIDDEN,
    "a bare CR in a chunk extension": CHUNKED + b"0;a\rb\r\n\r\n" + HIDDEN,
    "a quote that does not end": CHUNKED + b'0;a="b\r\n\r\n' + HIDDEN,
    "a chunk longer than its size": CHUNKED + b"1\r\nab\r\n0\r\n\r\n" + HIDDEN,
    "a chunk without its line end": CHUNKED + b"1\r\na0\r\n\r\n" + HIDDEN,
    "a chunk extension that does not end": CHUNKED + b"0;" + b"a" * 300 + b"\r\n\r\n" + HIDDEN,
    "a length in a trailer": CHUNKED + b"0\r\nContent-Length: 41\r\n\r\n" + HIDDEN,
    "a coding in a trailer": CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
    "a bare LF in the trailers": CHUNKED + b"0\r\nx: y\n\r\n\r\n" + HIDDEN,
    "a colonless trailer": CHUNKED + b"0\r\nxy\r\n\r\n" + HIDDEN,
    "two spaces": b"GET  /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n" + HIDDEN,
    "two spaces before the version": b"GET /healthz  HTTP/1.1\r\nHost: gateway\r\n\r\n" + HIDDEN,
    "a tab in the request line": b"GET\t/healthz HTTP/1.1\r\nHost: gateway\r\n\r\n" + HIDDEN,
    "a target with a space": b"GET /healthz x HTTP/1.1\r\nHost: gateway\r\n\r\n" + HIDDEN,
    "lines that end in LF": HIDDEN.replace(b"\r\n", b"\n") + HIDDEN,
    "an LF before the request": b"\n" + HIDDEN,
    "two empty lines before the request": b"\r\n\r\n" + HIDDEN,
    "HTTP/0.9": b"GET /healthz\r\n" + HIDDEN,
    "HTTP/1.2": HIDDEN.replace(b"1.1", b"1.2") + HIDDEN,
    "another protocol": HIDDEN.replace(b"HTTP", b"RTSP") + HIDDEN,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "h2c": START + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n" + HIDDEN,
    "a method in lower case": HIDDEN.replace(b"GET", b"get") + HIDDEN,
    "a method nobody knows": HIDDEN.replace(b"GET", b"GOT") + HIDDEN,
    "CONNECT": b"CONNECT gateway:443 HTTP/1.1\r\nHost: gateway:443\r\n\r\n" + HIDDEN,
    "a target that is a host": b"GET gateway:80 HTTP/1.1\r\nHost: gateway:80\r\n\r\n" + HIDDEN,
    "a whole URL of another host": b"GET http://other/healthz HTTP/1.1\r\nHost: gateway\r\n\r\n" + HIDDEN,
    "a whole URL with a login": b"GET http://a@gateway/healthz HTTP/1.1\r\nHost: gateway\r\n\r\n" + HIDDEN,
    "a whole URL of another scheme": b"GET file://gateway/healthz HTTP/1.1\r\nHost: gateway\r\n\r\n" + HIDDEN,
    "a fragment": b"GET /healthz#x HTTP/1.1\r\nHost: gateway\r\n\r\n" + HIDDEN,
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n" + HIDDEN,
    "two hosts": HIDDEN[:-2] + b"Host: gateway\r\n\r\n" + HIDDEN,
    "a host with a path": HIDDEN.replace(b"gateway", b"gateway/x") + HIDDEN,
    "a host with a login": HIDDEN.replace(b"gateway", b"x@gateway") + HIDDEN,
    "two hosts in one": HIDDEN.replace(b"gateway", b"gateway, other") + HIDDEN,
    "two callers": HIDDEN[:-2] + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n" + HIDDEN,
    "a request after the last": HIDDEN[:-2] + b"Connection: close\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_one_answer_and_a_close(run: Run, tmp_path: Path, name: str) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(ATTACKS[name].replace(b"SECRET", on.secret.encode()))
        async with asyncio.timeout(5):
            answers = await reader.read()
        assert len(re.findall(rb"HTTP/1\.1 [0-9]{3}", answers)) == 1
        if name == "a request after the last":  # itself it is good, and what comes after it is not even told so
            assert answers.startswith(b"HTTP/1.1 200")
        else:
            assert answers.startswith(b"HTTP/1.1 400") and b'"malformed_http"' in answers, answers
        assert b"\r\nconnection: close\r\n" in answers
        writer.close()

    play(run, tmp_path, test)


PATHS_ELSEWHERE = """
    //v1//messages /v1/./messages /v1/x/../messages /v1%2fmessages /v1/%6dessages /%76%31/messages /v1/messages/
    /v1/messages;x /V1/messages /v1\\messages /v1/messages%00 *
"""


@pytest.mark.parametrize("path", PATHS_ELSEWHERE.split())
def test_a_path_is_nothing_but_itself(run: Run, tmp_path: Path, path: str) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call(path, ask("messages"), method="OPTIONS" if path == "*" else "POST")
        assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")
        assert "there are /v1/chat/completions, " in answer.json["error"]["message"]
        assert await on.records() == []

    play(run, tmp_path, test)


@pytest.mark.parametrize("target", ["http://gateway", "HTTP://Gateway", "https://gateway"])
def test_a_whole_url_of_this_host(run: Run, tmp_path: Path, target: str) -> None:
    async def test(on: Rig) -> None:
        assert (await on.call(f"{target}/v1/messages", ask("messages"))).status == 200

    play(run, tmp_path, test)


def test_a_flood_of_headers_drop_by_drop(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(START)
        answering = asyncio.get_running_loop().create_task(read_answer(reader))
        while not answering.done():
            writer.write(b"x: y\r\n" * 20)
            await asyncio.sleep(0)
        assert answering.result().status == 431
        writer.close()

    play(run, tmp_path, test)


def test_a_chunked_request_with_a_bad_key_behind_a_call_that_runs(run: Run, tmp_path: Path) -> None:
    """Its refusal waits for its turn; what came with it is not taken for a request of its own."""

    async def main() -> None:
        upstream = Upstream(silent)
        async with rig(tmp_path / "data", policy([await upstream.start()], limits=LIMITS)) as on:
            reader, writer = await on.connect()
            call = on.request(PATHS["chat"], msgspec.json.encode(ask("chat")))
            bad = b"POST /nope HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
            writer.write(call + bad + HIDDEN)
            async with asyncio.timeout(5):
                while not upstream.seen:
                    await asyncio.sleep(0.005)
            assert len(on.gateway.exchanges) == 1
            upstream.scripts[:] = [whole(CHAT)]
            [exchange] = on.gateway.exchanges
            exchange.expire()
            assert (await read_answer(reader)).status == 504
            assert (await read_answer(reader)).status == 404
            assert await reader.read() == b""
            writer.close()
        await upstream.stop()

    run(main, blocking_s=1.0)


def test_a_pipeline_longer_than_allowed_is_answered_in_turn(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        call = on.request(PATHS["chat"], msgspec.json.encode(ask("chat")))
        writer.write((HIDDEN + call) * 30)
        for _ in range(30):
            assert (await read_answer(reader)).json == {"status": "ok"}
            assert (await read_answer(reader)).json["object"] == "chat.completion"
        [connection] = on.gateway.connections
        assert len(connection._queue) == 0
        writer.close()

    play(run, tmp_path, test)


def test_a_pipeline_does_not_pile_up_before_a_client_that_does_not_read(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        with socket.create_connection(("127.0.0.1", on.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 30_000)
            longest = 0
            async with asyncio.timeout(5):
                while not on.gateway.connections:
                    await asyncio.sleep(0.001)
                [connection] = on.gateway.connections
                while on.gateway.connections:  # until keep_alive_s is over
                    longest = max(longest, len(connection._queue))
                    await asyncio.sleep(0.002)
        assert 0 < longest <= 2 * LIMITS.pipelined

    play(run, tmp_path, test)


def test_a_client_that_reads_slowly_has_time_while_it_reads(run: Run, tmp_path: Path) -> None:
    """`keep_alive_s` is for a client that does nothing, not for one whose line is slow."""

    async def main() -> None:
        body = b'{"object":"chat.completion","choices":[],"x":"%b"}' % (b"x" * (24 << 20))
        upstream = Upstream(whole(body))
        patient = msgspec.structs.replace(LIMITS, keep_alive_s=60.0)
        async with rig(tmp_path / "data", policy([await upstream.start()], limits=patient)) as on:
            reader, writer = await on.connect()
            writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))))
            await reader.readuntil(b"\r\n\r\n")
            [connection] = on.gateway.connections
            for _ in range(3):
                unsent = connection._transport.get_write_buffer_size()
                await reader.readexactly(4 << 20)
                while connection._transport.get_write_buffer_size() > unsent - (2 << 20):
                    await asyncio.sleep(0.001)
                connection.expire()
                assert on.gateway.connections
            connection.expire()  # nothing was read since
            await until(lambda: not on.gateway.connections)
            writer.close()
        await upstream.stop()

    run(main, blocking_s=5.0)
