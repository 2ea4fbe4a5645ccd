"""`interlock credits`: prepaid credit is given, listed and voided, usage periods are reset, and balances are shown."""

from typing import Any

from interlock.cli.client import call, segment
from interlock.cli.output import Column, complain, say, say_csv, say_json, table

_GRANTS = ("id", "tenant", "principal", "amount", "balance", "state", "applies", "priority", "effective", "expires")
_BALANCES = (
    "tenant",
    "principal",
    "granted",
    "used",
    "forfeited",
    "forgiven",
    "overage",
    "balance",
    "held",
    "left",
    "for_invoices",
)
_NUMBERS = frozenset(("amount", "priority", *_BALANCES[2:]))


def topup(args: Any) -> int:
    """Credit from now on, for ever unless it expires."""
    body = {"tenant": args.tenant, "amount": args.amount, "expires": args.expires}
    return _grant(args, body)


def grant(args: Any) -> int:
    """Credit with all of its terms."""
    names = ("tenant", "amount", "priority", "effective", "expires", "every", "anchor", "applies")
    body = {name: getattr(args, name) for name in names}
    return _grant(args, body | {"rollover_min": args.rollover_min, "rollover_max": args.rollover_max})


def _grant(args: Any, body: dict[str, Any]) -> int:
    body |= {"id": args.id, "principal": args.principal, "note": args.note}
    made = call(args, "POST", "/v1/credits", body=body)
    if not made["tenant_created"]:
        complain(f"there is no tenant {made['tenant']} yet: its first key makes it")
    if args.format == "json":
        say_json(made)
    else:
        until = f", until {made['expires']}" if made["expires"] else ""
        say(f"{made['id']}: {made['amount']} USD for {_owner(made)} from {made['effective']}{until}")
    return 0


def show(args: Any) -> int:
    """All grants, the newest first."""
    found = call(args, "GET", "/v1/credits", params={"tenant": args.tenant})
    return _listed(args, found, "credits", _GRANTS)


def void(args: Any) -> int:
    """No call is admitted against it once this returns."""
    made = call(args, "DELETE", f"/v1/credits/{segment(args.id)}", params={"reason": args.reason or None})
    if args.format == "json":
        say_json(made)
    else:
        lost = f"{made['forfeited']} USD of it were forfeited"
        if made["balance"].strip("0."):  # forfeited when no call that runs can burn it any more
            lost = f"{made['balance']} USD are left of it, to calls that run"
        say(f"{made['id']} of {_owner(made)} is {made['state']}; {lost}")
    return 0


def reset(args: Any) -> int:
    """What grants have left rolls over by their terms, or is forfeited."""
    body = {name: getattr(args, name) for name in ("id", "principal", "at", "anchor", "keep_overage", "reason")}
    made = call(args, "POST", f"/v1/credits/{segment(args.tenant)}/reset", body=body)
    if args.format == "json":
        say_json(made)
    else:
        lost = f"{made['forfeited']} USD are forfeited, {made['forgiven']} USD forgiven, {made['balance']} USD left"
        sure = "" if made["final"] else "; calls that run may still use of what is forfeited"
        say(f"{made['id']}: the period of {_owner(made)} is reset at {made['at']}; {lost}{sure}")
    return 0


def balances(args: Any) -> int:
    """Every account."""
    found = call(args, "GET", "/v1/balances", params={"tenant": args.tenant})
    return _listed(args, found, "balances", _BALANCES)


def _owner(made: dict[str, Any]) -> str:
    return f"{made['tenant']}/{made['principal']}" if made["principal"] else str(made["tenant"])


def _listed(args: Any, found: dict[str, Any], name: str, columns: tuple[str, ...]) -> int:
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv(columns, found[name])
    else:
        cells = [
            [str(row[column] if row[column] not in (None, "") else "-") for column in columns] for row in found[name]
        ]
        say(*table([Column(column.replace("_", " "), column in _NUMBERS) for column in columns], cells))
        if found["more"]:
            say(f"… and {found['more']} more")
    return 0
