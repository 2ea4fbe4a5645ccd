"""The built-in tools in a real sandbox (plain processes: what is contained is the hands' own tests)."""

import asyncio
import http.server
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from interlock.clock import SystemClock
from interlock.errors import LocalError
from interlock.runtime.brain.tools import BUILT_IN, Done, Edit, Fetch, Read, Search, Shell
from interlock.runtime.brain.tools.fetch import why_no_url, why_not_allowed
from interlock.runtime.hands import Resources, Sandbox
from interlock.runtime.hands.process import Process
from interlock.runtime.hands.workspaces import Workspaces

Run = Callable[..., Any]
BLOCKING_S = 1.0
"""Forking a process on a busy machine."""


class Using:
    """A run's surroundings."""

    session = "ses_1"
    key = "k1"

    def __init__(self, box: Any, **resources: Any) -> None:
        self.attempt = 1
        self.time_s = 30.0
        self.resources = Resources(**resources)
        self.shown = b""
        self.notes: list[Mapping[str, Any]] = []
        self.blobs: dict[str, bytes] = {}
        self.dies_after_note = False
        self._box = box

    async def sandbox(self) -> Sandbox:
        return self._box  # type: ignore[no-any-return]  # a Sandbox

    def emit(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self.shown += data

    async def note(self, data: Mapping[str, Any]) -> None:
        self.notes.append(data)
        if self.dies_after_note:
            raise KeyboardInterrupt

    async def noted(self) -> Sequence[Mapping[str, Any]]:
        return self.notes if self.attempt > 1 else ()

    async def blob(self, sha256: str) -> bytes | None:
        return self.blobs.get(sha256)


@pytest.fixture
def within(run: Run, tmp_path: Path) -> Callable[[Callable[[Using], Awaitable[None]]], None]:
    """`within(test)`: run a test in a sandbox of its own."""

    def runs(test: Callable[[Using], Awaitable[None]], **resources: Any) -> None:
        async def main() -> None:
            hands = Process(Workspaces(tmp_path / "workspaces", SystemClock(), own_users=False), SystemClock())
            box = await hands.provision("ses_1", "wsp_1", Resources(**resources))
            try:
                await test(Using(box, **resources))
            finally:
                await box.destroy()

        run(main, blocking_s=BLOCKING_S)

    return runs


async def use(tool: Any, using: Using, **arguments: Any) -> tuple[str, str]:
    """(outcome, content)."""
    assert tool.check(arguments) == ""
    done: Done = await tool.run(arguments, using)
    return done.outcome, done.content.decode()


@pytest.mark.parametrize("tool", BUILT_IN, ids=lambda tool: tool.name)
def test_arguments_of_another_shape_are_refused_in_words(tool: Any) -> None:
    required = tool.schema["required"]
    good = dict.fromkeys(required, "http://x.example/")
    assert tool.check(good) == ""
    assert "required" in tool.check({})
    assert "unknown field" in tool.check(good | {"surprise": 1})
    for name in tool.schema["properties"]:
        assert name in tool.check(good | {name: [1]}), "it names the field"


# shell


def test_shell_gives_output_and_exit_status(within: Any) -> None:
    async def test(using: Using) -> None:
        assert await use(Shell(), using, command="echo out; echo err >&2; pwd > p") == (
            "ok",
            "out\nerr\n[exit status 0]",
        )
        assert sorted(using.shown.split()) == [b"err", b"out"]
        assert await use(Shell(), using, command="printf x; exit 3") == ("error", "x\n[exit status 3]")
        assert await use(Shell(), using, command="mkdir -p d; cd d; pwd") != await use(Shell(), using, command="pwd")
        outcome, content = await use(Shell(), using, command="pwd", cwd="d")
        assert outcome == "ok" and content.split("\n")[0].endswith("/d")

    within(test)


def test_shell_ends_in_its_time_and_with_bounded_output(within: Any) -> None:
    async def test(using: Using) -> None:
        outcome, content = await use(Shell(), using, command="echo begun; sleep 60", time_s=0.3)
        assert outcome == "timed_out" and content.startswith("begun\n[")
        using.time_s = 0.3
        assert (await use(Shell(), using, command="sleep 60"))[0] == "timed_out", "the session's own time is over"
        using.time_s = 30
        outcome, content = await use(Shell(), using, command="head -c 100000000 /dev/zero; echo end")
        assert outcome == "ok" and len(content) < 20_000 and "more bytes of output were thrown away" in content

    within(test, output_bytes=10_000)


def test_shell_that_is_cancelled_leaves_nothing_running(within: Any) -> None:
    async def test(using: Using) -> None:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(use(Shell(), using, command="echo $$ > pid; echo begun; exec sleep 77"))
            async with asyncio.timeout(10):
                while not using.shown:
                    await asyncio.sleep(0.01)
            running.cancel()
        pid = int(await (await using.sandbox()).read("pid"))
        status = Path(f"/proc/{pid}/stat")
        assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"

    within(test)


# read


def test_read_shows_the_lines_that_are_asked_for(within: Any) -> None:
    async def test(using: Using) -> None:
        box = await using.sandbox()
        await box.write("f", b"".join(b"line %d\n" % number for number in range(1, 300_001)))
        assert await use(Read(), using, path="f", line=3, lines=2) == ("ok", "line 3\nline 4\n")
        assert await use(Read(), using, path="f", line=299_999) == ("ok", "line 299999\nline 300000\n")
        assert await use(Read(), using, path="f", line=300_001) == ("ok", "[It has no line 300001.]")
        assert (await use(Read(), using, path="f"))[1].count("\n") == 1000
        outcome, content = await use(Read(), using, path="f", lines=10_000)
        assert outcome == "ok" and len(content) < 300_000
        await box.write("empty", b"")
        assert await use(Read(), using, path="empty") == ("ok", "[It is empty.]")
        await box.write("binary", b"\x7fELF\0\0")
        assert (await use(Read(), using, path="binary"))[0] == "error"
        await box.write("wide", b"x" * 3_000_000)
        assert "cut after" in (await use(Read(), using, path="wide"))[1]
        with pytest.raises(LocalError):
            await use(Read(), using, path="../../etc/passwd")

    within(test)


def test_read_shows_a_result_that_is_kept_beside_the_log(within: Any) -> None:
    async def test(using: Using) -> None:
        using.blobs["ab"] = b"one\ntwo\n" * 200_000
        assert await use(Read(), using, path="blob:ab", line=400_000) == ("ok", "two\n")
        assert (await use(Read(), using, path="blob:cd"))[0] == "error"

    within(test)


# edit


def test_edit_replaces_what_is_there_exactly_once(within: Any) -> None:
    async def test(using: Using) -> None:
        box = await using.sandbox()
        assert await use(Edit(), using, path="d/f", new="a b b\n") == ("ok", "Created d/f.")
        assert "is there already" in (await use(Edit(), using, path="d/f", new="x"))[1]
        assert await use(Edit(), using, path="d/f", old="a", new="c") == ("ok", "Edited d/f.")
        assert "2 times" in (await use(Edit(), using, path="d/f", old="b", new="x"))[1]
        assert "is not in" in (await use(Edit(), using, path="d/f", old="b  b", new="x"))[1]
        assert await box.read("d/f") == b"c b b\n", "what was refused has changed nothing"
        assert (await use(Edit(), using, path="d/f", old="b", new="x", all=True))[0] == "ok"
        assert await box.read("d/f") == b"c x x\n"
        assert "no file" in (await use(Edit(), using, path="g", old="b", new="x"))[1]
        assert Edit().check({"path": "f", "old": "x", "new": "x"})

    within(test)


@pytest.mark.parametrize("wrote", [False, True])
def test_edit_is_the_same_edit_when_it_runs_again(within: Any, wrote: bool) -> None:
    async def test(using: Using) -> None:
        box = await using.sandbox()
        await box.write("f", b"a")
        edit = {"path": "f", "old": "a", "new": "aa"}
        using.dies_after_note = not wrote
        try:
            await use(Edit(), using, **edit)
        except KeyboardInterrupt:
            assert await box.read("f") == b"a"
        using.attempt, using.dies_after_note = 2, False
        assert (await use(Edit(), using, **edit))[0] == "ok"
        assert await box.read("f") == b"aa", "not aaa or aaaa"
        await box.write("f", b"somebody else's")
        outcome, content = await use(Edit(), using, **edit)
        assert outcome == "error" and "changed since" in content
        assert await box.read("f") == b"somebody else's"

    within(test)


# search


def test_search_finds_lines_and_says_when_there_are_more(within: Any) -> None:
    async def test(using: Using) -> None:
        box = await using.sandbox()
        await box.write("a.py", b"def one():\n  pass\n")
        await box.write("b.txt", b"def two\n")
        await box.write(".git/c.py", b"def three\n")
        await box.write("bin.py", b"def\0four\n")
        assert await use(Search(), using, pattern="def [a-z]+", glob="*.py") == ("ok", "./a.py:1:def one():")
        assert (await use(Search(), using, pattern="^def"))[1].count("\n") == 1
        assert await use(Search(), using, pattern="nowhere") == ("ok", "[nothing matches]")
        assert (await use(Search(), using, pattern="(", path="."))[0] == "error"
        assert (await use(Search(), using, pattern="--help"))[1] == "[nothing matches]"
        assert (await use(Search(), using, pattern="x", path="-f"))[0] == "error"
        for number in range(200):
            await box.write(f"many/{number}", b"match " + b"m" * 600 + b"\n")
        outcome, content = await use(Search(), using, pattern="match")
        assert outcome == "ok" and len(content) < 100_000 and content.endswith("search for something narrower]")

    within(test)


# fetch


class Site(http.server.BaseHTTPRequestHandler):
    """Pages."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A page."""
        pages: dict[str, tuple[int, dict[str, str], bytes]] = {
            "/": (200, {"content-type": "text/plain"}, b"hello"),
            "/here": (302, {"location": "/"}, b""),
            "/away": (302, {"location": "http://elsewhere.example/"}, b""),
            "/file": (302, {"location": "file:///etc/passwd"}, b""),
            "/loop": (302, {"location": "/loop"}, b""),
            "/big": (200, {}, b"x" * 2_000_000),
            "/binary": (200, {"content-type": "image/png"}, b"\x89PNG\0"),
        }
        status, headers, body = pages.get(self.path, (404, {}, b"nothing"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def site() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_fetch_gets_pages_of_allowed_hosts_only(within: Any) -> None:
    async def test(using: Using) -> None:
        with site() as port:
            base = f"http://127.0.0.1:{port}"
            using.resources = Resources(egress=(f"127.0.0.1:{port}",))
            assert await use(Fetch(), using, url=f"{base}/") == ("ok", "HTTP 200 text/plain\n\nhello")
            assert (await use(Fetch(), using, url=f"{base}/here"))[1].endswith("hello")
            assert (await use(Fetch(), using, url=f"{base}/none"))[0] == "error"
            outcome, content = await use(Fetch(), using, url=f"{base}/away")
            assert outcome == "error" and "elsewhere.example:80 is not among" in content
            assert "must begin with" in (await use(Fetch(), using, url=f"{base}/file"))[1]
            assert "redirects" in (await use(Fetch(), using, url=f"{base}/loop"))[1]
            assert "was not fetched" in (await use(Fetch(), using, url=f"{base}/big"))[1]
            assert "is not text" in (await use(Fetch(), using, url=f"{base}/binary"))[1]
            using.resources = Resources()
            assert (await use(Fetch(), using, url=f"{base}/"))[0] == "error", "no egress, no fetch"

    within(test)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://example.com/x", True),
        ("https://EXAMPLE.com./x", True),
        ("http://example.com/x", False),
        ("https://example.com:444/", False),
        ("https://a.wild.example:99/", True),
        ("https://wild.example/", False),
        ("https://evilwild.example/", False),
        ("https://example.com.evil/", False),
    ],
)
def test_who_may_be_fetched_from(url: str, allowed: bool) -> None:
    rules = ("example.com:443", "*.wild.example:*")
    assert (why_not_allowed(url, rules) == "") is allowed


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "https://a b/",
        "https://u:p@example.com/",
        "http://x:0/",
        "http://[::1",
        "ftp://x.y/z",
        "http:///x",
    ],
)
def test_what_is_no_address(url: str) -> None:
    assert why_no_url(url)
