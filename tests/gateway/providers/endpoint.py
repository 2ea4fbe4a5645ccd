"""A small HTTP server in threads, for libraries that block: it answers from a script and keeps what it was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import msgspec


class Asked(NamedTuple):
    """One request. Names of headers are lower case."""

    target: str
    headers: dict[str, str]
    body: bytes


class Endpoint:
    """What to answer next: `status`, `answer` (JSON); `gate`, once it is set (it is, unless a test clears it)."""

    def __init__(self, answer: object) -> None:
        self.status = 200
        self.answer = answer
        self.asked: list[Asked] = []
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""


@contextmanager
def endpoint(answer: object) -> Iterator[Endpoint]:
    """Serves on a port of its own until the block ends."""
    script = Endpoint(answer)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            script.asked.append(Asked(self.path, {n.lower(): v for n, v in self.headers.items()}, body))
            script.gate.wait(30)
            said = msgspec.json.encode(script.answer)
            try:
                self.send_response(script.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)
            except OSError:  # whoever asked has gone
                return

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        script.gate.set()
        server.shutdown()
        thread.join(10)
        server.server_close()
