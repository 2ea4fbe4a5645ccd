"""A tool server of the handshake revisions that does what a test tells it to, and remembers every request's headers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

Answer = tuple[int, dict[str, str], bytes]
Script = Callable[["Rogue", dict[str, Any], dict[str, str]], Any]
"""(server, params of tools/call, headers) -> a result, or (status, headers, body)."""


def tool(name: str, description: str = "does something", **schema: Any) -> dict[str, Any]:
    """One tool as a server lists it."""
    return {"name": name, "description": description, "inputSchema": {"type": "object", **schema}}


def said(text: str) -> dict[str, Any]:
    """A result of one text."""
    return {"content": [{"type": "text", "text": text}]}


class Rogue:
    """What it offers may be changed while it runs."""

    def __init__(self) -> None:
        self.tools: list[dict[str, Any]] = [tool("work")]
        self.scripts: dict[str, Script] = {"work": lambda *_: said("done")}
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        """(HTTP method, headers in lower case, the message)"""
        self.sessions: set[str] = set()
        self.before: Callable[[dict[str, Any], dict[str, str]], Answer | None] = lambda message, headers: None
        """Asked first: what it returns is the answer."""
        self.port = 0

    @property
    def url(self) -> str:
        """Of its endpoint."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def calls(self, name: str) -> list[dict[str, str]]:
        """Headers of each call of a tool."""
        return [h for _, h, m in self.seen if m.get("method") == "tools/call" and m["params"]["name"] == name]

    def answer(self, message: dict[str, Any], headers: dict[str, str]) -> Answer:
        """To one POST."""
        if found := self.before(message, headers):
            return found
        method, id_ = message.get("method"), message.get("id")
        if id_ is None:
            return 202, {}, b""
        if method == "initialize":
            session = f"upstream-{len(self.seen)}"
            self.sessions.add(session)
            result = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "rogue", "version": "1"},
            }
            return self._json(id_, result, {"mcp-session-id": session})
        if method == "server/discover":
            error = {"jsonrpc": "2.0", "id": id_, "error": {"code": -32601, "message": "no"}}
            return 404, {"content-type": "application/json"}, json.dumps(error).encode()
        if headers.get("mcp-session-id") not in self.sessions:
            return 404, {}, b""
        if method == "tools/list":
            return self._json(id_, {"tools": self.tools})
        if method == "tools/call":
            found = self.scripts[message["params"]["name"]](self, message["params"], headers)
            return found if isinstance(found, tuple) else self._json(id_, found)
        return self._json(id_, {})

    def _json(self, id_: Any, result: Any, headers: dict[str, str] | None = None) -> Answer:
        body = json.dumps({"jsonrpc": "2.0", "id": id_, "result": result}).encode()
        return 200, {"content-type": "application/json", **(headers or {})}, body


@contextmanager
def rogue(port: int = 0) -> Iterator[Rogue]:
    """One on a port of this machine."""
    server = Rogue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            message = msgspec.json.decode(body) if body else {}
            server.seen.append((self.command, headers, message))
            status, told, answer = server.answer(message, headers) if body else (405, {}, b"")
            try:
                self.send_response(status)
                for name, value in told.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except OSError:
                pass  # whoever asked has had enough

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the library's names

    class Http(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who hangs up has had enough."""

    http = Http(("127.0.0.1", port), Handler)
    server.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
