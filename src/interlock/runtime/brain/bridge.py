"""The bridge: an agent program that somebody else wrote runs in the hands, in place of the loop.

One run of it is one turn: what was said since the last turn is its standard input, or stands in its arguments where one
of them says `{prompt}`. It finds a model at an address inside its sandbox that leads to the gateway, with a key that is
none: who it is, the proxy says. What it writes becomes notes in the log, and its end the end of the turn.

A run is once-only: written down before it begins, and never repeated by itself. What the program does inside is its
own, but its model calls are steps of the session, and bounded by its budget (metering.py). A run that the budget cut
short begins again, with what it was told, when a person has raised it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from interlock.errors import HandsLost, InterlockError
from interlock.runtime.brain.decide import over_budget, wall_left_s
from interlock.runtime.brain.desk import Desk
from interlock.runtime.brain.feed import Delta
from interlock.runtime.brain.metering import Meter
from interlock.runtime.brain.parts import Parts
from interlock.runtime.brain.rack import MODEL_HOST
from interlock.runtime.brain.running import HEAD_BYTES, Runner, lost, told_of_hands
from interlock.runtime.brain.toolbox import Toolbox
from interlock.runtime.brain.watching import cancel_on_word
from interlock.runtime.hands import Command, Stop
from interlock.runtime.hands import Delta as Output
from interlock.runtime.sessions.event import Answered, Asked, Ended, Failed, Note, Text
from interlock.runtime.sessions.state import State

PROMPT = "{prompt}"
RUN_S_MAX = 6 * 3600.0
ARGUMENT_BYTES_MAX = 96 * 1024
NOTES_MAX = 500
"""Of one run; the lines after them are counted."""
NOTE_BYTES_MAX = 16 * 1024
NOTE_LINES_MAX = 100
PAUSE_S = 1.0
"""Lines that come within it are one note."""
REFUSED_S = 60.0
"""For a program to end by itself once its calls are refused for want of budget."""
_KEY = "interlock"
UNKNOWN = "Its worker died while the program ran: what it did is not known. It was not started again."


def environment() -> dict[str, str]:
    """What tells a program where its model is, under the names that the two vendors' SDKs read."""
    root = f"http://{MODEL_HOST}"
    return {
        "OPENAI_BASE_URL": f"{root}/v1",
        "OPENAI_API_BASE": f"{root}/v1",
        "OPENAI_API_KEY": _KEY,
        "ANTHROPIC_BASE_URL": root,
        "ANTHROPIC_API_KEY": _KEY,
    }


def command_of(argv: tuple[str, ...], prompt: str, time_s: float) -> Command:
    """The program's command; a prompt that is too long for an argument is told on standard input all the same."""
    within = any(PROMPT in word for word in argv) and len(prompt.encode()) <= ARGUMENT_BYTES_MAX
    words = tuple(word.replace(PROMPT, prompt if within else "") for word in argv)
    return Command(argv=words, stdin=b"" if within else prompt.encode(), env=environment(), time_s=time_s)


def prompt_of(state: State) -> str:
    """What was said since the last run; behind one that the budget cut short, since the last that was not."""
    first = state.heard
    if state.ended is not None and state.ended.reason == "budget":
        first = next((n for n in range(first, 0, -1) if state.transcript[n - 1].finish), 0)
    return "\n\n".join(entry.said.text for entry in state.transcript[first:] if entry.said is not None)


@dataclass(slots=True)
class _Lines:
    """Output on its way into notes."""

    tail: deque[bytes] = field(default_factory=lambda: deque(maxlen=200))
    """The last lines of standard output: what the program has to say in the end."""
    held: list[tuple[str, str]] = field(default_factory=list)
    rest: dict[str, bytes] = field(default_factory=dict)
    notes: int = 0
    left_out: int = 0

    def take(self, stream: str, data: bytes) -> None:
        *lines, rest = (self.rest.get(stream, b"") + data).split(b"\n")
        while len(rest) > NOTE_BYTES_MAX:
            lines.append(rest[:NOTE_BYTES_MAX])
            rest = rest[NOTE_BYTES_MAX:]
        self.rest[stream] = rest
        for line in lines:
            self._line(stream, line)

    def end(self) -> None:
        for stream, rest in self.rest.items():
            if rest:
                self._line(stream, rest)
        self.rest = {}

    def _line(self, stream: str, line: bytes) -> None:
        if stream == "stdout":
            self.tail.append(line)
        if self.notes >= NOTES_MAX:
            self.left_out += 1
        else:
            self.held.append((stream, line[:NOTE_BYTES_MAX].decode(errors="replace")))

    def note(self) -> Note | None:
        """The next note; None: there is nothing to say."""
        if not self.held:
            return None
        stream = self.held[0][0]
        count = size = 0
        while count < min(len(self.held), NOTE_LINES_MAX) and self.held[count][0] == stream and size <= NOTE_BYTES_MAX:
            size += len(self.held[count][1]) + 1
            count += 1
        text = "\n".join(line for _, line in self.held[:count])
        del self.held[:count]
        self.notes += 1
        if self.notes >= NOTES_MAX:
            self.left_out += len(self.held)
            self.held = []
        return Note(text=text, data={"stream": stream})

    def last(self) -> str:
        return b"\n".join(self.tail)[-HEAD_BYTES:].decode(errors="replace").strip()


