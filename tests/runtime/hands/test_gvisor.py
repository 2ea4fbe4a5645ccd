"""gVisor: the whole suite, and what is its own: a kernel that comes and goes, and dies with us."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from interlock.clock import SystemClock
from interlock.errors import HandsUnavailable, LocalError
from interlock.runtime.hands import Command, Hands, Resources, Sandbox
from interlock.runtime.hands.egress import Connected, Egress
from interlock.runtime.hands.gvisor import Gvisor, GvisorBox
from interlock.runtime.hands.gvisorkernel import sweep
from interlock.runtime.hands.workspaces import Workspaces
from interlock.testing.hands_contained import ContainedContract
from interlock.testing.hands_contract import execute, on_hands, sh, until
from interlock.testing.hands_shells import ShellsContract


def of(box: Sandbox, kind: str) -> list[int]:
    """Processes of a sandbox: `boot` its kernel, `gofer` its files, `run` our child that waits for them."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0") if path.name.isdigit() else []
            if kind.encode() in words and any(box.id.encode() in word for word in words):
                found.append(int(path.name))
    return found


class Tried(Gvisor):
    """Hands that have had their trial: `test_nothing_is_missing_where_it_is_tested` makes it, for all of them."""

    async def provision(self, session: str, workspace: str, resources: Resources) -> GvisorBox:
        if not self._found:
            assert self._look() == []
            self._found = True
        return await super().provision(session, workspace, resources)


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Hands]:
    hands = Tried(Workspaces(directory / "workspaces", SystemClock()), SystemClock())
    try:
        yield hands
    finally:
        await hands.close()


class TestGvisor(ContainedContract, ShellsContract):
    strength = "kernel"
    loops = ("uvloop",)  # a server's: each start of a kernel takes half a second, and bubblewrap's tests take both

    def open_hands(self, directory: Path) -> AbstractAsyncContextManager[Hands]:
        return opened(directory)

    def kill_from_outside(self, box: Sandbox) -> None:
        (pid,) = of(box, "boot")
        os.kill(pid, signal.SIGKILL)

    @on_hands
    async def test_cpu_time_is_bounded(self, hands: Hands) -> None:
        """As the contract's; a kernel that has used up its share takes a while to hear that the time is up."""
        box = await self.box(hands, cpus=0.1)
        ran = await sh(box, "while :; do :; done", time_s=4)
        assert ran.stop.status == "timed_out"
        assert 0.02 < ran.stop.cpu_s < 0.1 * ran.stop.duration_s + 0.2, ran.stop

    @on_hands
    async def test_only_regular_files_are_read_and_written(self, hands: Hands) -> None:
        """As the contract's, but for named pipes and sockets: they are the kernel's inside, and no files out here."""
        box = await self.box(hands)
        await sh(box, "mkdir dir; ln -s loop loop; ln -s missing dangling")
        for path in ("dir", "loop", "missing", ".", ""):
            with pytest.raises(LocalError):
                await box.read(path)
        for path in ("dir", "loop", "dir/", ".", ""):
            with pytest.raises(LocalError):
                await box.write(path, b"x")
        piped = await sh(box, "mkfifo fifo && (echo through > fifo & cat fifo); test -p fifo && echo pipe")
        assert piped.text == "through\npipe\n"
        with pytest.raises(LocalError):
            await box.read("fifo")

    @on_hands
    async def test_a_kernel_goes_when_nothing_runs_and_comes_when_something_does(self, hands: Hands) -> None:
        assert isinstance(hands, Gvisor)
        hands.idle_s = 0.3
        box = await self.box(hands)
        assert of(box, "boot") == []
        assert (await sh(box, "cd /tmp; echo kept > kept; sleep 0.5; echo one")).text == "one\n"
        assert len(of(box, "boot")) == 1

        async def gone() -> bool:
            return not any(of(box, kind) for kind in ("boot", "gofer", "run")) and not hands.directory(box.id).exists()

        await until(gone, "the kernel goes")
        assert (await sh(box, "cd /tmp; cat kept")).text == "kept\n"
        await box.destroy()
        assert await gone()

    @on_hands
    async def test_another_kernel_answers(self, hands: Hands) -> None:
        box = await self.box(hands)
        assert "gVisor" in (await sh(box, "dmesg")).text
        assert (await sh(box, "cat /proc/version")).text != Path("/proc/version").read_text()
        (pid,) = of(box, "boot")
        status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert (status["CapEff"], status["Seccomp"], status["NoNewPrivs"]) == ("0" * 16, "2", "1")

    @on_hands
    async def test_nobody_inside_makes_himself_root_over_the_network(self, hands: Hands) -> None:
        box = await self.box(hands)
        ran = await sh(box, "unshare -Ur ip addr del 127.0.0.1/8 dev lo; unshare -Ur true; ip addr show lo")
        assert ran.stderr.count(b"unshare failed: Operation not permitted") == 2, ran.stderr
        assert "127.0.0.1/8" in ran.text

    @on_hands
    async def test_a_kernel_that_does_not_start_says_why(self, hands: Hands) -> None:
        assert isinstance(hands, Gvisor)
        box = await self.box(hands)
        assert (await sh(box, "echo on")).text == "on\n"
        hands.runsc = "/bin/false"
        other = await self.box(hands, "other")
        with pytest.raises(HandsUnavailable, match="gVisor did not start"):
            await sh(other, "echo on")
        assert not hands.directory(other.id).exists()

    @on_hands
    async def test_what_is_missing_is_said(self, hands: Hands) -> None:
        assert isinstance(hands, Gvisor)
        (reason,) = await Gvisor(hands.workspaces, SystemClock(), program="no-such-runsc").missing()
        assert "deploy/gvisor.sh" in reason
        plain = Workspaces(hands.workspaces.root, SystemClock(), own_users=False)
        (reason,) = await Gvisor(plain, SystemClock()).missing()
        assert "root" in reason
        (reason,) = await Gvisor(hands.workspaces, SystemClock(), program="/bin/false").missing()
        assert "did not start" in reason
        with pytest.raises(HandsUnavailable, match="nothing here lets them out"):
            await self.box(hands, egress=("a.example:443",))


