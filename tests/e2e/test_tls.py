"""TLS for clients and to upstreams, private authorities, and the way through a proxy."""

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from tests.e2e import certificates
from tests.e2e.calls import call
from tests.e2e.certificates import Certificates
from tests.e2e.configs import scripted
from tests.e2e.player import Player
from tests.e2e.server import Server, until
from tests.e2e.upstream import upstream
from tests.gateway.rig import FORMATS

from interlock.client import Agents

NAME = "upstream.test"  # a name that resolves nowhere (RFC 6761): only the proxy knows where it is


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("certificates"), "localhost", NAME)


@contextlib.contextmanager
def serving(tmp_path: Path, config: Path, **env: str) -> Iterator[Server]:
    """A server, ended at the end."""
    server = Server(tmp_path / "data", config=config, env=env).start()
    try:
        yield server
    finally:
        server.kill()


def test_clients_over_tls(tmp_path: Path, made: Certificates) -> None:
    with upstream(tmp_path / "upstream") as provider:
        tls = f'[server]\ntls = {{ certificate = "{made.certificate}", key = "{made.key}" }}\n'
        config = scripted(tmp_path / "interlock.toml", provider.port, more=tls)
        server = Server(tmp_path / "data", config=config).start(ready=False)
        try:
            context = ssl.create_default_context(cafile=str(made.authority))
            until(lambda: server.answers(server.port, "/readyz", context), "the server is ready")
            for format in FORMATS:
                for stream in (False, True):
                    answer = call(server.port, server.admin, f"{format}-{stream}", format, stream=stream, tls=context)
                    assert answer.status == 200 and answer.complete and b'"error"' not in answer.body
            with pytest.raises(ssl.SSLCertVerificationError):
                call(server.port, server.admin, "unverified", tls=ssl.create_default_context())
            assert not plain_is_answered(server.port)
            assert "unverified" not in provider.markers()
            assert server.stop() == 0
            assert "Traceback" not in server.said
        finally:
            server.kill()


def test_agents_reach_their_model_though_clients_need_tls(tmp_path: Path, made: Certificates) -> None:
    player = Player(tmp_path / "player", [{"text": "Over loopback."}]).start()
    config = tmp_path / "interlock.toml"
    config.write_text(
        f'default_tier = "main"\n[server]\ntls = {{ certificate = "{made.certificate}", key = "{made.key}" }}\n'
        '[deployments.recorded]\nprovider = "recorded"\nmodel = "m"\n'
        f'base_url = "http://127.0.0.1:{player.port}/v1"\nformats = ["messages"]\ncapabilities = ["tools"]\n'
        '[tiers]\nmain = ["recorded"]\n'
    )
    server = Server(tmp_path / "data", config=config).start(ready=False)
    try:
        until(lambda: server.answers(server.control_port, "/healthz"), "the control port answers")
        until(server.places.runtime_socket.is_socket, "agents can run")
        agents = Agents(f"http://127.0.0.1:{server.control_port}", server.admin)
        session = agents.run("hello")
        until(lambda: session.show()["status"] == "idle", "its turn has ended")
        ended = session.events()[-1]
        assert (ended["type"], ended["reason"]) == ("turn.ended", "done"), ended
        assert server.stop() == 0
    finally:
        server.kill()
        player.stop()


