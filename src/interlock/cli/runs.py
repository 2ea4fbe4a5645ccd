"""Options of `run`, `attach`, `approve`, `shell`, `sessions` and their like; as parser.py has the others'."""

import argparse
from typing import TYPE_CHECKING

from interlock.cli import readers
from interlock.cli.parsing import Add

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

MODES = ("plan", "default", "accept-edits", "auto", "bypass")
WIRES = ("messages", "chat", "responses")
HANDS = ("bubblewrap", "gvisor", "process")
_PLAIN = ("table", "json")
_RUN = """start an agent and watch it work. It runs on the server, not here: Ctrl-C only stops watching (attach goes
on), and no laptop's death ends it. What it may not do by itself it asks: at a terminal here, else by `approve`. Exit
status: 0 the turn is done; 1 it ended otherwise; 3 it waits for a person and nobody is at this terminal."""
_ATTACH = """watch a session: what it said and did, then what it says and does, live. Any number may watch at once."""
_SHELL = """a terminal in the session's sandbox. Ctrl-] leaves it running; the same NAME comes back to it, with its last
256 KB of output."""
_COMPACT = """have its model sum up all that has been, and be shown that in its place; the log keeps it. This returns
when it has begun: `sessions show` says whether it is done. Not during a turn, and not for a program's session."""


def agents(commands: "Commands", add: Add) -> None:
    """Agents that run on the server."""
    _run(commands, add)
    attach = add(commands, "attach", "watch a session, live", "agents:attach", formats=_PLAIN)
    attach.description = _ATTACH
    attach.add_argument("session", metavar="SESSION")
    attach.add_argument(
        "--after", metavar="N", type=readers.whole, default=0, help="begin behind event N (default: at the first)"
    )
    attach.add_argument("--until-idle", action="store_true", help="end when it has nothing to do")
    for name, what in (("approve", "allow what a session asks for, once"), ("deny", "refuse what a session asks for")):
        answer = add(commands, name, what, f"agents:{name}", formats=_PLAIN)
        answer.add_argument("session", metavar="SESSION")
        answer.add_argument(
            "approval", metavar="APPROVAL", nargs="?", default="", help="if it asks more than one thing"
        )
        answer.add_argument("--note", metavar="TEXT", default="", help="the agent is told, and it stays in the log")
        _where(answer)
    _where(add(commands, "approvals", "list everything that waits for a person", "agents:approvals", formats=_PLAIN))
    shell = add(commands, "shell", "open a terminal in a session's sandbox", "terminal:shell", formats=("table",))
    shell.description = _SHELL
    shell.add_argument("session", metavar="SESSION")
    shell.add_argument("name", metavar="NAME", nargs="?", default="main", help="default: main")
    for parser in (attach, shell):
        _where(parser)


