"""Which tools a session has, and who runs them: the built-in ones its agent names, and those behind the door."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from interlock.runtime.brain.offer import Offer, Offers
from interlock.runtime.brain.tools.ports import Tool
from interlock.runtime.hands import Sandbox
from interlock.runtime.sessions.event import Note, Verdict
from interlock.runtime.sessions.state import State

_encode = msgspec.json.Encoder(order="sorted").encode


class Judge(Protocol):
    """What permissions say of a call."""

    async def judge(
        self, state: State, tool: Tool, arguments: dict[str, Any], sandbox: Callable[[], Awaitable[Sandbox]]
    ) -> tuple[Verdict, str]:
        """(whether it may run; why, for people and for the model). `sandbox`: where it would run, if that matters."""
        ...


class Door(Protocol):
    """Tools that other servers run, reached through the gateway's door."""

    async def tools(self, session: str, state: State) -> Sequence[Tool]:
        """Those that the agent may use; none where it names none. Raises: RemoteError: they cannot be had now."""
        ...

    def away(self, session: str) -> Mapping[str, str]:
        """Which servers that the agent names did not answer when `tools` asked, and why."""
        ...


@dataclass(frozen=True, slots=True)
class Toolbox:
    """A session's tools, as they are in this run of its brain."""

    tools: Mapping[str, Tool]
    behind: frozenset[str] = frozenset()
    """Names of those behind the door."""
    missing: str = ""
    """Why those behind the door are not among them."""
    away: Mapping[str, str] = field(default_factory=dict)
    """Servers whose tools are not among them, and why."""

    @property
    def offers(self) -> Offers:
        """What the model is offered."""
        return {
            name: Offer(
                name=name, description=tool.description, schema=tool.schema, effect=tool.effect, check=tool.check
            )
            for name, tool in self.tools.items()
        }

    def changes(self, notes: Sequence[Note]) -> Note | None:
        """What is new, changed or gone against what was last written down of tools behind the door; None: nothing."""
        now = {name: _digest(tool) for name, tool in self.tools.items() if name in self.behind}
        before: dict[str, str] = next((note.data["tools"] for note in reversed(notes) if "tools" in note.data), {})
        if self.missing or now == before:
            return None
        changed = sorted(name for name in now if name in before and now[name] != before[name])
        gone = sorted(before.keys() - now.keys())
        new = sorted(now.keys() - before.keys())
        lines = (("changed", changed), ("gone", gone), ("new", new))
        text = "tools behind the door: " + "; ".join(f"{what}: {', '.join(names)}" for what, names in lines if names)
        return Note(text=text[:2000], data={"tools": now, "changed": changed})

    def absences(self, notes: Sequence[Note]) -> Note | None:
        """Which servers do not answer, or answer again, if that is not what was last written down; None: it is.

        The reasons are of the moment (when one is tried again is among them): another reason is nothing new.
        """
        before: dict[str, str] = next((note.data["away"] for note in reversed(notes) if "away" in note.data), {})
        if self.missing or self.away.keys() == before.keys():
            return None
        lines = [
            f"the tool server {name} does not answer, and its tools are not there: {self.away[name]}"
            for name in sorted(self.away.keys() - before.keys())
        ]
        lines += [f"the tool server {name} answers again" for name in sorted(before.keys() - self.away.keys())]
        return Note(text="; ".join(lines)[:2000], data={"away": dict(self.away)})


def _digest(tool: Tool) -> str:
    shape = _encode([tool.description, tool.schema, tool.effect])
    return hashlib.sha256(shape).hexdigest()
