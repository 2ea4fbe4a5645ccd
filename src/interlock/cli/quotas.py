"""`interlock quotas`: where limits stand now, as the workers count."""

from typing import Any

from interlock.cli.client import call
from interlock.cli.output import Column, say, say_csv, say_json, table

_COLUMNS = ("name", "for", "measure", "window", "used", "held", "others", "amount", "percent", "ends")
_NUMBERS = ("used", "held", "others", "amount", "percent")


def show(args: Any) -> int:
    """The fullest first."""
    found = call(args, "GET", "/v1/quotas", params={"tenant": args.tenant})
    rows = [{**one, "for": " ".join(f"{k}={v}" for k, v in one["scope"].items())} for one in found["quotas"]]
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv(_COLUMNS, rows)
    else:
        cells = [[str(row[name] if row[name] not in (None, "") else "-") for name in _COLUMNS] for row in rows]
        say(*table([Column(name, name in _NUMBERS) for name in _COLUMNS], cells))
        if found["more"]:
            say(f"… and {found['more']} that are less full")
    return 0
