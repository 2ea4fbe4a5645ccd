"""Permissions of a session, asked by the loop: with the real decision, and links as they really are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.brain.rig import Made, begun
from tests.runtime.brain.test_loop import echo

from interlock.clock import SystemClock
from interlock.errors import HandsUnavailable
from interlock.runtime.brain.rulings import Permissions
from interlock.runtime.brain.tools import BUILT_IN
from interlock.runtime.hands import Resources, Sandbox
from interlock.runtime.hands.process import Process
from interlock.runtime.hands.workspaces import Workspaces
from interlock.runtime.sessions.agent import Rules

TOOLS = {tool.name: tool for tool in BUILT_IN}


async def nowhere() -> Sandbox:
    raise HandsUnavailable("it should not have been asked for")


def judged(
    run: Callable[..., Any], tmp_path: Path, tool: Any, arguments: dict[str, Any], **agent: Any
) -> tuple[str, str]:
    async def main() -> Any:
        hands: Any = Process(Workspaces(tmp_path / "w", SystemClock(), own_users=False), SystemClock())
        box = await hands.provision("ses_1", "wsp_1", Resources())
        await box.write("notes.txt", b"x")
        await box.write(".git/config", b"x")
        async for _ in box.execute(_command("ln -sfn .git/config innocent; ln -sfn /etc/passwd out")):
            pass
        asked: list[int] = []

        async def sandbox() -> Sandbox:
            asked.append(1)
            return box  # type: ignore[no-any-return]  # a Sandbox

        state = begun(hands="process", **agent)
        try:
            return await Permissions({"process": hands}).judge(state, tool, arguments, sandbox)
        finally:
            await box.destroy()

    return run(main, blocking_s=1.0)  # type: ignore[no-any-return]  # what main returned


def _command(text: str) -> Any:
    from interlock.runtime.hands import Command

    return Command(argv=("sh", "-c", text))


@pytest.mark.parametrize(
    ("tool", "arguments", "agent", "verdict"),
    [
        ("read", {"path": "notes.txt"}, {}, "allow"),
        ("read", {"path": "out"}, {}, "deny"),
        ("edit", {"path": "notes.txt", "old": "x", "new": "y"}, {}, "ask"),
        ("edit", {"path": "notes.txt", "old": "x", "new": "y"}, {"mode": "accept-edits"}, "allow"),
        ("edit", {"path": "innocent", "old": "x", "new": "y"}, {"mode": "accept-edits"}, "ask"),
        ("edit", {"path": "notes.txt", "old": "x", "new": "y"}, {"mode": "plan"}, "deny"),
        ("shell", {"command": "rm -rf notes.txt"}, {}, "ask"),
        ("shell", {"command": "cat notes.txt"}, {"rules": Rules(allow=("shell(cat:*)",))}, "allow"),
        ("shell", {"command": "cat notes.txt"}, {"rules": Rules(deny=("read(notes.txt)",))}, "deny"),
        ("shell", {"command": "anything"}, {"mode": "bypass"}, "deny"),
        ("shell", {"command": "make"}, {"mode": "auto"}, "deny"),
        ("fetch", {"url": "https://x.example/"}, {"rules": Rules(allow=("fetch(x.example)",))}, "allow"),
    ],
)
def test_what_may_run(
    run: Any, tmp_path: Path, tool: str, arguments: dict[str, Any], agent: dict[str, Any], verdict: str
) -> None:
    got, why = judged(run, tmp_path, TOOLS[tool], arguments, **agent)
    assert (got, bool(why)) == (verdict, True), why


def test_tools_behind_the_door_are_named_as_their_server_names_them(run: Any, tmp_path: Path) -> None:
    tool = Made("srv__pay_now", echo)
    tool.asks_as = "mcp(srv.pay.now)"
    assert judged(run, tmp_path, tool, {}, rules=Rules(deny=("mcp(srv.pay.now)",)))[0] == "deny"
    assert judged(run, tmp_path, tool, {}, rules=Rules(allow=("mcp(srv.*)",)))[0] == "allow"
    assert judged(run, tmp_path, tool, {})[0] == "ask"


def test_who_cannot_be_judged_is_denied(run: Any, tmp_path: Path) -> None:
    assert judged(run, tmp_path, TOOLS["shell"], {"command": "ls"}, rules=Rules(allow=("no such(",)))[0] == "deny"

    async def main() -> Any:
        state = begun(hands="none")
        return await Permissions({}).judge(state, TOOLS["shell"], {"command": "ls"}, nowhere)

    assert run(main)[0] == "deny"


def test_a_call_that_names_no_path_needs_no_sandbox(run: Any) -> None:
    async def main() -> Any:
        hands: Any = Process(Workspaces(Path("nowhere"), SystemClock(), own_users=False), SystemClock())
        state = begun(hands="process", rules=Rules(allow=("fetch(x.example)",)))
        return await Permissions({"process": hands}).judge(
            state, TOOLS["fetch"], {"url": "https://x.example/"}, nowhere
        )

    assert run(main)[0] == "allow"
