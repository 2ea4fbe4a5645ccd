"""A process that runs brains over a SQLite store, to be killed: `python -m tests.e2e.brain_child DIRECTORY`.

Its model is scripted: in each session it counts to STEPS by `echo N >> effects`, one call an answer, and goes on after
whatever became of a call.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from tests.runtime.brain.rig import Allows

from interlock.clock import SystemClock
from interlock.gateway.translate import neutral
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

STEPS = 60
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


async def main(directory: Path) -> None:
    """Until it is killed."""
    clock = SystemClock()
    hands: Any = Process(Workspaces(directory / "workspaces", clock, own_users=False), clock)
    parts = Parts(
        store=SqliteStore(directory / "sessions.sqlite", clock),
        blobs=FileBlobs(directory / "blobs"),
        rack=Rack({"process": hands}, clock),
        model=Counts(),
        mint=lambda session, state, audience: "token",
        judge=Allows(),
        clock=clock,
        built_in=BUILT_IN,
        owner=f"process {os.getpid()}",
        lease_s=LEASE_S,
    )
    await Host(parts, poll_s=0.05).run(asyncio.Event())


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
