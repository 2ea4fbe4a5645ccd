"""`interlock tools list`, `show` and `approve`: what tool servers describe, and what of it may be shown to models."""

from typing import Any

from interlock.cli.client import call, segment
from interlock.cli.output import Column, say, say_csv, say_json, table
from interlock.errors import LocalError

_COLUMNS = ("server", "name", "state", "by", "at")


def show_all(args: Any) -> int:
    """Every tool that was ever seen, and which servers did not answer who last asked for theirs."""
    answer = call(args, "GET", "/v1/tools", params={"server": args.server})
    found = answer["tools"]
    if args.format == "json":
        say_json(answer)
    elif args.format == "csv":
        say_csv(_COLUMNS, found)
    else:
        say(*table([*map(Column, _COLUMNS)], [[one[name] or "-" for name in _COLUMNS] for one in found]))
        for one in answer["unavailable"]:
            who = f"{one['principal']} of {one['tenant']}, {one['at']}"
            say(f"{one['server']} does not answer ({who}): {one['why']}")
    return 0


def show(args: Any) -> int:
    """What is approved of one tool, and what waits."""
    found = call(args, "GET", _path(args))
    say_json(found)
    return 0


def approve(args: Any) -> int:
    """The description of that hash, or the only one that waits."""
    sha256 = args.hash or _only(args, call(args, "GET", _path(args))["waiting"])
    found = call(args, "POST", f"{_path(args)}/approval", body={"sha256": sha256})
    if args.format == "json":
        say_json(found)
    else:
        say(f"{found['server']}.{found['name']} is approved as {found['sha256'][:16]}")
    return 0


def _only(args: Any, waiting: list[dict[str, Any]]) -> str:
    if len(waiting) != 1:
        known = ", ".join(one["sha256"][:16] for one in waiting) or "none"
        raise LocalError(f"{len(waiting)} descriptions wait ({known}): look at them, then name one with --hash")
    return str(waiting[0]["sha256"])


def _path(args: Any) -> str:
    return f"/v1/tools/{segment(args.server)}/{segment(args.name)}"