class Bridge:
    """Turns of one session whose agent is a program."""

    def __init__(self, parts: Parts, session: str, desk: Desk, draining: Callable[[], bool]) -> None:
        self._parts, self._session, self._desk, self._draining = parts, session, desk, draining
        self._meter = Meter(parts, session, desk)

    async def drive(self) -> Literal["rest", "draining"]:
        """Run turns until nothing is to be done: `rest`, or `draining`."""
        desk = self._desk
        if desk.state.steps:  # of a run whose worker died something may not be written down
            await self._meter.settled(all=True)
        while desk.state.in_turn:
            state = desk.state
            limit = over_budget(state)
            if state.cancelled is not None:
                desk.plan(Ended(reason="cancelled", detail=state.cancelled.reason))
            elif state.asked is not None:
                desk.plan(Failed(step=state.steps, code="unknown_outcome", message=UNKNOWN))
                desk.plan(Ended(reason="failed", detail=UNKNOWN))
            elif state.failed is not None:
                said = f"{state.failed.code}: {state.failed.message}"[:500]
                desk.plan(Ended(reason="budget" if limit else "failed", detail=limit or said))
            elif not state.unheard and state.transcript and state.transcript[-1].finish:
                desk.plan(Ended(reason="done"))
            elif limit:
                desk.plan(Ended(reason="budget", detail=limit))
            elif self._draining():
                return "draining"
            else:
                await self._turn()
                continue
            await desk.flush("turn.ended")
        return "rest"

    async def _turn(self) -> None:
        desk, meter, step = self._desk, self._meter, self._desk.state.steps
        prompt = prompt_of(desk.state)
        desk.plan(Asked(step=step, key=f"{self._session}-{desk.state.seq + 1}"))
        if not await desk.flush("model.asked"):
            return
        lines = _Lines()
        async with self._parts.rack.admitting(self._session, meter.admit):
            running, stopped = await self._attend(prompt, lines)
            lines.end()
            await self._noted(lines)
        await meter.settled(all=True)
        self._parts.at("model.answered.after")
        told_of_hands(self._parts, self._session, desk)
        if lines.left_out:
            desk.fact(Note(text=f"{lines.left_out} more lines of the program's output were not kept"))
        if running.cancelled() and not stopped:
            desk.fact(Failed(step=step, code="cancelled", message="a person cancelled it"))
            return
        limit = over_budget(desk.state) if meter.refused_ns is not None else ""
        why = stopped or running.result()
        if limit:
            said = f"the budget is used up ({limit}). {why}".strip()
            desk.fact(Failed(step=step, code="budget_exceeded", message=said[:500]))
        elif why:
            desk.fact(Failed(step=step, code="program_failed", message=why[:500]))
        else:
            text = lines.last()
            desk.fact(Answered(step=step, parts=(Text(text=text),) if text else (), finish="stop", amount_nanousd=0))

    async def _attend(self, prompt: str, lines: _Lines) -> "tuple[asyncio.Task[str], str]":
        """Run it, and write down what it says and uses; the run, which is over, and why we have ended it."""
        parts, desk, meter, stopped = self._parts, self._desk, self._meter, ""
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self._run(prompt, lines))
            watching = group.create_task(cancel_on_word(parts.store, self._session, desk.head, [running], parts.sleep))
            while not running.done():
                await asyncio.wait([running], timeout=PAUSE_S)
                await self._noted(lines)
                await meter.settled()
                if meter.broken is not None:
                    raise meter.broken
                refused_ns = meter.refused_ns
                if refused_ns is None or running.done():
                    continue
                if parts.clock.monotonic_ns() - refused_ns >= REFUSED_S * 1e9 and await meter.exhausted():
                    stopped = f"it went on for {REFUSED_S:g} s after its calls were refused"
                    running.cancel()
            watching.cancel()
        return running, stopped

    async def _run(self, prompt: str, lines: _Lines) -> str:
        """Run it to its end; why it failed, empty: it did not."""
        state = self._desk.state
        left_s = wall_left_s(state)
        command = command_of(
            state.agent.program, prompt, RUN_S_MAX if left_s is None else max(min(left_s, RUN_S_MAX), 1)
        )
        stop: Stop | None = None
        try:
            box = await Runner(self._parts, self._session, self._desk, Toolbox({})).sandbox()
            async for output in box.execute(command):
                if isinstance(output, Output):
                    lines.take(output.stream, output.data)
                    text = output.data[:NOTE_BYTES_MAX].decode(errors="replace")
                    self._parts.feed.publish(self._session, Delta(of=output.stream, text=text))
                elif isinstance(output, Stop):
                    stop = output
        except HandsLost as error:
            await self._desk.record("tool.noted", *lost(self._parts, self._session, self._desk, error))
            await self._parts.rack.drop(self._session)
            return f"the sandbox is gone: {error.message}"
        except InterlockError as error:
            return f"{error.code}: {error.message}"
        if stop is None or stop.status != "completed":
            return f"it did not end by itself: {stop.reason if stop else 'the sandbox died under it'}"
        return f"it ended with exit status {stop.exit_code}. {stop.reason}".rstrip(" .") if stop.exit_code else ""

    async def _noted(self, lines: _Lines) -> None:
        notes = list(iter(lines.note, None))
        if notes:
            await self._desk.record("tool.noted", *notes)
