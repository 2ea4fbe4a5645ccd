"""200 streamed calls while the server is killed 20 times: what the upstream saw is not lost, and counted once."""

import asyncio
import itertools
import os
import random
import signal
from collections import Counter
from pathlib import Path

import msgspec
from tests.e2e.calls import BROKEN, one
from tests.e2e.configs import Journals, scripted
from tests.e2e.server import Server, alive, run_cli
from tests.e2e.upstream import Upstream, upstream
from tests.gateway.rig import FORMATS, Answer

KILLS, CALLS_A_KILL = 20, 10
TRIES_MAX = 60
DEADLINE_S = 120.0
CHANGED_BYTES = 5


class Storm:
    """The calls, the kills, and what came of them."""

    def __init__(self, server: Server, provider: Upstream, chance: random.Random) -> None:
        self.server = server
        self.provider = provider
        self.chance = chance
        self.complete: dict[str, Answer] = {}
        """By marker: answers that came whole."""
        self.sent = 0
        self.broken = 0

    async def run(self) -> None:
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as clients:
            for kill in range(KILLS):
                seen = self.provider.log.stat().st_size
                for n in range(CALLS_A_KILL):
                    clients.create_task(self._client(kill * CALLS_A_KILL + n))
                while self.provider.log.stat().st_size == seen:
                    await asyncio.sleep(0.002)
                await asyncio.sleep(self.chance.uniform(0.0, 0.25))  # the random moment, not a wait for anything
                await self._kill("supervisor" if kill % 2 else f"worker-{self.chance.randrange(2)}")

    async def _client(self, number: int) -> None:
        """One call, tried again under a new marker until an answer came whole."""
        format = FORMATS[number % len(FORMATS)]
        broken = 0
        for attempt in itertools.count():
            marker = f"call-{number}-{attempt}"
            self.sent += 1
            try:
                answer = await one(self.server.port, self.server.admin, marker, format, stream=True)
                if answer.complete and answer.status == 200 and b'"code"' not in answer.body:
                    self.complete[marker] = answer
                    return
                broken += 1
            except ConnectionRefusedError:
                pass  # between a kill and the next start: how long that takes is the machine's, DEADLINE_S bounds it
            except BROKEN:
                broken += 1
            self.broken += 1
            assert broken < TRIES_MAX, f"call {number} was never answered in {TRIES_MAX} tries"
            await asyncio.sleep(0.1)  # a client's own backoff

    async def _kill(self, process: str) -> None:
        if process != "supervisor":
            if pid := self.server.pids().get(process):  # else it is being started again since the last kill
                os.kill(pid, signal.SIGKILL)
            return
        await asyncio.to_thread(self.server.kill)  # which also checks that no orphan stays
        await asyncio.to_thread(self.server.start, ready=False)


def test_every_attempt_is_settled_once_whoever_is_killed_and_whenever(tmp_path: Path) -> None:
    seed = int(os.environ.get("INTERLOCK_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"INTERLOCK_TEST_SEED={seed}")
    with upstream(tmp_path / "upstream", "--pause-ms", "15", "--events", "8") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        server = Server(tmp_path / "data", config=config, workers=2).start()
        try:
            storm = Storm(server, provider, random.Random(seed))
            asyncio.run(storm.run())
            server.wait_ready()
            pids = server.pids()
            assert server.stop() == 0
            assert not any(map(alive, pids.values()))
        finally:
            server.kill()
        seen = Counter(provider.markers())
    print(f"{storm.sent} requests sent, {storm.broken} broken, {len(seen)} seen upstream")
    assert len(storm.complete) == KILLS * CALLS_A_KILL
    assert storm.broken >= KILLS, "kills that hit nothing prove nothing"
    _check_journals(server, storm, seen)
    _check_a_changed_byte_is_found(server, storm.chance)


def _check_journals(server: Server, storm: Storm, seen: Counter[str]) -> None:
    journals = Journals(server.places.journal)
    journals.check()
    opened = Counter(o.session for o in journals.opened.values())
    assert {m: n for m, n in seen.items() if n > opened[m]} == {}, "the upstream saw what the journal does not have"
    outcomes = Counter(s.outcome for found in journals.settled.values() for s in found)
    print(dict(outcomes))
    assert outcomes["lost"] >= KILLS // 2, "kills that lose nothing prove nothing"
    by_session = {o.session: journals.settled[attempt][0] for attempt, o in journals.opened.items()}
    for marker in storm.complete:
        # The answer's last byte and its settlement leave in the same turn of the loop: a kill may fall between.
        assert by_session[marker].outcome in ("completed", "lost")
        if by_session[marker].outcome == "completed":
            assert by_session[marker].source == "reported" and by_session[marker].usage["output"] == 5
    done = run_cli("usage", "--data", str(server.places.root), "--format", "json")
    assert done.returncode == 0, done.stderr
    (total,) = msgspec.json.decode(done.stdout)["rows"]
    assert (total["attempts"], total["open"]) == (len(journals.opened), 0)
    assert total["lost"] == outcomes["lost"]


def _check_a_changed_byte_is_found(server: Server, chance: random.Random) -> None:
    """In any record but the newest: cut off or damaged, that one looks like a write that was torn."""
    verify = ("verify", "--data", str(server.places.root))
    done = run_cli(*verify)
    assert done.returncode == 0, done.stdout + done.stderr
    segment = server.places.journal / "usage" / "1" / "00000001.seg"
    good = segment.read_bytes()
    for _ in range(CHANGED_BYTES):
        at = chance.randrange(good.rindex(b"\n", 0, -1))
        segment.write_bytes(good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :])
        done = run_cli(*verify)
        seq = good.count(b"\n", 0, at) + 1  # a record is a line
        assert done.returncode == 1, (at, seq)
        assert f"usage/1 seq {seq}: " in done.stderr, (at, seq)
    segment.write_bytes(good)
    assert run_cli(*verify).returncode == 0
