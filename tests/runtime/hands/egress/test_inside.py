"""The forwarder, in a network namespace with nothing but loopback, in front of a real proxy."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from tests.runtime.hands.egress.place import Place, http, place

from interlock.runtime.hands.egress import Door, arguments, inside, parse
from interlock.testing.hands_contract import until

Run = Callable[..., object]
CLIENT = """
import json, socket, sys, urllib.request
socket.setdefaulttimeout(5)
def tried(what):
    try:
        return what()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
def get(url, proxy=None):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy} if proxy else {}))
    return opener.open(url).read().decode()
def steal():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 53))
port = int(sys.argv[1])
print(json.dumps([
    tried(lambda: get(f"http://a.example:{port}/proxied", "http://127.0.0.1:3128")),
    tried(lambda: get(f"http://a.example:{port}/direct")),
    tried(lambda: get("http://interlock.internal/direct")),
    tried(lambda: get(f"http://c.example:{port}/")),
    tried(lambda: get(f"http://127.0.0.1:{port}/")),
    tried(lambda: socket.create_connection(("198.51.100.1", 443))),
    tried(lambda: f"{socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('198.51.100.8', 53))} sent"),
    tried(steal),
]), flush=True)
"""

TOLD = {
    ("a.example", "tcp", True),
    ("c.example", "dns", False),
    ("198.51.100.1", "tcp", False),
    ("198.51.100.8", "udp", False),
}


async def in_namespace(there: Place, resolv: Path, allowed: tuple[str, ...]) -> list[str]:
    """What the client says in there."""
    begin = " ".join(arguments(str(there.socket), parse(allowed), True))
    script = (
        f"mount --bind {resolv} /etc/resolv.conf && ip link set lo up && "
        f"{{ {sys.executable} -I -S {inside.__file__} {begin} & }} && read -r _ <{resolv.parent}/go && "
        f"{sys.executable} -I -S {resolv.parent}/client.py {there.port}; read -r _ <{resolv.parent}/go; kill $!"
    )
    process = await asyncio.create_subprocess_exec(
        "unshare", "-n", "-m", "sh", "-c", script, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    await asyncio.to_thread((resolv.parent / "go").write_text, "\n")
    said = await process.stdout.readline()

    async def told_of_all() -> bool:
        return {(one.host, one.protocol, one.allowed) for one in there.told} >= TOLD

    await until(told_of_all, "what was tried is told, what went around the proxy too")
    await asyncio.to_thread((resolv.parent / "go").write_text, "\n")
    await process.stdout.read()  # until nobody holds it, or it would still be open when the loop is closed
    await process.wait()
    return msgspec.json.decode(said, type=list[str])


def test_programs_reach_whom_is_listed_with_and_without_a_proxy_and_nobody_else(run: Run, tmp_path: Path) -> None:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    (tmp_path / "client.py").write_text(CLIENT)
    subprocess.run(["mkfifo", tmp_path / "go"], check=True)

    async def main() -> None:
        async with place(tmp_path / "sockets", http) as there:
            allowed = (f"a.example:{there.port}", f"127.0.0.1:{there.port}")
            await there.open(*allowed, door=Door("127.0.0.1", there.port, lambda: "ours"))
            said = await in_namespace(there, resolv, allowed)
            assert "GET /proxied" in said[0], said
            assert "GET /direct" in said[1], said
            assert "GET /direct" in said[2] and "Bearer ours" in said[2], said
            assert "Name or service not known" in said[3], said
            assert "refused" in said[5] and said[6] == "1 sent", said
            assert "Address already in use" in said[7], "who asks for names asks us"

    run(main)
