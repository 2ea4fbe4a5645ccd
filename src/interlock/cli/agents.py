"""`interlock run`, `attach`, `approve`, `deny`, `approvals`, `sessions`: agents on the server, from a terminal."""

import sys
import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from interlock.cli.client import key_of, server_url
from interlock.cli.output import Column, money, say, say_json, table
from interlock.cli.watching import Watch, agent_line
from interlock.client import Agents, Refused, Session, Unreachable
from interlock.errors import CODES, InterlockError, LocalError, TransientError

WAITS = 3
"""Exit status: a person is asked, and nobody is at this terminal."""


def run(args: Any) -> int:
    """Start one and watch it."""
    agents, task = _agents(args), _text(args.task)
    if not task.strip():
        raise LocalError("say what it is to do", field="TASK")
    labels = dict(_label(text) for text in args.label)
    files = [_file(text) for text in args.put]
    with _Errors():
        # With files for its workspace it is told its task when they are there.
        session = agents.run("" if files else task, agent=settings_of(args), title=args.title, labels=labels)
        for path, data in files:
            session.write(path, data)
        if files:
            session.say(task)
        if args.detach:
            say_json({"session": session.id}) if args.format == "json" else say(session.id)
            return 0
        return _watch(args, session, after=0, until_idle=True)


def attach(args: Any) -> int:
    """Watch one."""
    with _Errors():
        return _watch(args, _agents(args).session(args.session), after=args.after, until_idle=args.until_idle)


def approve(args: Any) -> int:
    """Allow what it asks."""
    return _answer(args, approved=True)


def deny(args: Any) -> int:
    """Refuse what it asks."""
    return _answer(args, approved=False)


def approvals(args: Any) -> int:
    """Everything that waits for a person."""
    with _Errors():
        found = _agents(args).approvals()
    if args.format == "json":
        say_json({"approvals": found})
        return 0
    columns = ("session", "approval", "tool", "arguments", "expires_at", "why")
    say(
        *table(
            [Column(name.replace("_", " ")) for name in columns],
            [[str(one[name]) for name in columns] for one in found],
        )
    )
    return 0


def listed(args: Any) -> int:
    """Sessions, the newest first."""
    with _Errors():
        found = _agents(args).sessions(before=args.before, limit=args.limit, tenant=args.tenant)
    if args.format == "json":
        say_json({"sessions": found})
        return 0
    columns = ("session", "status", "title", "detail", "principal", "head", "changed_at")
    rows = [[str(one[name] or "-") for name in columns] for one in found]
    say(*table([Column(name.replace("_", " "), name == "head") for name in columns], rows))
    return 0


def show(args: Any) -> int:
    """One session."""
    with _Errors():
        return _shown(args, _agents(args).session(args.session).show())


def events(args: Any) -> int:
    """Its log, with the events' numbers; JSON is one event a line, and has those that only matter to proofs too."""
    with _Errors():
        session, after = _agents(args).session(args.session), args.after
        watch = Watch(args.format, answers=False, numbered=True)
        while found := session.events(after=after):
            for event in found:
                watch.tell(event)
            after = found[-1]["seq"]
    return 0


def say_to(args: Any) -> int:
    """Tell it something."""
    with _Errors():
        seq = _agents(args).session(args.session).say(_text(args.text))
    say_json({"session": args.session, "seq": seq}) if args.format == "json" else say(f"event {seq}")
    return 0


def cancel(args: Any) -> int:
    """Stop what runs."""
    with _Errors():
        return _shown(args, _agents(args).session(args.session).cancel(args.reason))


def reset(args: Any) -> int:
    """A fresh start for the model."""
    with _Errors():
        return _shown(args, _agents(args).session(args.session).reset(args.summary))


def compact(args: Any) -> int:
    """A summary in the place of what has been."""
    with _Errors():
        return _shown(args, _agents(args).session(args.session).compact())


def wake(args: Any) -> int:
    """Have it looked at."""
    with _Errors():
        return _shown(args, _agents(args).session(args.session).wake())


def fork(args: Any) -> int:
    """A copy of it."""
    with _Errors():
        made = _agents(args).session(args.session).fork(at=args.at, title=args.title or None, say=args.say)
    say_json({"session": made.id}) if args.format == "json" else say(made.id)
    return 0


def budget(args: Any) -> int:
    """Allow it more. What is not named stays as it is."""
    with _Errors():
        session = _agents(args).session(args.session)
        wanted = {name: value for name, value in session.show()["budget"].items() if value is not None}
        given = {
            "steps": args.steps,
            "tokens": args.tokens,
            "wall_s": args.wall_s,
            "amount_nanousd": _nanousd(args.usd),
        }
        named = {name: value for name, value in given.items() if value is not None}
        if not named:
            raise LocalError("name what it may use: --steps, --tokens, --wall-s or --usd", field="--steps")
        wanted |= named
        if "amount_nanousd" in wanted:
            wanted["amount_nanousd"] = int(wanted["amount_nanousd"])
        return _shown(args, session.raise_budget(**wanted))


