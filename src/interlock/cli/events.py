"""`interlock ledger events`: single events, asked of the server."""

from typing import Any

import msgspec

from interlock.cli.client import call
from interlock.cli.output import Column, say, say_csv, say_json, table

_COLUMNS = ("counts_at", "n", "corrects", "type", "subject", "source", "id", "data", "application", "taken_at", "seq")


def show(args: Any) -> int:
    """One row each time that an event counts or is taken back."""
    params = {name: getattr(args, name) for name in ("tenant", "type", "subject", "source", "id")}
    params |= {"from": args.since, "to": args.until, "limit": str(args.limit)}
    found = call(args, "GET", "/v1/events", params=params)
    if args.format == "json":
        say_json(found)
        return 0
    rows = [{**one["event"], **one, "data": _json(one["event"].get("data"))} for one in found["events"]]
    if args.format == "csv":
        say_csv(_COLUMNS, rows)
    else:
        cells = [[str(row.get(name) or "-") for name in _COLUMNS] for row in rows]
        say(*table([Column(name.replace("_", " "), name in ("n", "seq")) for name in _COLUMNS], cells))
    return 0


def _json(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()
