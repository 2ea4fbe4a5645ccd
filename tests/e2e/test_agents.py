"""An agent does a real task in a real repository while everything that it stands on is killed, again and again.

The model is a recorded session (tests.e2e.player); everything else is real: `interlock serve`, bubblewrap, git, Python,
a tool server behind the door, the client, and a recorder outside that counts effects.
"""

import contextlib
import io
import os
import random
import signal
import subprocess
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.door.rogue import Rogue, rogue, said, tool
from tests.e2e.player import Player, Step
from tests.e2e.server import Server, running

from interlock.client import Agents, Session
from interlock.clock import SystemClock
from interlock.runtime.brain.mcp import KEY_META
from interlock.runtime.sessions.event import Event, Seen
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.runtime.sessions.state import State, fold

KILLS = int(os.environ.get("INTERLOCK_TEST_AGENT_KILLS", "30"))
ROUNDS = 16
"""Of the recorded work: an effect that happens once, one that may be repeated, and a look at the repository."""
VICTIMS = ("runtime", "worker-0", "sandbox", "supervisor")
NOTIFY = (
    "import sys, urllib.request as u; "
    "print('told', u.urlopen(u.Request(sys.argv[1], data=b'x', method='POST'), timeout=20).status)"
)


class Recorder:
    """Outside of everything: counts what reaches it over HTTP."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.hits[self.path] += 1
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Shelf:
    """Behind the door: `put` takes effect once for a key, however often it is called."""

    def __init__(self, server: Rogue) -> None:
        self.calls: Counter[str] = Counter()
        self.effects: dict[str, str] = {}
        """By key: what was put."""
        server.tools = [
            {
                **tool("put", "put something on the shelf", properties={"item": {"type": "string"}}, required=["item"]),
                "annotations": {"idempotentHint": True, "readOnlyHint": False},
            }
        ]
        server.scripts["put"] = self._put

    def _put(self, _: Rogue, params: dict[str, Any], headers: dict[str, str]) -> Any:
        key, item = params["_meta"][KEY_META], params["arguments"]["item"]
        self.calls[key] += 1
        self.effects.setdefault(key, item)
        return said(f"shelved {item}")


def repository(directory: Path) -> bytes:
    """A tar of a git repository whose tests fail, for a reason; made in a directory that is not there yet."""
    (directory / "wordcount").mkdir(parents=True)
    (directory / "wordcount" / "__init__.py").write_text(
        '"""Count words."""\n\n\ndef count(text: str) -> dict[str, int]:\n    found: dict[str, int] = {}\n'
        '    for word in text.split(" "):\n        found[word] = found.get(word, 0) + 1\n    return found\n'
    )
    (directory / "tests").mkdir()
    (directory / "tests" / "__init__.py").write_text("")
    (directory / "tests" / "test_count.py").write_text(
        "import unittest\n\nfrom wordcount import count\n\n\nclass Counts(unittest.TestCase):\n"
        '    def test_one(self):\n        self.assertEqual(count("a b a"), {"a": 2, "b": 1})\n\n'
        '    def test_lines(self):\n        self.assertEqual(count("a\\n b"), {"a": 1, "b": 1})\n'
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1"}
    for argv in (
        ["git", "init", "-q", "-b", "main"],
        ["git", "add", "wordcount", "tests"],
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "words are counted"],
    ):
        subprocess.run(argv, cwd=directory, env=env, check=True)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(directory, arcname=".")
    return packed.getvalue()


def recording(port: int) -> list[Step]:
    """The session: find, reproduce, mend, prove, commit; and between them effects that the recorder sees."""

    def shell(command: str, until: str = "") -> Step:
        return {"text": f"I run {command.split()[0]}.", "calls": [["shell", {"command": command}]], "until": until}

    steps = [
        shell("tar xf repo.tar && rm repo.tar; git log --oneline; ls", "words are counted"),
        {"text": "I read both.", "until": "split.*test_lines",
         "calls": [["read", {"path": path}] for path in ("wordcount/__init__.py", "tests/test_count.py")]},
        {"text": "Where is it used?", "calls": [["search", {"pattern": "split"}]], "until": "wordcount/__init__.py"},
        shell("python3 -m unittest 2>&1 | tail -n 30", "FAILED"),
    ]  # fmt: skip
    for number in range(ROUNDS):
        steps += [
            shell(f'python3 -c "{NOTIFY}" http://127.0.0.1:{port}/once/{number}'),
            {"text": "On the shelf.", "calls": [["shelf__put", {"item": f"item {number}"}]], "until": "shelved"},
            shell(f"sleep 0.3; git status --short; echo looked {number}", f"looked {number}"),
        ]
    steps += [
        {
            "text": "It splits at blanks alone.",
            "calls": [["edit", {"path": "wordcount/__init__.py", "old": 'text.split(" ")', "new": "text.split()"}]],
            "until": "(?i)replaced|changed|edited|exactly|once|not there|done",
        },
        shell("python3 -m unittest 2>&1 | tail -n 30", "OK"),
        shell(
            "git add -A wordcount; git -c user.name=agent -c user.email=a@b commit -qm 'split at any white space'; "
            "git log --oneline; git status --short",
            "split at any white space",
        ),
    ]
    return [*steps, {"text": "Words are split at any white space now, and the tests pass."}]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Server, Recorder, Shelf, Player]]:
    recorder = Recorder()
    player = Player(tmp_path / "player", recording(recorder.port), pause_ms=15).start()
    with rogue() as behind:
        shelf = Shelf(behind)
        config = tmp_path / "interlock.toml"
        config.write_text(
            'default_tier = "main"\n[deployments.recorded]\nprovider = "recorded"\nmodel = "m"\n'
            f'base_url = "http://127.0.0.1:{player.port}/v1"\nformats = ["messages"]\ncapabilities = ["tools"]\n'
            'price = { input = "1", output = "2" }\n[tiers]\nmain = ["recorded"]\n'
            f'[[tools.servers]]\nname = "shelf"\nurl = "{behind.url}"\nallow = [{{}}]\n'
        )
        with running(tmp_path / "data", config=config) as server:
            yield server, recorder, shelf, player
    player.stop()
    recorder.close()


def agents(server: Server, *, tries: int = 40) -> Agents:
    key = (server.places.root / "admin.key").read_text().strip()
    return Agents(f"http://127.0.0.1:{server.control_port}", key, tries=tries)


def begun(server: Server, recorder: Recorder) -> Session:
    """A session with the repository in its workspace, not yet told what to do."""
    agent = {
        "mode": "accept-edits",
        "rules": {"allow": ["shell(*)", "mcp(shelf.put)"]},
        "tools": ["shell", "read", "edit", "search", "mcp(shelf.*)"],
        "resources": {"egress": [f"127.0.0.1:{recorder.port}"]},
        "budget": {"steps": 500},
    }
    session = agents(server).run(agent=agent, title="mend the count")
    session.write("repo.tar", repository(server.places.root.parent / "repository"))
    return session


class Watcher:
    """Attached to the session from its first event to its end, through every death."""

    def __init__(self, session: Session) -> None:
        self.events: list[dict[str, Any]] = []
        self._session = session
        self.failed: list[BaseException] = []
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        try:
            for event in self._session.watch():
                self.events.append(event)
                if event["type"] == "turn.ended":
                    return
        except BaseException as error:  # told by the test
            self.failed.append(error)


def sandboxes(server: Server) -> list[int]:
    """Process ids of bubblewraps below the runtime's process."""
    parent = server.pids().get("runtime")
    found = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in found.splitlines()]
    below = {parent}
    for _ in range(4):
        below |= {int(pid) for pid, ppid, _ in rows if int(ppid) in below}
    return [int(pid) for pid, _, name in rows if int(pid) in below and name.strip() == "bwrap"]