def _run(commands: "Commands", add: Add) -> None:
    run = add(commands, "run", "start an agent and watch it work", "agents:run", formats=_PLAIN)
    run.description = _RUN
    run.add_argument("task", metavar="TASK", help="what it is to do; - reads standard input")
    run.add_argument("--agent", metavar="FILE", help="a TOML file of its settings (docs/sessions.md); options win")
    run.add_argument("--model", metavar="M", help="a model, tier or alias (default: auto)")
    run.add_argument("--wire", choices=WIRES, help="the format it speaks to the gateway (default: messages)")
    run.add_argument("--mode", choices=MODES, help="what it may do unasked (default: default)")
    for name, what in (("allow", "may"), ("ask", "must ask first to"), ("deny", "may never")):
        text = f"what it {what} do: 'shell(git status:*)', 'edit(src/**)'; repeatable"
        run.add_argument(f"--{name}", metavar="RULE", action="append", help=text)
    run.add_argument(
        "--tool",
        metavar="T",
        action="append",
        help="shell, read, edit, search, fetch (default: these five), mcp(server.tool) or mcp(server.*); repeatable: it"
        " has those that are named, and no others",
    )
    run.add_argument(
        "--hands", choices=HANDS, help="the kind of sandbox (default: bubblewrap); `interlock doctor` tries them"
    )
    run.add_argument(
        "--egress",
        metavar="HOST:PORT",
        action="append",
        help="whom its sandbox may connect to, as api.example.com:443 (default: nobody); repeatable",
    )
    run.add_argument("--steps", metavar="N", type=readers.whole, help="model calls it may make (default: 200)")
    run.add_argument("--title", metavar="TEXT", default="", help="what lists show of it")
    run.add_argument("--label", metavar="NAME=VALUE", action="append", default=[], help="kept with it; repeatable")
    run.add_argument(
        "--put",
        metavar="FILE[:PATH]",
        action="append",
        default=[],
        help="a file of this machine, for its workspace; repeatable",
    )
    run.add_argument("--detach", action="store_true", help="print the session's id and return")
    run.add_argument(
        "--program",
        metavar="ARG",
        nargs=argparse.REMAINDER,
        default=[],
        help="last: an agent program that runs in the sandbox instead of the loop; {prompt} in an ARG is what it is"
        " told, else it reads that on standard input (docs/brain.md)",
    )
    _where(run)


def sessions(group: "Commands", add: Add) -> None:
    """What sessions there are, and what they did."""
    listed = add(group, "list", "list sessions, the newest first", "agents:listed", formats=_PLAIN)
    listed.add_argument("--limit", metavar="N", type=readers.whole, default=50, help="at most so many (default: 50)")
    listed.add_argument("--before", metavar="SESSION", default="", help="older ones than this")
    listed.add_argument("--tenant", metavar="T", default="", help="of this tenant only")
    _where(listed)

    def one(name: str, what: str, run: str = "") -> argparse.ArgumentParser:
        parser = add(group, name, what, f"agents:{run or name}", formats=_PLAIN)
        parser.add_argument("session", metavar="SESSION")
        _where(parser)
        return parser

    one("show", "one session: settings, use, open questions")
    events = one("events", "its log, with the events' numbers; with --format json all of it, an event a line")
    events.add_argument("--after", metavar="N", type=readers.whole, default=0, help="only what stands behind event N")
    one("say", "tell it something", "say_to").add_argument("text", metavar="TEXT", help="- reads standard input")
    cancel = one("cancel", "stop what runs, and end the turn")
    cancel.add_argument("--reason", metavar="TEXT", default="", help="it stays in the log")
    reset = one("reset", "show its model nothing of what has been; the log keeps it")
    reset.add_argument("--summary", metavar="TEXT", default="", help="what the model is told in its place")
    one(
        "compact", "have its model sum up all that has been, and be shown that; the log keeps it"
    ).description = _COMPACT
    one("wake", "have a brain look at it now")
    fork = one("fork", "copy its log and workspace into a new session")
    fork.add_argument(
        "--at",
        metavar="N",
        type=readers.whole,
        help="the last event that is copied, by its number in `sessions events` (default: all)",
    )
    fork.add_argument("--say", metavar="TEXT", default="", help="what the copy is told")
    fork.add_argument("--title", metavar="TEXT", default="", help="default: that of the first")
    budget = one("budget", "set what it may use in all; it goes on if its budget had ended it")
    for name, what in (("steps", "model calls"), ("tokens", "tokens"), ("wall-s", "seconds of work")):
        budget.add_argument(f"--{name}", metavar="N", type=readers.whole, help=f"{what} in all, with those used")
    budget.add_argument("--usd", metavar="X", help="money in all, as 2.50")
    one("read", "print a file of its workspace").add_argument("path", metavar="PATH")
    one("write", "put standard input into a file of its workspace").add_argument("path", metavar="PATH")


def _where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--api-url", metavar="URL", help="ask this api port with a tenant's INTERLOCK_KEY (default: the control port)"
    )
