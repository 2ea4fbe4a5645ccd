"""`shell`: a line of shell in the sandbox."""

from typing import Annotated, Any

import msgspec

from interlock.runtime.brain.tools.ports import Done, Use, decoded, ran
from interlock.runtime.hands import Command
from interlock.runtime.sessions.event import Effect

TIME_S_MAX = 3600.0


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    command: Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]
    time_s: Annotated[float, msgspec.Meta(gt=0, le=TIME_S_MAX)] | None = None
    cwd: Annotated[str, msgspec.Meta(max_length=4096)] = "."


class Shell:
    """Once by default: nobody can know what a command does when it runs a second time."""

    name = asks_as = "shell"
    description = (
        "Run a command line with sh in the workspace and get its output and exit status. Each call is a fresh process: "
        "a directory or variable that one sets is not there for the next. Nothing can be typed in."
    )
    effect: Effect = "once"
    schema: dict[str, Any] = {  # noqa: RUF012 - a class of constants; nothing writes to it
        "type": "object",
        "properties": {
            "command": {"type": "string"},
            "time_s": {"type": "number", "description": "Seconds after which it is killed."},
            "cwd": {"type": "string", "description": "Directory, relative to the workspace."},
        },
        "required": ["command"],
        "additionalProperties": False,
    }

    def check(self, arguments: dict[str, Any]) -> str:
        wrong = decoded(arguments, _Arguments)
        return wrong or ("a command holds no NUL" if "\0" in arguments["command"] else "")

    async def run(self, arguments: dict[str, Any], use: Use) -> Done:
        asked = msgspec.convert(arguments, _Arguments)
        time_s = min(asked.time_s or use.resources.time_s, use.time_s)
        command = Command(argv=("sh", "-c", asked.command), cwd=asked.cwd, time_s=time_s)
        run = await ran(use, command, limit=use.resources.output_bytes + 1)
        output, stop = bytes(run.output), run.stop
        if output and not output.endswith(b"\n"):
            output += b"\n"
        if stop is None or stop.status == "lost":
            died = b"[the sandbox died under it: it may have had its effect, wholly or in part, or none]"
            return Done(outcome="unknown", content=output + died)
        if stop.thrown_away:
            output += f"[{stop.thrown_away} more bytes of output were thrown away]\n".encode()
        if stop.status == "timed_out":
            return Done(outcome="timed_out", content=output + f"[{stop.reason or 'time is up'}]".encode())
        why = f": {stop.reason}" if stop.reason else ""
        ending = f"[exit status {stop.exit_code}{why}]".encode()
        return Done(outcome="ok" if stop.exit_code == 0 else "error", content=output + ending)
