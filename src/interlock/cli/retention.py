"""`interlock ledger retention`: what leaves the ledger's tables by policy, asked of the server."""

from typing import Any

from interlock.cli.client import call
from interlock.cli.output import Column, complain, number, say, say_csv, say_json, table
from interlock.errors import LocalError

_COLUMNS = (
    *("table", "tenant", "keep_days", "then", "place", "before", "due_rows", "due_first_day", "due_last_day"),
    *("left_before", "left_rows", "left_at"),
)
_NUMBERS = ("keep_days", "due_rows", "left_rows")


def show(args: Any) -> int:
    """A row for each rule. Status 1 if the last look broke off."""
    if (args.table is None) != (args.keep_days is None) or (args.tenant and not args.table):
        raise LocalError("another rule is --table and --keep-days, and perhaps --tenant", field="--keep-days")
    params = {"table": args.table, "keep_days": args.keep_days and str(args.keep_days), "tenant": args.tenant}
    found = call(args, "GET", "/v1/retention", params=params)
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv(_COLUMNS, found["tables"])
    elif not found["tables"]:
        say("nothing leaves the tables: no rule says so")
    else:
        cells = [[_cell(name, row[name]) for name in _COLUMNS] for row in found["tables"]]
        say(*table([Column(name.replace("_", " "), name in _NUMBERS) for name in _COLUMNS], cells))
        say("", f"last look: {found['looked_at'] or 'none since the start'}")
    if found["problem"]:
        complain(found["problem"])
    return int(bool(found["problem"]))


def _cell(name: str, value: object) -> str:
    if value is None:
        return "-"
    return number(value) if name in _NUMBERS else str(value)
