"""What a tool is, and what it is given to work with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

from interlock.runtime.brain.action import Outcome
from interlock.runtime.hands import Command, Delta, Resources, Sandbox, Stop
from interlock.runtime.sessions.event import Effect


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run. `content`: for the model; a long one is kept beside the log."""

    outcome: Outcome = "ok"
    content: bytes


class Use(Protocol):
    """One run of a tool: its surroundings."""

    session: str
    key: str
    """The call's idempotency key, the same for every attempt at it."""
    attempt: int
    time_s: float
    """The most this run may take."""
    resources: Resources

    async def sandbox(self) -> Sandbox:
        """The session's sandbox, provisioned if there is none. Raises: HandsUnavailable."""
        ...

    def emit(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Show people a piece of output as it comes."""
        ...

    async def note(self, data: Mapping[str, Any]) -> None:
        """Write down, before an effect, what it will be; `noted` gives it back to a later attempt."""
        ...

    async def noted(self) -> Sequence[Mapping[str, Any]]:
        """What earlier attempts at this call wrote down."""
        ...

    async def blob(self, sha256: str) -> bytes | None:
        """Content that an earlier result of this session was too long for; None: no result of it has this hash."""
        ...


class Tool(Protocol):
    """Something that a model can call."""

    name: str
    description: str
    schema: dict[str, Any]
    """JSON schema of the arguments."""
    effect: Effect
    asks_as: str
    """Its name in the rules of permissions: its own, or `mcp(server.tool)`."""

    def check(self, arguments: dict[str, Any]) -> str:
        """Why the arguments are refused, in words for the model; empty: they are good. Pure."""
        ...

    async def run(self, arguments: dict[str, Any], use: Use) -> Done:
        """Do it; `arguments` passed `check`. Cancelling it stops whatever it started.

        Raises: HandsLost, HandsUnavailable, LocalError: told to the model as an error.
        """
        ...


@dataclass(slots=True)
class Ran:
    """A command's whole output, both streams as they came, bounded by the sandbox."""

    output: bytearray
    stop: Stop | None = None
    cut: bool = False
    """Stopped because `limit` was reached."""


async def ran(use: Use, command: Command, *, limit: int, quiet: bool = False) -> Ran:
    """Run a command to its end, or until `limit` bytes of output have come. `quiet`: nobody is shown it as it comes."""
    sandbox = await use.sandbox()
    run = Ran(bytearray())
    outputs = sandbox.execute(command)
    try:
        async for output in outputs:
            if isinstance(output, Delta):
                run.output += output.data[: limit - len(run.output)]
                if not quiet:
                    use.emit(output.stream, output.data)
                if len(run.output) >= limit:
                    run.cut = True
                    break
            elif isinstance(output, Stop):
                run.stop = output
    finally:
        close = getattr(outputs, "aclose", None)
        if close is not None:
            await close()
    return run


def decoded(arguments: dict[str, Any], shape: type) -> str:
    """Why the arguments do not have the shape; empty: they have."""
    try:
        msgspec.convert(arguments, shape, strict=True)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
