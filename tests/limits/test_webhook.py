"""Warnings against a real HTTP server: signed, retried while it is down, never in anybody's way."""

import asyncio
import base64
import hashlib
import hmac
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from interlock.errors import LocalError
from interlock.limits import Crossing, Limit, Webhook, webhook
from interlock.testing.clock import ManualClock

SECRET = b"a secret of some length"
ENCODED = "whsec_" + base64.b64encode(SECRET).decode()
LIMIT = Limit(name="t", measure="nanousd", amount=1_000, window="day", warn_at=(50,))
DEADLINE_S = 20.0
Run = Callable[..., object]


def crossing(used: int) -> Crossing:
    return Crossing(limit=LIMIT, scope=(), percent=50, used=used, ends_ns=1_700_006_400_000_000_000, at_ns=10**18)


class Receiver(ThreadingHTTPServer):
    """Keeps what it was sent; answers as told, or at last with 204."""

    daemon_threads = True

    def __init__(self, port: int, answers: list[int]) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers = answers
        super().__init__(("127.0.0.1", port), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append((self.path, headers, content))
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def receiver(port: int, *answers: int, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    server = Receiver(port, list(answers))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not what():
            await asyncio.sleep(0.01)


async def deliver(hook: Webhook, done: Callable[[], bool]) -> None:
    task = asyncio.ensure_future(hook.run())
    try:
        await until(done)
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_a_warning_is_signed_as_standard_webhooks(run: Run) -> None:
    async def main() -> None:
        with receiver(port) as server:
            hook = Webhook(f"http://127.0.0.1:{port}/hooks/limits?a=b", ENCODED, ManualClock())
            hook.send(crossing(600))
            await deliver(hook, lambda: hook.delivered == 1)
        [(path, headers, content)] = server.got
        assert path == "/hooks/limits?a=b"
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
        mac = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mac}"
        assert headers["webhook-timestamp"] == "1700000000"
        assert headers["webhook-id"] == crossing(1).id
        assert headers["content-type"] == "application/json"
        assert msgspec.json.decode(content)["data"]["used"] == "600"

    port = free_port()
    run(main)


def test_a_receiver_that_is_down_gets_it_when_it_is_up(run: Run) -> None:
    async def main() -> None:
        hook = Webhook(f"http://127.0.0.1:{port}", ENCODED, ManualClock(), pause_s=0.02)
        for used in (501, 502):
            hook.send(crossing(used))
        task = asyncio.ensure_future(hook.run())
        await asyncio.sleep(0.1)  # nobody is there yet
        assert (hook.delivered, hook.dropped) == (0, 0)
        with receiver(port, 500, 429, 302) as server:
            await until(lambda: hook.delivered == 2)
        task.cancel()
        await asyncio.wait([task])
        said = [msgspec.json.decode(content)["data"]["used"] for _, _, content in server.got]
        assert said == ["501", "501", "501", "501", "502"]
        assert {path for path, _, _ in server.got} == {"/"}, "a redirect is not followed"

    port = free_port()
    run(main)


def test_one_that_says_gone_is_not_asked_again_and_one_that_never_answers_well_is_given_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        with receiver(port, 410, *[500] * 3) as server:
            hook = Webhook(f"http://127.0.0.1:{port}", "plain", ManualClock(), pause_s=0.001)
            for used in (501, 502, 503):
                hook.send(crossing(used))
            await deliver(hook, lambda: hook.delivered == 1)
        assert hook.dropped == 2
        assert len(server.got) == 1 + 3 + 1

    monkeypatch.setattr(webhook, "TRIES", 3)
    port = free_port()
    run(main)


def test_a_full_queue_drops_the_oldest_and_sending_never_waits(run: Run) -> None:
    async def main() -> None:
        hook = Webhook(f"http://127.0.0.1:{port}", ENCODED, ManualClock(), pause_s=0.01)
        for used in range(webhook.QUEUE_MAX + 3):
            hook.send(crossing(used))
        assert hook.dropped == 3
        with receiver(port) as server:
            await deliver(hook, lambda: hook.delivered == webhook.QUEUE_MAX)
        assert msgspec.json.decode(server.got[0][2])["data"]["used"] == "3"

    port = free_port()
    run(main)


def test_tls_is_verified(tmp_path: Path, run: Run) -> None:
    """A certificate that nobody vouches for gets no warning."""

    async def main() -> None:
        with receiver(port, tls=context) as server:
            hook = Webhook(f"https://localhost:{port}", ENCODED, ManualClock(), pause_s=0.001)
            hook.send(crossing(501))
            await deliver(hook, lambda: hook.dropped == 1)
        assert server.got == []

    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"]
    more = ["/CN=localhost", "-days", "1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *more], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    port = free_port()
    run(main)


@pytest.mark.parametrize("url", ["", "ftp://h/x", "http://", "http://u:secret@h/", "http://h/#x", "h/x"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(LocalError) as wrong:
        Webhook(url, ENCODED, ManualClock())
    assert "secret" not in str(wrong.value)


def test_a_secret_that_is_not_base64_is_said_and_none_is_shown() -> None:
    with pytest.raises(LocalError) as wrong:
        Webhook("http://h", "whsec_!!", ManualClock())
    assert "!!" not in str(wrong.value)
    assert "secret of" not in repr(Webhook("http://h", ENCODED, ManualClock()))
