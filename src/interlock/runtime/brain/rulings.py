"""Permissions, asked by the loop: what a decision must know is looked up here, and the decision is theirs.

A path that a call names may be a link. Where it really leads is found inside the sandbox, which therefore is
provisioned for a call that names one; a call that names none (`curl …`, `mcp(…)`) is judged without.
"""

import posixpath
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from interlock.errors import HandsLost, InterlockError
from interlock.runtime.brain.toolbox import Judge
from interlock.runtime.brain.tools.ports import Tool
from interlock.runtime.hands import Command, Delta, Hands, Sandbox, Stop
from interlock.runtime.permissions import Facts, Request, decide, paths_of
from interlock.runtime.sessions.event import Verdict
from interlock.runtime.sessions.state import State

LOOK_S = 10.0
LOOK_BYTES_MAX = 256 * 1024
PATHS_MAX = 256
_SCRIPT = 'pwd -P && exec realpath -zm -- "$@"'


class Permissions(Judge):
    """Decides by a session's mode and rules."""

    def __init__(self, hands: Mapping[str, Hands]) -> None:
        self._hands = hands

    async def judge(
        self, state: State, tool: Tool, arguments: dict[str, Any], sandbox: Callable[[], Awaitable[Sandbox]]
    ) -> tuple[Verdict, str]:
        agent = state.agent
        hands = self._hands.get(agent.hands)
        if hands is None:
            return "deny", f"there are no hands of the kind {agent.hands!r} here"
        request = Request(tool=tool.asks_as, arguments=arguments, effect=tool.effect)
        try:
            links = await _links(request, sandbox)
            facts = Facts(
                mode=agent.mode,
                rules=agent.rules,
                strength=hands.strength,
                denials=state.denials,
                denials_max=state.budget.denials,
                links=links,
            )
            ruling = decide(request, facts)
        except HandsLost:
            raise
        except InterlockError as error:  # a rule that does not parse; a sandbox that cannot be had
            return "deny", f"not judged: {error.message}"
        return ruling.verdict, ruling.why


async def _links(request: Request, sandbox: Callable[[], Awaitable[Sandbox]]) -> dict[str, str]:
    """Where the paths that a call names lead, relative to the workspace; empty: outside."""
    paths = [path for path in paths_of(request) if "\0" not in path][:PATHS_MAX]
    if not paths or str(request.arguments.get("path", "")).startswith("blob:"):
        return {}
    box = await sandbox()
    # absolute paths are the sandbox's own; the rules' name for the workspace stands for the real one
    output, status = bytearray(), None
    argv = ("sh", "-c", _SCRIPT, "sh", *paths)
    async for piece in box.execute(Command(argv=argv, time_s=LOOK_S)):
        if isinstance(piece, Delta) and piece.stream == "stdout":
            output += piece.data[: LOOK_BYTES_MAX - len(output)]
        elif isinstance(piece, Stop):
            status = piece.exit_code
    root, _, rest = bytes(output).decode(errors="surrogateescape").partition("\n")
    found = rest.split("\0")[:-1]
    if status != 0 or len(found) != len(paths):
        return dict.fromkeys(paths, "")  # it could not be looked up: nothing is known to be inside
    return {path: _inside(where, root) for path, where in zip(paths, found, strict=True)}


def _inside(where: str, root: str) -> str:
    if where == root:
        return "."
    return posixpath.relpath(where, root) if where.startswith(root.rstrip("/") + "/") else ""