def read(args: Any) -> int:
    """A file of its workspace, to standard output."""
    with _Errors():
        data = _agents(args).session(args.session).read(args.path)
    sys.stdout.buffer.write(data)
    return 0


def write(args: Any) -> int:
    """Standard input, into its workspace."""
    data = sys.stdin.buffer.read()
    with _Errors():
        _agents(args).session(args.session).write(args.path, data)
    return 0


class _Errors:
    """The client's errors as the command line's."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if isinstance(error, Refused):
            code = error.code if error.code in CODES else "internal"
            where = "" if not error.field or error.field.split(".")[-1] in error.message else f"{error.field}: "
            raise InterlockError(where + error.message, code=code, field=error.field) from error
        if isinstance(error, Unreachable):
            raise TransientError(f"{error}: start one with `interlock serve`, or set INTERLOCK_URL") from error


def _agents(args: Any) -> Agents:
    return Agents(server_url(args), key_of(args), tries=5)


def _watch(args: Any, session: Session, *, after: int, until_idle: bool) -> int:
    people = sys.stdin.isatty() and sys.stdout.isatty() and args.format == "table"
    watch = Watch(args.format, answers=people)
    status = 0
    for event in session.watch(after=after, until_idle=until_idle, deltas=args.format == "table"):
        watch.tell(event)
        if event["type"] == "turn.ended":
            status = 0 if event["reason"] == "done" else 1
        if event["type"] == "approval.asked" and (people or until_idle) and _is_open(session, event["approval"]):
            if people:
                watch.ask(session, event)
            else:
                watch.hint(session.id)
                return WAITS
    return status


def _is_open(session: Session, approval: str) -> bool:
    """What is told of the past may have been answered since."""
    return any(one["approval"] == approval for one in session.show()["approvals"])


def _answer(args: Any, *, approved: bool) -> int:
    with _Errors():
        session = _agents(args).session(args.session)
        open_ = session.show()["approvals"]
        wanted = [one for one in open_ if args.approval in ("", one["approval"])]
        if len(wanted) != 1:
            listed = "; ".join(f"{one['approval']}: {one['tool']} {one['arguments']}" for one in open_)
            raise LocalError(
                f"name one of: {listed}" if open_ else f"{session.id} asks nothing now", code="approval_closed"
            )
        one = wanted[0]
        answer = session.approve if approved else session.deny
        found = answer(one["approval"], one["arguments_sha256"], note=args.note)
    if args.format == "json":
        say_json(found)
    else:
        say(f"{'approved' if approved else 'denied'}: {one['tool']} {one['arguments']}")
    return 0


def _shown(args: Any, found: dict[str, Any]) -> int:
    if args.format == "json":
        say_json(found)
        return 0
    for name in ("session", "status", "title", "detail", "tenant", "principal", "created_at", "changed_at", "parent"):
        if found[name]:
            say(f"{name.replace('_', ' '):<12} {found[name]}")
    agent, used, limits = found["agent"], found["used"], found["budget"]
    say(f"{'agent':<12} {agent_line(agent)}")
    for name in ("steps", "tokens"):
        bound = "" if limits.get(name) is None else f" of {limits[name]}"
        say(f"{name:<12} {used[name]}{bound}")
    most = limits.get("amount_nanousd")
    say(f"{'cost':<12} {money(used['amount_nanousd'])}" + ("" if most is None else f" of {money(most)}"))
    for one in found["approvals"]:
        when = f"({one['why']}; until {one['expires_at']})"
        say(f"{'asks':<12} {one['approval']}: {one['tool']} {one['arguments']} {when}")
    return 0


def settings_of(args: Any) -> dict[str, Any]:
    """The agent that `run` asks for: its file's settings, then its options. Raises: LocalError: the file is no TOML."""
    agent: dict[str, Any] = {}
    if args.agent:
        try:
            agent = tomllib.loads(Path(args.agent).read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise LocalError(f"{args.agent}: {error}", field="--agent") from error
    for name in ("model", "wire", "mode", "hands"):
        if getattr(args, name):
            agent[name] = getattr(args, name)
    if args.tool:
        agent["tools"] = args.tool
    for name in ("allow", "ask", "deny"):
        if getattr(args, name):
            agent.setdefault("rules", {})[name] = getattr(args, name)
    if args.egress:
        agent.setdefault("resources", {})["egress"] = args.egress
    if args.steps is not None:
        agent.setdefault("budget", {})["steps"] = args.steps
    if args.program:
        agent["program"] = args.program
    return agent


def _text(text: str) -> str:
    return sys.stdin.read() if text == "-" else text


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise LocalError(f"{text!r} is not NAME=VALUE", field="--label")
    return name, value


def _file(text: str) -> tuple[str, bytes]:
    source, _, target = text.partition(":")
    return target or Path(source).name, Path(source).read_bytes()


def _nanousd(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise LocalError(f"{text!r} is not an amount of dollars", field="--usd") from error
    if not value.is_finite() or not 0 <= value <= 10**9:
        raise LocalError("an amount of dollars is from 0 to 1,000,000,000", field="--usd")
    return int(value * 10**9)
