"""The proxy with real clients (curl, ssl) and real servers, over its Unix socket."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.runtime.hands.egress.place import echo, http, place

from interlock.errors import LocalError
from interlock.runtime.hands.egress import Egress, Limits

Run = Callable[..., object]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate and key for a.example and b.example."""
    path = tmp_path / "pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=a.example", "-addext", "subjectAltName=DNS:a.example,DNS:b.example", "-keyout", path,
         "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_listed_host_is_reached_and_told_once_with_its_bytes(run: Run, tmp_path: Path, scheme: str) -> None:
    async def main() -> None:
        async with place(tmp_path, http) as there:
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            code, out = await there.curl(f"http://a.example:{there.port}/x?y", "-H", "x-mine: 1", scheme=scheme)
            assert (
                code == 0 and "GET /x?y HTTP/1.1" in out and f"ost: a.example:{there.port}" in out and "x-mine" in out
            )
            told = await there.one()
            assert (told.host, told.port, told.allowed, told.why) == ("a.example", there.port, True, "")
            assert (told.protocol, told.address) == ("http" if scheme == "http" else "tcp", "127.0.0.1")
            assert told.sent_bytes > 50 and told.received_bytes > 90

    run(main)


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_tls_passes_to_the_named_host_untouched(run: Run, tmp_path: Path, certificate: Path, scheme: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def main() -> None:
        async with place(tmp_path, http, context) as there:
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            url = f"https://a.example:{there.port}/"
            code, out = await there.curl("--cacert", f"{certificate}.crt", url, scheme=scheme)
            assert code == 0 and "GET / HTTP/1.1" in out, out
            assert (await there.one()).allowed

    run(main)


def test_another_server_name_than_the_tunnels_is_cut(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, http) as there:
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            code, out = await there.curl(
                "-k",
                "--connect-to",
                f"b.example:{there.port}:a.example:{there.port}",
                f"https://b.example:{there.port}/",
            )
            assert code != 0, out
            told = await there.one()
            assert not told.allowed and told.host == "a.example" and "b.example" in told.why and told.sent_bytes == 0

    run(main)


@pytest.mark.parametrize(
    ("url", "why"),
    [("http://c.example/", "not listed"), ("https://c.example/", "not listed"), ("http://a.example/", "not listed"),
     ("http://127.0.0.1:1/", "not listed"), ("http://169.254.169.254/latest/meta-data/", "not listed"),
     ("https://[::1]/", "not listed")],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_whoever_is_not_listed_is_not_even_resolved(run: Run, tmp_path: Path, scheme: str, url: str, why: str) -> None:
    async def main() -> None:
        async with place(tmp_path, http) as there:
            await there.open("a.example:443", "127.0.0.1:2")
            code, out = await there.curl(url, scheme=scheme)
            assert "403 Forbidden" in out if scheme == "http" else code == 97, out
            told = await there.one()
            assert (told.allowed, told.why, there.asked) == (False, why, [])

    run(main)


def test_a_listed_name_is_no_way_into_this_machine(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, http) as there:
            await there.open(f"a.example:{there.port}", f"b.example:{there.port}", f"127.0.0.2:{there.port}")
            assert b"403" in await there.say(f"GET http://a.example:{there.port}/ HTTP/1.1\r\n\r\n".encode())
            told = await there.one()
            assert not told.allowed and "127.0.0.1 is loopback" in told.why

    run(main)


def test_a_name_is_resolved_once_and_the_address_looked_at_is_the_one_connected_to(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, http) as there:
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            back = await there.say(f"GET http://a.example:{there.port}/ HTTP/1.1\r\n\r\n".encode())
            assert b"200 OK" in back and there.asked == ["a.example"]

    run(main)


@pytest.mark.parametrize(
    ("data", "back", "host"),
    [
        (b"GET http://a.example:%d/ HTTP/1.1\r\nHost: c.example\r\n\r\n", b"400", ""),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"400", ""),
        (b"CONNECT a.example HTTP/1.1\r\n\r\n", b"400", "a.example"),
        (b"CONNECT a.example:%d HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: c.example\r\n\r\n", b"200", "a.example"),
        (b"GET http://a.example:%d/ HTTP/1.1\r\n\r\nGET http://c.example/ HTTP/1.1\r\n\r\n", b"", "a.example"),
        (b"GET http://a.example/" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n", b"431", ""),
        (b"GET http://a.exa", b"400", ""),
        (b"\x16\x03\x01", b"", ""),
        (b"\x04\x01\0\x50\x7f\0\0\1\0", b"", ""),
        (b"\x05\x01\x02", b"\x05\xff", ""),
        (b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0", b"\x05\x00\x05\x07", "0.0.0.0"),
        (b"\x05\x01\x00\x05\x02\x00\x01\x01\1\1\1\0\x50", b"\x05\x00\x05\x07", "1.1.1.1"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x09c.example\0\x50", b"\x05\x00\x05\x02", "c.example"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x05127.1\0\x50", b"\x05\x00\x05\x02", "127.1"),
    ],
)  # fmt: skip
def test_what_agrees_with_nothing_is_refused_and_told(
    run: Run, tmp_path: Path, data: bytes, back: bytes, host: str
) -> None:
    async def main() -> None:
        async with place(tmp_path, http) as there:
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            answered = await there.say(data.replace(b"%d", str(there.port).encode()))
            assert back in answered[:20] and b"HTTP/1.1 200 OK" not in answered
            told = await there.one()
            assert (told.allowed, told.host) == (False, host) and told.why
            assert told.protocol == ("udp" if b"\x05\x03" in data else told.protocol)

    run(main)


def test_a_protocol_in_which_the_server_speaks_first_passes(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, echo) as there:
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            load = b"EHLO box\r\n" + bytes(range(256)) * 4000
            back = await there.say(f"CONNECT a.example:{there.port} HTTP/1.1\r\n\r\n".encode() + load)
            assert back == b"HTTP/1.1 200 Connection established\r\n\r\nhello\n" + load
            told = await there.one()
            assert (told.sent_bytes, told.received_bytes, told.why) == (len(load), len(load) + 6, "")

    run(main)


@pytest.mark.parametrize("data", [b"", b"G", b"\x05\x01", b"CONNECT a.example:%d HTTP/1.1\r\n\r\nGET / HT"])
def test_who_does_not_say_what_it_wants_is_cut(run: Run, tmp_path: Path, data: bytes) -> None:
    async def main() -> None:
        async with place(tmp_path, echo) as there:
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            async with asyncio.timeout(5):
                await there.say(data.replace(b"%d", str(there.port).encode()), end=False)
            assert (await there.one()).why

    run(main)


def test_a_quiet_connection_ends(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, echo) as there:
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            async with asyncio.timeout(6):
                await there.say(f"CONNECT a.example:{there.port} HTTP/1.1\r\n\r\n".encode(), end=False)
            assert "not a byte" in (await there.one()).why

    run(main)


def test_bytes_connections_and_attempts_are_bounded(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, echo) as there:
            there.egress = Egress(
                tmp_path, resolve=there.resolve, limits=Limits(connections=2, attempts=6, bytes=100_000, head_s=30)
            )
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            idle = [await asyncio.open_unix_connection(there.socket) for _ in range(2)]
            await asyncio.sleep(0.05)
            assert await there.say(b"") == b""
            assert "2 connections are open" in (await there.one()).why
            for _, writer in idle:
                writer.close()
            await asyncio.sleep(0.05)
            head = f"CONNECT a.example:{there.port} HTTP/1.1\r\n\r\n".encode()
            assert len(await there.say(head + b"\0" * 200_000)) < 100_100
            assert "as many bytes" in there.told[-1].why
            for _ in range(9):
                await there.say(b"GET http://c.example/ HTTP/1.1\r\n\r\n")
            await there.egress.close("box")
            assert len(there.told) == 7 and "5 more attempts" in there.told[-1].why

    run(main)


def test_questions_for_names_are_answered_and_told(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, http) as there:
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            asked = [b"\0\1\1\0\0\1" + bytes(6) + b"\1" + n + b"\7example\0\0\1\0\1" for n in (b"a", b"c")]
            back = await there.say(b"".join(len(q).to_bytes(2, "big") + q for q in asked))
            assert back[2:].find(bytes((127, 64, 0, 1))) > 0
            assert [(t.host, t.port, t.protocol, t.allowed) for t in there.told] == [
                ("a.example", 53, "dns", True), ("c.example", 53, "dns", False)
            ]  # fmt: skip
            assert there.asked == []
            there.told.clear()
            head = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x40\0\1" + there.port.to_bytes(2, "big")
            assert b"200 OK" in await there.say(head + b"GET / HTTP/1.1\r\nHost: a.example:%d\r\n\r\n" % there.port)
            assert (await there.one()).host == "a.example"

    run(main)


def test_closing_ends_what_is_open_and_tells_it(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, echo) as there:
            await there.open(f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            reader, writer = await asyncio.open_unix_connection(there.socket)
            writer.write(f"CONNECT a.example:{there.port} HTTP/1.1\r\n\r\n".encode())
            await reader.readuntil(b"hello\n")
            await there.egress.close("box")
            await there.egress.close("box")
            assert await reader.read() == b"" and not there.socket.exists()
            assert (await there.one()).why == "the sandbox is closed"
            writer.close()

    run(main)


def test_a_socket_left_by_a_killed_process_is_replaced_and_names_are_checked(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "box").mkdir()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / "box/egress.sock"))
        async with place(tmp_path, http) as there:
            await there.open()
            assert there.socket.stat().st_mode & 0o777 == 0o600
            for bad in ("box", "../x", "", ".", "a/b", "x" * 65):
                with pytest.raises(LocalError):
                    await there.egress.open(bad, (), there.told.append)
            with pytest.raises(LocalError) as refused:
                await there.egress.open("other", ("*",), there.told.append)
            assert refused.value.field == "resources.egress[0]"
            deep = Egress(tmp_path / ("x" * 100))  # a path that is longer than the kernel's names for sockets
            assert (await deep.open("box", (), there.told.append)).is_socket()
            await deep.close("box")

    run(main)


def test_curl_is_there() -> None:
    assert shutil.which("curl"), "install curl: the tests' client"
