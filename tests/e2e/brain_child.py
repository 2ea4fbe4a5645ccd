"""A process that runs brains over a SQLite store, to be killed: `python -m tests.e2e.brain_child DIRECTORY [POINT]`.

Its model is scripted: in each session it counts to STEPS by `echo N >> effects`, one call an answer, and goes on after
whatever became of a call. With a point it says more than its window holds, sums up when it is asked to, and is
killed there, once.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from tests.runtime.brain.rig import Allows

from interlock.clock import SystemClock
from interlock.gateway.translate import neutral
from interlock.runtime.brain.action import Point
from interlock.runtime.brain.host import Host
from interlock.runtime.brain.model import Reply, Request
from interlock.runtime.brain.parts import Parts
from interlock.runtime.brain.rack import Rack
from interlock.runtime.brain.tools import BUILT_IN
from interlock.runtime.brain.wires import Heard
from interlock.runtime.hands.process import Process
from interlock.runtime.hands.workspaces import Workspaces
from interlock.runtime.sessions.blobs import FileBlobs
from interlock.runtime.sessions.event import Call, Text
from interlock.runtime.sessions.sqlite import SqliteStore

STEPS, SUMMED = 60, 24
LEASE_S = 1.0


class Counts:
    """Counts by tool calls: what is shown says how far it is."""

    async def ask(self, request: Request, tell: Callable[[neutral.Event], None]) -> Reply:
        done = sum(message["role"] == "assistant" for message in msgspec.json.decode(request.body)["messages"])
        if done >= STEPS:
            return Reply(said=Heard(parts=(Text(text="done"),), finish="stop", usage={"input": 1, "output": 1}))
        command = msgspec.json.encode({"command": f"echo {done} >> effects"}).decode()
        call = Call(id=f"c{done}", name="shell", arguments=command)
        return Reply(said=Heard(parts=(call,), finish="tool_calls", usage={"input": 1, "output": 1}))


class SumsUp:
    """Makes SUMMED calls of long results, each with a number of its own, and gives summaries."""

    async def ask(self, request: Request, tell: Callable[[neutral.Event], None]) -> Reply:
        usage = {"input": 1, "output": 1}
        if "tools" not in msgspec.json.decode(request.body):
            return Reply(said=Heard(parts=(Text(text="It makes calls."),), finish="stop", usage=usage))
        if request.step >= SUMMED:
            return Reply(said=Heard(parts=(Text(text="done"),), finish="stop", usage=usage))
        command = {"command": f"echo {request.step} >> effects; head -c 900 /dev/zero | tr '\\0' x"}
        call = Call(id=f"c{request.step}", name="shell", arguments=msgspec.json.encode(command).decode())
        return Reply(said=Heard(parts=(call,), finish="tool_calls", usage=usage))


def dies_once(directory: Path, point: str) -> Callable[[Point], None]:
    """SIGKILL at that point of a compaction, in the first process that comes to it."""
    passed = set[Point]()

    def at(reached: Point) -> None:
        passed.add(reached)
        compacts = point.startswith("summary") or "summary.answered.after" in passed
        if reached == point and compacts and not (directory / "killed").exists():
            (directory / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return at


async def main(directory: Path, point: str = "") -> None:
    """Until it is killed."""
    clock = SystemClock()
    hands: Any = Process(Workspaces(directory / "workspaces", clock, own_users=False), clock)
    parts = Parts(
        store=SqliteStore(directory / "sessions.sqlite", clock),
        blobs=FileBlobs(directory / "blobs"),
        rack=Rack({"process": hands}, clock),
        model=SumsUp() if point else Counts(),
        at=dies_once(directory, point),
        mint=lambda session, state, audience: "token",
        judge=Allows(),
        clock=clock,
        built_in=BUILT_IN,
        owner=f"process {os.getpid()}",
        lease_s=LEASE_S,
    )
    await Host(parts, poll_s=0.05).run(asyncio.Event())


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), *sys.argv[2:]))