HOST = """
import asyncio, sys
from pathlib import Path
from interlock.clock import SystemClock
from interlock.runtime.hands import Command, Resources
from interlock.runtime.hands.gvisor import Gvisor, GvisorBox
from interlock.runtime.hands.workspaces import Workspaces

async def main():
    hands = Gvisor(Workspaces(Path(sys.argv[1]), SystemClock()), SystemClock())
    box = await hands.provision("s", "w", Resources())
    async for output in box.execute(Command(argv=("sh", "-c", "echo up; exec sleep 1000"))):
        print(box.id, output, flush=True)

asyncio.run(main())
"""


def test_a_sandbox_dies_with_its_host_and_the_next_start_clears_away(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOST, tmp_path / "workspaces"], stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        said = [host.stdout.readline() for _ in range(2)]
        assert "up" in said[1], said
        id = said[0].split()[0]
        assert len(mentioning(id, host.pid)) >= 4, "run, gofer, boot, exec"
        (left,) = Path("/run/interlock-hands").glob(f"{host.pid}-*/gvisor/{id}")
        host.kill()
    again = Gvisor(Workspaces(tmp_path / "workspaces", SystemClock()), SystemClock())

    async def main() -> None:
        async def dead() -> bool:
            return not mentioning(id)

        await until(dead, "all of it is dead")
        assert await again.missing() == []
        assert not left.exists()

    asyncio.run(main())


def test_what_outlived_its_host_all_the_same_is_killed(tmp_path: Path) -> None:
    argument = f"--root={tmp_path}/4194304-1/gvisor/sbx_1/state"  # not of STAGES, which servers of other tests sweep
    with subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); input()", argument],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as left:  # fmt: skip
        assert left.stdout is not None and left.stdout.readline()
        assert sweep(tmp_path) == 1
        assert left.wait(10) == -signal.SIGKILL
    assert sweep(tmp_path) == 0


def mentioning(id: str, *others: int) -> list[int]:
    """Processes with a sandbox's id among their arguments."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) not in {os.getpid(), *others}:
            with contextlib.suppress(OSError):
                if id.encode() in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
    return found


CLIENT = """
import json, socket, urllib.request
socket.setdefaulttimeout(10)
def tried(what):
    try:
        return what()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
def get(url, proxies):
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies)).open(url).read().decode()
ours = {"http": "http://127.0.0.1:3128"}
print(json.dumps([
    tried(lambda: get("http://a.example:PORT/proxied", ours)),
    tried(lambda: get("http://a.example:PORT/direct", {})),
    tried(lambda: get("http://c.example:PORT/", {})),
    tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53))),
    tried(lambda: open("/run/egress/egress.sock")),
]))
"""


def test_a_way_out_with_and_without_a_proxy_and_what_is_told_of_it(tmp_path: Path) -> None:
    told: list[Connected] = []
    directory = tempfile.mkdtemp()  # a short path, as sockets need

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + head)
        writer.close()

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def main() -> str:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        hands = Gvisor(
            Workspaces(tmp_path / "workspaces", SystemClock()),
            SystemClock(),
            egress=Egress(Path(directory), resolve=resolve),
            report=lambda session, connected: told.append(connected),
        )
        box = await hands.provision("s", "w", Resources(egress=(f"a.example:{port}", f"127.0.0.1:{port}")))
        ran = await execute(box, Command(argv=("/usr/bin/python3", "-c", CLIENT.replace("PORT", str(port)))))

        async def told_of_it() -> bool:
            return any(one.protocol == "udp" for one in told)

        await until(told_of_it, "the forwarder tells what went around it")
        await box.destroy()
        server.close()
        await server.wait_closed()
        return ran.text

    proxied, direct, unlisted, datagram, door = msgspec.json.decode(asyncio.run(main()))
    assert "GET /proxied" in proxied and "GET /direct" in direct
    assert "Name or service not known" in unlisted
    assert datagram == 1, "taken, and refused by the sandbox's own kernel"
    assert "Error" in door, "only root inside may connect to the proxy's socket, which is the forwarder"
    assert {(one.host, one.protocol, one.allowed) for one in told} == {
        ("a.example", "http", True),
        ("a.example", "dns", True),
        ("a.example", "tcp", True),
        ("c.example", "dns", False),
        ("8.8.8.8", "udp", False),
    }