def plain_is_answered(port: int) -> bool:
    """Whether HTTP without TLS gets an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: i\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            return connection.recv(100).startswith(b"HTTP")
    return False


def test_an_sdk_over_tls(tmp_path: Path, made: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    with upstream(tmp_path / "upstream") as provider:
        tls = f'[server]\ntls = {{ certificate = "{made.certificate}", key = "{made.key}" }}\n'
        config = scripted(tmp_path / "interlock.toml", provider.port, more=tls)
        server = Server(tmp_path / "data", config=config).start(ready=False)
        try:
            until(server.places.admin_key.exists, "the admin's key")
            monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
            url = f"https://localhost:{server.port}/v1"
            with openai.OpenAI(base_url=url, api_key=server.admin, timeout=20) as client:
                answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "hello"}])
            assert answer.choices[0].message.content == "hi"
        finally:
            server.kill()


def test_an_upstream_with_a_private_authority(tmp_path: Path, made: Certificates) -> None:
    with upstream(tmp_path / "upstream", certificate=(made.certificate, made.key)) as provider:
        url = f"https://127.0.0.1:{provider.port}/v1"
        trusted = f'ca_bundle = "{made.authority}"'
        with serving(tmp_path, scripted(tmp_path / "a.toml", 0, base_url=url, deployment=trusted)) as server:
            for format in FORMATS:
                for stream in (False, True):
                    answer = call(server.port, server.admin, f"{format}-{stream}", format, stream=stream)
                    assert answer.status == 200 and answer.complete and b'"error"' not in answer.body
            assert server.stop() == 0
        with serving(tmp_path, scripted(tmp_path / "b.toml", 0, base_url=url)) as server:
            answer = call(server.port, server.admin, "untrusted")
            assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_unreachable")
            assert server.stop() == 0
        with serving(
            tmp_path, scripted(tmp_path / "b.toml", 0, base_url=url), SSL_CERT_FILE=str(made.authority)
        ) as server:
            assert call(server.port, server.admin, "trusted").status == 200
        assert "untrusted" not in provider.markers()


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    wrong = certificates.make(tmp_path / "wrong", "elsewhere.test")
    with upstream(tmp_path / "upstream", certificate=(wrong.certificate, wrong.key)) as provider:
        url, trusted = f"https://localhost:{provider.port}/v1", f'ca_bundle = "{wrong.authority}"'
        with serving(tmp_path, scripted(tmp_path / "a.toml", 0, base_url=url, deployment=trusted)) as server:
            answer = call(server.port, server.admin, "misnamed")
            assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_unreachable")
        assert provider.markers() == []


class Proxy(socketserver.ThreadingTCPServer):
    """CONNECT and nothing else; every name is a port of this machine."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.target = port
        self.asked: list[str] = []
        self.logins: list[str] = []
        self.status = b"200 Connection established"

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Tunnel(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server, client = self.server, self.request
        assert isinstance(server, Proxy)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        lines = head.decode().split("\r\n")
        server.asked.append(lines[0])
        server.logins += [line for line in lines if line.startswith("Proxy-Authorization")]
        client.sendall(b"HTTP/1.1 " + server.status + b"\r\n\r\n")
        if not server.status.startswith(b"200"):
            return
        with socket.create_connection(("127.0.0.1", server.target), timeout=10) as onward:
            back = threading.Thread(target=_copy, args=(onward, client), daemon=True)
            back.start()
            _copy(client, onward)
            back.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """A proxy that leads to `port`."""
    with Proxy(port) as started:
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield started
        finally:
            started.shutdown()
            thread.join(10)


def test_https_proxy_is_honoured(tmp_path: Path, made: Certificates) -> None:
    with (
        upstream(tmp_path / "upstream", certificate=(made.certificate, made.key)) as provider,
        proxy(provider.port) as way,
    ):
        url, trusted = f"https://{NAME}/v1", f'ca_bundle = "{made.authority}"'
        config = scripted(tmp_path / "a.toml", 0, base_url=url, deployment=trusted)
        with serving(tmp_path, config, HTTPS_PROXY=f"http://user:p%40ss@127.0.0.1:{way.port}") as server:
            for format in FORMATS:
                answer = call(server.port, server.admin, f"through-{format}", format, stream=True)
                assert answer.status == 200 and answer.complete and b'"error"' not in answer.body
            assert set(way.asked) == {f"CONNECT {NAME}:443 HTTP/1.1"}
            assert set(way.logins) == {"Proxy-Authorization: Basic dXNlcjpwQHNz"}
            assert len(provider.markers()) == len(FORMATS)
            assert server.stop() == 0
        way.status = b"403 Forbidden"
        with serving(tmp_path, config, HTTPS_PROXY=f"http://127.0.0.1:{way.port}") as server:
            answer = call(server.port, server.admin, "forbidden")
            assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_unreachable")
        asked = len(way.asked)
        with serving(tmp_path, config, HTTPS_PROXY=f"http://127.0.0.1:{way.port}", NO_PROXY=NAME) as server:
            assert call(server.port, server.admin, "direct").status == 502  # the name resolves nowhere
        assert len(way.asked) == asked
