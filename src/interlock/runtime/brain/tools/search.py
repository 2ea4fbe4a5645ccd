"""`search`: lines that match a pattern, by grep in the sandbox."""

from typing import Annotated, Any

import msgspec

from interlock.runtime.brain.tools.ports import Done, Use, decoded, ran
from interlock.runtime.hands import Command
from interlock.runtime.sessions.event import Effect

BYTES_MAX = 64 * 1024
LINE_CHARS_MAX = 500
IN_ONE_FILE_MAX = 50
TIME_S = 60.0


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pattern: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] = "."
    glob: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Search:
    """Pure."""

    name = asks_as = "search"
    description = (
        "Search the workspace for lines that match an extended regular expression (grep -E). `path`: a file or "
        "directory; `glob`: names of files, such as *.py. Version control and binary files are left out."
    )
    effect: Effect = "pure"
    schema: dict[str, Any] = {  # noqa: RUF012 - a class of constants; nothing writes to it
        "type": "object",
        "properties": {"pattern": {"type": "string"}, "path": {"type": "string"}, "glob": {"type": "string"}},
        "required": ["pattern"],
        "additionalProperties": False,
    }

    def check(self, arguments: dict[str, Any]) -> str:
        wrong = decoded(arguments, _Arguments)
        if not wrong and any("\0" in value for value in arguments.values()):
            return "no argument holds NUL"
        return wrong

    async def run(self, arguments: dict[str, Any], use: Use) -> Done:
        asked = msgspec.convert(arguments, _Arguments)
        argv = ["grep", "-rnIE", "-m", str(IN_ONE_FILE_MAX), "--exclude-dir=.git", "--exclude-dir=.hg"]
        argv += [f"--include={asked.glob}"] if asked.glob else []
        argv += ["-e", asked.pattern, "--", asked.path]
        command = Command(argv=tuple(argv), time_s=min(TIME_S, use.time_s), env={"LC_ALL": "C.UTF-8"})
        run = await ran(use, command, limit=BYTES_MAX, quiet=True)
        lines = bytes(run.output).decode(errors="replace").splitlines()
        shown = [line if len(line) <= LINE_CHARS_MAX else line[:LINE_CHARS_MAX] + " […]" for line in lines]
        if run.cut:
            shown = [*shown[:-1], "[there is more: search for something narrower]"]
        elif run.stop is None or run.stop.status != "completed":
            shown.append(f"[stopped: {run.stop.reason if run.stop else 'the sandbox died under it'}]")
            return Done(
                outcome="timed_out" if run.stop and run.stop.status == "timed_out" else "error", content=_of(shown)
            )
        elif run.stop.exit_code not in (0, 1):
            return Done(outcome="error", content=_of(shown or [f"grep ended with {run.stop.exit_code}"]))
        return Done(content=_of(shown or ["[nothing matches]"]))


def _of(lines: list[str]) -> bytes:
    return "\n".join(lines).encode()