def kill(server: Server, victim: str, rng: random.Random) -> bool:
    """Kill one with SIGKILL; whether there was one."""
    if victim == "supervisor":
        server.kill()
        server.start(ready=False)
        return True
    pids = sandboxes(server) if victim == "sandbox" else [pid for pid in [server.pids().get(victim)] if pid]
    if not pids:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(rng.choice(pids), signal.SIGKILL)
        return True
    return False


def test_killed_thirty_times_it_ends_with_each_effect_once(
    world: tuple[Server, Recorder, Shelf, Player], tmp_path: Path
) -> None:
    server, recorder, shelf, player = world
    seed = int(os.environ.get("INTERLOCK_TEST_SEED", str(random.randrange(1 << 32))))
    print("seed", seed)
    rng = random.Random(seed)
    session = begun(server, recorder)
    watcher = Watcher(session)
    session.say("The tests fail. Find out why, mend it and commit.", id="the task")
    killed: Counter[str] = Counter()
    order = [VICTIMS[n % len(VICTIMS)] for n in range(KILLS)]
    rng.shuffle(order)
    pause = threading.Event()
    for victim in order:
        pause.wait(rng.uniform(0.05, 0.8))
        if not watcher.thread.is_alive():
            break
        for _ in range(3000):
            if kill(server, victim, rng):
                killed[victim] += 1
                break
            if not watcher.thread.is_alive():
                break
            pause.wait(0.01)
    watcher.thread.join(240)
    assert not watcher.thread.is_alive() and not watcher.failed, (
        watcher.failed,
        watcher.events[-5:],
        server.said[-2000:],
    )
    events = watcher.events
    (tmp_path / "events.json").write_bytes(msgspec.json.encode(events))
    print("killed", dict(killed), "events", len(events), "model calls", len(player.asked()))
    assert killed.total() == KILLS, f"it was too quick: {killed}"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["reason"] == "done", events[-1]
    # Effects, as the recorder saw them.
    assert all(recorder.hits[f"/once/{number}"] <= 1 for number in range(ROUNDS)), recorder.hits
    assert Counter(shelf.effects.values()) == {f"item {number}": 1 for number in range(ROUNDS)}
    told = [event for event in events if event["type"] == "tool.started"]
    for call, attempts in Counter(event["call_id"] for event in told).items():
        assert attempts == 1 or all(e["effect"] != "once" for e in told if e["call_id"] == call), call
    # The task is done, in the repository itself.
    assert session.read("wordcount/__init__.py").decode().count("text.split()") == 1
    log = session.read(".git/logs/HEAD").decode().splitlines()
    assert log[-1].endswith("split at any white space")
    check_log(server, session.id, events)


def check_log(server: Server, session: str, events: list[dict[str, Any]]) -> None:
    """The log on the disk folds to what was watched, and a second fold of it to the same state."""
    server.stop()

    async def read() -> list[Seen]:
        store = SqliteStore(server.places.sessions, SystemClock())
        found: list[Seen] = []
        while batch := await store.events(session, after=found[-1].seq if found else 0):
            found += batch
        await store.close()
        return found

    from interlock.testing.loops import run_on

    log: list[Seen] = run_on("uvloop", read)
    assert [one.seq for one in log] == [event["seq"] for event in events]
    assert [msgspec.to_builtins(one.event)["type"] for one in log] == [event["type"] for event in events]
    once, twice = fold(log), State()
    for one in log:
        again = msgspec.json.decode(msgspec.json.encode(one.event), type=Event)
        twice.apply(Seen(seq=one.seq, at_ns=one.at_ns, event=again))
    assert once == twice and not once.in_turn and not once.pending
