"""`interlock withdraw`, `reinstate` and `withdrawals`: all through the server, which alone writes the log."""

from typing import Any

from interlock.cli.client import call, segment
from interlock.cli.output import Column, complain, say, say_csv, say_json, table

_COLUMNS = ("kind", "name", "at", "by", "reason")


def withdraw(args: Any) -> int:
    """Answers when no worker sends to it."""
    body = {"kind": args.kind, "name": args.name, "reason": args.reason}
    found = call(args, "POST", "/v1/withdrawals", body=body)
    if args.format == "json":
        say_json(found)
        return 0
    concerned = ", ".join(found["deployments"]) or "no deployment of the policy in force"
    say(f"{found['kind']} {found['name']} is withdrawn: {concerned}")
    if found["workers_killed"]:
        complain(f"{found['workers_killed']} workers did not answer in time, and were killed")
    return 0


def reinstate(args: Any) -> int:
    """Calls may go there again."""
    path = f"/v1/withdrawals/{segment(args.kind)}/{segment(args.name)}"
    found = call(args, "DELETE", path, params={"reason": args.reason or None})
    if args.format == "json":
        say_json(found)
    else:
        say(f"{args.kind} {args.name} is reinstated")
    return 0


def show(args: Any) -> int:
    """All that stand."""
    found = call(args, "GET", "/v1/withdrawals")["withdrawals"]
    if args.format == "json":
        say_json({"withdrawals": found})
    elif args.format == "csv":
        say_csv(_COLUMNS, found)
    else:
        rows = [[*(one[name] or "-" for name in _COLUMNS), ", ".join(one["deployments"]) or "-"] for one in found]
        say(*table([*map(Column, _COLUMNS), Column("deployments")], rows))
    return 0
