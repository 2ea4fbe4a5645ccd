"""`interlock tenants`: all through the server, which alone writes the log."""

from typing import Any

from interlock.cli.client import call, segment
from interlock.cli.output import Column, say, say_csv, say_json, table


def create(args: Any) -> int:
    """Harmless if it stands so already."""
    return _told(args, call(args, "POST", "/v1/tenants", body={"name": args.name, "boundary": args.boundary}))


def accept(args: Any) -> int:
    """Terms that deployments ask for."""
    path = f"/v1/tenants/{segment(args.name)}/agreements"
    return _told(args, call(args, "POST", path, body={"agreement": args.agreement, "by": args.by}))


def leave(args: Any) -> int:
    """Nothing is sent under them once this returns."""
    path = f"/v1/tenants/{segment(args.name)}/agreements/{segment(args.agreement)}"
    return _told(args, call(args, "DELETE", path, params={"reason": args.reason or None}))


def show(args: Any) -> int:
    """All of them."""
    found = call(args, "GET", "/v1/tenants")["tenants"]
    rows = [{**one, "agreements": " ".join(each["agreement"] for each in one["agreements"])} for one in found]
    if args.format == "json":
        say_json({"tenants": found})
    elif args.format == "csv":
        say_csv(("name", "boundary", "agreements"), rows)
    else:
        cells = [[row[name] or "-" for name in ("name", "boundary", "agreements")] for row in rows]
        say(*table([Column("name"), Column("boundary"), Column("agreements")], cells))
    return 0


def _told(args: Any, tenant: dict[str, Any]) -> int:
    if args.format == "json":
        say_json(tenant)
    else:
        agreements = ", ".join(one["agreement"] for one in tenant["agreements"]) or "no agreements"
        say(f"{tenant['name']}: boundary {tenant['boundary'] or 'none'}, {agreements}")
    return 0
