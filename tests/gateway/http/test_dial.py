"""Ways to an upstream, for real: TLS that is verified, and a proxy's tunnel."""

import asyncio
import base64
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.gateway.answers import CHAT
from tests.gateway.http.test_client import Box, until

from interlock.gateway.http import Pool, dialler
from interlock.gateway.http.dial import proxy_for
from interlock.testing.loops import run_on

Run = Callable[..., Any]
REQUEST = b"POST / HTTP/1.1\r\nhost: upstream.test\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) of `localhost` and `upstream.test`, signed by itself."""
    directory = tmp_path_factory.mktemp("tls")
    made, key = directory / "certificate.pem", directory / "key.pem"
    names = "subjectAltName=DNS:localhost,DNS:upstream.test"
    what = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", names]
    subprocess.run(["openssl", *what, "-keyout", key, "-out", made], check=True, capture_output=True)
    return made, key


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(CHAT), CHAT))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve(certificate: tuple[Path, Path] | None) -> tuple[asyncio.Server, int]:
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


async def _ask(pool: Pool, times: int = 2) -> Box:
    for _ in range(times):
        box = Box()
        pool.request(REQUEST, box)
        while not box.ended and not box.failures:
            await asyncio.sleep(0.005)
    return box


def _play(run: Run, test: Callable[[asyncio.AbstractEventLoop], Any]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await test(asyncio.get_running_loop())

    run(main, blocking_s=1.0)  # handshakes compute


def test_tls_with_a_private_ca(run: Run, certificate: tuple[Path, Path]) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        server, port = await _serve(certificate)
        url = urlsplit(f"https://localhost:{port}/v1")
        pool = Pool(loop, dialler(loop, url, ca_bundle=str(certificate[0]), timeout_s=3), 2)
        box = await _ask(pool)
        assert (box.body, box.failures, pool._open) == (CHAT, [], 1)
        pool.close()
        await until(lambda: pool._open == 0)
        server.close()

    _play(run, test)


@pytest.mark.parametrize(("host", "trusted"), [("localhost", False), ("127.0.0.1", True)])
def test_a_certificate_that_does_not_verify(certificate: tuple[Path, Path], host: str, trusted: bool) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        server, port = await _serve(certificate)
        bundle = str(certificate[0]) if trusted else ""
        pool = Pool(loop, dialler(loop, urlsplit(f"https://{host}:{port}"), ca_bundle=bundle, timeout_s=3), 2)
        [failure] = (await _ask(pool, 1)).failures
        assert (failure.code, failure.sent) == ("upstream_unreachable", False)
        assert "CERTIFICATE_VERIFY_FAILED" in failure.message
        assert pool._open == 0
        server.close()

    # On uvloop alone: asyncio's own server complains of a client that breaks the handshake off.
    _play(partial(run_on, "uvloop"), test)


def test_a_handshake_that_stalls_is_given_up(run: Run, certificate: tuple[Path, Path]) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        server, port = await _serve(None)  # waits for a request that a TLS hello is not
        url = urlsplit(f"https://localhost:{port}")
        pool = Pool(loop, dialler(loop, url, ca_bundle=str(certificate[0]), timeout_s=0.2), 2)
        [failure] = (await _ask(pool, 1)).failures
        assert (failure.code, pool._open) == ("upstream_unreachable", 0)
        server.close()
        await asyncio.sleep(0.05)

    _play(run, test)


class Proxy:
    """Tunnels every name to this machine, or says what it is told to."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n") -> None:
        self.answer = answer
        self.seen: list[bytes] = []

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._tunnel, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        assert isinstance(port, int)
        return port

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.seen.append(head)
        writer.write(self.answer)
        if not self.answer.startswith(b"HTTP/1.1 200"):
            writer.close()
            return
        port = int(head.split(b" ")[1].rpartition(b":")[2])
        there, onward = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(reader, onward))
            both.create_task(_pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_proxy(
    run: Run, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        proxy = Proxy()
        server, port = await _serve(certificate if scheme == "https" else None)
        monkeypatch.setenv(f"{scheme}_proxy", f"http://me:p%40ss@127.0.0.1:{await proxy.start()}")
        url = urlsplit(f"{scheme}://upstream.test:{port}/v1")
        pool = Pool(loop, dialler(loop, url, ca_bundle=str(certificate[0]), timeout_s=3), 2)
        box = await _ask(pool)
        assert (box.body, box.failures, pool._open) == (CHAT, [], 1)
        [seen] = proxy.seen
        assert seen.startswith(b"CONNECT upstream.test:%d HTTP/1.1\r\nHost: upstream.test:%d\r\n" % (port, port))
        assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:p@ss") in seen
        pool.close()
        await until(lambda: pool._open == 0)
        server.close()
        proxy.server.close()
        await asyncio.sleep(0.05)

    _play(run, test)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"", "closed"),
        (b"SSH-2.0\r\n\r\n", "refused CONNECT"),
        (b"x" * 20_000, "too long"),
    ],
)
def test_a_proxy_that_refuses(run: Run, monkeypatch: pytest.MonkeyPatch, answer: bytes, why: str) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        proxy = Proxy(answer)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{await proxy.start()}")
        pool = Pool(loop, dialler(loop, urlsplit("https://upstream.test"), ca_bundle="", timeout_s=1), 2)
        [failure] = (await _ask(pool, 1)).failures
        assert failure.code == "upstream_unreachable"
        assert why in failure.message
        assert pool._open == 0
        proxy.server.close()

    _play(run, test)


def test_no_proxy_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "proxy.test:3128")
    monkeypatch.setenv("no_proxy", "inside.test")
    found = proxy_for(urlsplit("https://api.test/v1"))
    assert found is not None and (found.hostname, found.port) == ("proxy.test", 3128)
    for host in ("localhost", "127.0.0.1", "127.1.2.3", "[::1]", "inside.test", "a.inside.test"):
        assert proxy_for(urlsplit(f"https://{host}:8443/v1")) is None


@pytest.mark.parametrize(
    ("base_url", "cause"),
    [
        ("http://127.0.0.1:{closed}/v1", "Connect call failed|Connection refused"),
        ("http://[::1]:{closed}/v1", "Connect call failed|Connection refused|Cannot assign|unreachable"),
        ("http://nowhere.invalid/v1", "not known|resolution|No address"),
        ("http://" + "a" * 70 + ".test/v1", "label|too long|not known"),
        ("https://localhost:{plain}/v1", "SSL|TLS|WRONG_VERSION"),
    ],
)
def test_why_an_upstream_cannot_be_reached(run: Run, base_url: str, cause: str) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 No TLS here\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = urlsplit(base_url.format(closed=unused.getsockname()[1], plain=port))
            pool = Pool(loop, dialler(loop, url, ca_bundle="", timeout_s=5), 1)
            box = Box()
            pool.request(REQUEST + b"authorization: Bearer secret", box)
            await until(lambda: bool(box.failures), 8)
        [failure] = box.failures
        assert (failure.code, failure.sent) == ("upstream_unreachable", False)
        assert re.search(cause, failure.message), failure.message
        assert "secret" not in failure.message
        server.close()

    _play(run, test)


def test_an_upstream_on_ipv6(run: Run) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")

    async def test(loop: asyncio.AbstractEventLoop) -> None:
        peers: list[str] = []

        class Named(Box):
            def on_head(self, status: int, headers: Mapping[bytes, bytes], peer: str) -> None:
                peers.append(peer)

        server = await asyncio.start_server(_answer, "::1", 0)
        port = server.sockets[0].getsockname()[1]
        pool = Pool(loop, dialler(loop, urlsplit(f"http://[::1]:{port}/v1"), ca_bundle="", timeout_s=3), 1)
        box = Named()
        pool.request(REQUEST, box)
        await until(lambda: bool(box.ended or box.failures))
        assert (box.failures, peers) == ([], [f"[::1]:{port}"])
        pool.close()
        await until(lambda: pool._open == 0)
        server.close()

    _play(run, test)
