"""Connections to upstreams: programs that lie, flood, die and hang, and how many are kept."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcp import MCPError
from tests.door.rogue import rogue

from interlock.clock import SystemClock
from interlock.credentials import Credential
from interlock.door import link as module_of_link
from interlock.door import links as module
from interlock.door import transports
from interlock.door.broker import Broker
from interlock.door.link import Era, Link
from interlock.door.links import Links
from interlock.door.redaction import Redactor
from interlock.door.sandbox import Sandboxes
from interlock.door.settings import Allow, ToolServer
from interlock.errors import InterlockError, LocalError, RemoteError, TransientError
from interlock.identity import Bearer
from interlock.runtime.hands import Resources

ADA, BOB = (Bearer(key_id="k", tenant="acme", principal=name) for name in ("ada", "bob"))
PYTHON = (sys.executable, "-u", "-c")
READ = tuple(dict.fromkeys((sys.prefix, sys.base_prefix)))
HELLO = """
import json, sys, time, os
def say(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def ask():
    line = sys.stdin.readline()
    if not line: sys.exit(0)
    return json.loads(line)
def hello():
    while True:
        message = ask()
        if message["method"] == "initialize":
            say(id=message["id"], result={"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                                          "serverInfo": {"name": "p", "version": "1"}})
        elif message["method"] == "notifications/initialized": return
        elif "id" in message: say(id=message["id"], error={"code": -32601, "message": "no"})
"""


class Ear:
    """What was said to it."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, Any]] = []

    async def notified(self, link: Link, method: str, params: Mapping[str, Any]) -> None:
        self.notices.append((method, params))

    async def asked(self, link: Link, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        raise MCPError(code=-32601, message="nobody")


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """Results, or errors, of all at once."""

    async def done(one: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await one
        except InterlockError as error:
            return error

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(done(one)) for one in work]
    return [one.result() for one in running]


def program(script: str, **more: Any) -> ToolServer:
    resources = Resources(memory_bytes=256 << 20, processes=16, disk_bytes=1 << 20)
    made: dict[str, Any] = {"name": "p", "timeout_s": 5.0, "result_bytes": 4096, "resources": resources} | more
    return ToolServer(allow=(Allow(),), command=(*PYTHON, HELLO + script), read=READ, **made)


@asynccontextmanager
async def house(hidden: Path, redactor: Redactor | None = None) -> AsyncIterator[Links]:
    links = Links(Broker(redactor or Redactor(), SystemClock()), Sandboxes(hidden), asyncio.get_running_loop().time)
    try:
        yield links
    finally:
        await links.close()


async def kept(
    links: Links, server: ToolServer, bearer: Bearer = ADA, *, era: Era = "handshake", ear: Any = None
) -> Link:
    return await links.kept(server, bearer.principal, bearer, ear or Ear(), era, {})


def test_a_program_is_asked_and_ends_with_its_connection(tmp_path: Path) -> None:
    script = (
        "hello()\nwhile True:\n    m = ask()\n    if 'id' in m: say(id=m['id'], result={'pid': os.getpid(), 'm': m})"
    )

    async def main() -> None:
        async with house(tmp_path) as links:
            link = await kept(links, program(script))
            result = await link.request("tools/call", {"name": "x", "arguments": {"a": None}, "_meta": {"k": 1}})
            assert result["m"]["params"]["arguments"] == {"a": None}
            assert await kept(links, program(script)) is link, "the same holder has the same connection"
            assert await kept(links, program(script), BOB) is not link
            await links.end("ada")
            assert not link.live

    asyncio.run(main())


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("sys.exit(3)", TransientError, "tool server p"),
        ("hello()\nask()\nsys.exit(3)", TransientError, "ended while it was asked: it ended with status 3"),
        (
            "hello()\nm = ask()\nprint('x' * 200_000, flush=True)\ntime.sleep(60)",
            TransientError,
            "asked: it wrote a line of",
        ),
        (
            "hello()\nask()\nwhile True: say(method='notifications/message', params={'level': 'info', 'data': 1})",
            TransientError,
            "asked: it sends more than 500 messages a second",
        ),
        (
            "hello()\nask()\nx = bytearray(1 << 29)\nx[::4096] = b'x' * len(x[::4096])",
            TransientError,
            "asked: out of mem",
        ),
        ("hello()\nask()\nwhile os.fork() >= 0: pass", TransientError, "asked: it may have 16 processes"),
        ("hello()\nask()\nwhile True: os.write(2, bytes(1 << 16))", TransientError, "asked: it floods standard error"),
        ("hello()\nask()\ntime.sleep(60)", RemoteError, "did not answer in time"),
        *(
            (
                f"hello()\nask()\nwhile True: os.write(1, {line!r} * 1000)",
                TransientError,
                "asked: it sends more than 500",
            )
            for line in (b"no json\n", b"\n", b'{"jsonrpc":"2.0","id":99,"result":{}}\n')
        ),
    ],
    ids=[
        "dies at once",
        "dies when asked",
        "one endless line",
        "a flood",
        "memory",
        "forks",
        "complains",
        "hangs",
        "babbles",
        "says nothing often",
        "answers what nobody asked",
    ],
)
def test_a_program_that_misbehaves_is_an_error_of_its_own(
    tmp_path: Path, script: str, error: type[Exception], words: str
) -> None:
    async def main() -> None:
        async with house(tmp_path) as links:
            with pytest.raises(error, match=words):
                link = await kept(links, program(script, timeout_s=2.0 if "did not answer" in words else 60.0))
                await link.request("tools/call", {"name": "x"})

    asyncio.run(asyncio.wait_for(main(), 60))


def test_who_says_nothing_at_all_is_late_and_not_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_of_link, "patience_s", lambda server: 0.2)

    async def main() -> None:
        silent = msgspec.structs.replace(program(""), command=("sleep", "1000"))
        async with house(tmp_path) as links:
            for timeout_s, bearer in ((1000.0, ADA), (0.1, BOB)):  # of all of the handshake, and of its first request
                with pytest.raises(TransientError, match="it did not answer in time"):
                    await kept(links, msgspec.structs.replace(silent, timeout_s=timeout_s), bearer)

    asyncio.run(asyncio.wait_for(main(), 60))


class Slow(Ear):
    """A client that takes its time."""

    async def notified(self, link: Link, method: str, params: Mapping[str, Any]) -> None:
        await super().notified(link, method, params)
        await asyncio.Event().wait()

    async def asked(self, link: Link, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}


def test_what_waits_for_a_slow_client_is_bounded(tmp_path: Path) -> None:
    talks = "for n in range(200): say(method='notifications/message', params={'level': 'info', 'data': n})\n"
    asks = "for n in range(COUNT): say(id=n, method='sampling/createMessage', params={})\n"
    drops = "for n in range(50): say(method='notifications/cancelled', params={'requestId': n})\n"
    answers = "say(id=m['id'], result={})\n"

    async def main() -> None:
        async with house(tmp_path) as links:
            fine = asks.replace("COUNT", "16") + drops + asks.replace("COUNT", "16")
            ear = Slow()
            link = await kept(links, program("hello()\nm = ask()\n" + talks + fine + answers + "ask()"), ear=ear)
            assert await link.request("tools/call", {"name": "x"}) == {}
            assert [params["data"] for method, params in ear.notices if "cancelled" not in method] == list(range(64))
        for too_much in (asks.replace("COUNT", "17"), asks.replace("COUNT", "1") * 2):
            async with house(tmp_path) as links:
                link = await kept(links, program("hello()\nm = ask()\n" + too_much + "ask()\n" * 2), ear=Slow())
                with pytest.raises(TransientError, match="asks more than 16 questions at once, or one twice"):
                    await link.request("tools/call", {"name": "x"})

    asyncio.run(asyncio.wait_for(main(), 60))


def test_who_asks_a_program_that_reads_nothing_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request is under way, and fills all that lies between; the others cannot even be sent."""
    monkeypatch.setattr(transports, "patience_s", lambda server: 0.5)

    async def main() -> None:
        async with house(tmp_path) as links:
            link = await kept(links, program("hello()\ntime.sleep(1000)", timeout_s=1000.0))
            told = await together(
                *(link.request("tools/call", {"name": "x", "arguments": {"a": "x" * size}}) for size in (1 << 20, 1, 1))
            )
            assert ["does not read what it is sent" in str(error) for error in told] == [True] * 3
            assert not link.live

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_connection_is_closed_whatever_its_handshake_waits_for(tmp_path: Path) -> None:
    async def main() -> None:
        silent = msgspec.structs.replace(program(""), command=("sleep", "1000"), timeout_s=1000.0)
        async with house(tmp_path) as links:

            async def closing() -> None:
                while not any(link.opening for link in links._links.values()):
                    await asyncio.sleep(0.01)
                await links.forget({"p"})

            told, _ = await together(kept(links, silent), closing())
            assert isinstance(told, TransientError) and "its connection was closed" in str(told)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_what_was_logged_and_told_holds_no_secret(tmp_path: Path) -> None:
    script = """hello()
while True:
    m = ask()
    say(method="notifications/message", params={"level": "info", "data": {"k": ["hush-12345678"]}})
    hush = "hush-12345678"
    if m.get("params", {}).get("name") == "bad": say(id=m["id"], error={"code": 1, "message": hush, "data": hush})
    elif "id" in m: say(id=m["id"], result={"content": [{"type": "text", "text": "x " + hush}], hush: 1})
"""

    async def main() -> None:
        redactor, ear = Redactor(), Ear()
        redactor.learn("hush-12345678")
        async with house(tmp_path, redactor) as links:
            link = await kept(links, program(script), ear=ear)
            assert "hush" not in repr(await link.request("tools/call", {"name": "good"}))
            with pytest.raises(MCPError) as told:
                await link.request("tools/call", {"name": "bad"})
            assert "hush" not in repr((told.value.error, str(told.value)))
            assert ear.notices and "hush" not in repr(ear.notices)

    asyncio.run(main())


def test_a_failure_rests_for_its_own_principal(tmp_path: Path) -> None:
    async def main() -> None:
        with rogue() as wild:
            (tmp_path / "ada").write_text("subject-of-ada")
            server = ToolServer(
                name="w",
                allow=(Allow(),),
                url=wild.url,
                credential=Credential(file=str(tmp_path / "{principal}")),
            )
            async with house(tmp_path / "data") as links:
                with pytest.raises(TransientError, match="credential_missing"):
                    await kept(links, server, BOB)
                with pytest.raises(TransientError, match=r"credential_missing.*tried again in"):
                    await kept(links, server, BOB)
                await kept(links, server, ADA)
                (tmp_path / "bob").write_text("short")
                await asyncio.sleep(module.BACKOFF_S_MIN)
                with pytest.raises(TransientError, match="shorter than"):
                    await kept(links, server, BOB)
                assert len(wild.seen) > 0 and all("bob" not in repr(one) for one in wild.seen)

    asyncio.run(main())


def test_no_more_are_kept_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINKS_MAX", 2)

    async def main() -> None:
        with rogue() as wild:
            server = ToolServer(name="w", allow=(Allow(),), url=wild.url)
            who = [Bearer(key_id="k", tenant="acme", principal=f"p{n}") for n in range(4)]
            async with house(tmp_path) as links:
                first, second = [await kept(links, server, bearer) for bearer in who[:2]]
                second.calls.append("busy")
                third = await kept(links, server, who[2])
                assert not first.live and second.live, "the one that nobody uses made room"
                third.calls.append("busy")
                with pytest.raises(LocalError, match="in use"):
                    await kept(links, server, who[3])
                third.calls.clear()
                same = await together(*(kept(links, server, who[3]) for _ in range(3)))
                assert len(set(map(id, same))) == 1, "who waits for room finds what others opened meanwhile"
                assert list(links._links.values()) == [second, same[0]]

    asyncio.run(main())


@pytest.mark.parametrize("bound", ["principal", "tenant"])
def test_one_principal_and_one_tenant_leave_room_for_others(tmp_path: Path, bound: str) -> None:
    most = module.LINKS_OF_ONE_MAX if bound == "principal" else module.LINKS_OF_TENANT_MAX
    principals = ["ada"] if bound == "principal" else [f"p{n}" for n in range(6)]

    async def main() -> None:
        with rogue() as wild:
            server = ToolServer(name="w", allow=(Allow(),), url=wild.url)
            async with house(tmp_path) as links:

                async def opened(who: Bearer, session: str) -> Link:
                    link = await links.kept(server, session, who, Ear(), "handshake", {})
                    link.calls.append("busy")
                    return link

                mine = [Bearer(key_id="k", tenant="acme", principal=name) for name in principals]
                held = [await opened(mine[n % len(mine)], f"s{n}") for n in range(most)]
                with pytest.raises(LocalError, match=f"a {bound} may have {most} connections") as told:
                    await opened(mine[0], "another")
                assert told.value.code == "busy"
                assert (await opened(Bearer(key_id="k", tenant="bolt", principal="ada"), "other tenant")).live
                assert bound == "tenant" or (await opened(BOB, "other principal")).live
                held[1].calls.clear()
                assert (await opened(mine[0], "another")).live, "its own idle one made room"
                assert [link.live for link in held] == [n != 1 for n in range(most)]

    asyncio.run(asyncio.wait_for(main(), 300))


def test_idle_ones_are_closed_but_not_who_waits_for_news(tmp_path: Path) -> None:
    async def main() -> None:
        with rogue() as wild:
            server, now = ToolServer(name="w", allow=(Allow(),), url=wild.url), [0.0]
            tell: Callable[[], float] = lambda: now[0]  # noqa: E731 - a clock of one line
            links = Links(Broker(Redactor(), SystemClock()), Sandboxes(tmp_path), tell)
            idle, waits = await kept(links, server, ADA), await kept(links, server, BOB)
            waits.kept = True
            now[0] = module.IDLE_S + 1
            await links.sweep()
            assert not idle.live and waits.live
            assert any(method == "DELETE" for method, _, _ in wild.seen), "the upstream is told"
            await links.close()
            assert not waits.live

    asyncio.run(main())


def test_either_revision_is_spoken_with_who_speaks_it(tmp_path: Path) -> None:
    script = """
while True:
    m = ask()
    version = m.get("params", {}).get("_meta", {}).get("io.modelcontextprotocol/protocolVersion")
    if "id" not in m: pass
    elif version is None:
        say(id=m["id"], error={"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}})
    elif m["method"] == "server/discover":
        say(id=m["id"], result={"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})
    else: say(id=m["id"], result={"meta": m["params"]["_meta"]})
"""

    async def main() -> None:
        async with house(tmp_path) as links:
            old = await kept(links, program("hello()\ntime.sleep(60)"), era="stateless")
            assert old.era == "handshake"
            new = await kept(links, program(script), BOB, era="handshake")
            assert new.era == "stateless"
            passed = {"progressToken": 1, "mine": 2, "io.modelcontextprotocol/clientInfo": {"name": "client"}}
            meta = (await new.request("tools/call", {"name": "x", "_meta": passed}, capabilities={"sampling": {}}))[
                "meta"
            ]
            assert meta["mine"] == 2 and "progressToken" not in meta
            assert meta["io.modelcontextprotocol/clientInfo"]["name"] == "interlock"
            assert meta["io.modelcontextprotocol/clientCapabilities"] == {"sampling": {}}

    asyncio.run(main())
