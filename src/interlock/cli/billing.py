"""`interlock plans`, `subscriptions` and `invoices`: through the server; `check` and `books` also without one."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from interlock.cli.client import NoServer, call, data_dir, segment, text, url
from interlock.cli.output import Column, complain, number, say, say_csv, say_json, say_whole, table
from interlock.errors import LocalError

_INVOICE = ("number", "id", "state", "tenant", "period", "currency", "total", "payable", "left", "due", "issued_at")
_LINE = ("n", "period", "description", "quantity", "unit", "amount", "discount", "net")
PAGE = 1000


def put_plan(args: Any) -> int:
    """The version that stands now."""
    from interlock.rating.reading import read_document

    found = call(args, "POST", "/v1/plans", body=read_document(Path(args.file), "plan"))
    if args.format == "json":
        say_json(found)
    else:
        so = "is" if found["new"] else "stands already as"
        say(f"plan {found['name']} {so} version {found['version']}")
    return 0


def plans(args: Any) -> int:
    """The newest version of each."""
    return _listed(
        args, call(args, "GET", "/v1/plans"), "plans", ("name", "version", "currency", "charges", "adopted_at")
    )


def plan(args: Any) -> int:
    """As it was adopted."""
    version = None if args.version is None else str(args.version)
    say_json(call(args, "GET", f"/v1/plans/{segment(args.name)}", params={"version": version}))
    return 0


def subscribe(args: Any) -> int:
    """What stands now."""
    wanted: dict[str, Any] = {"since": args.since, "plan": args.plan, "zone": args.zone, "every": args.every}
    wanted["version"] = args.version or 0
    if args.reference is not None:
        wanted["reference"] = args.reference
    if (party := _party(args)) is not None:
        wanted["buyer"] = party
    return _subscribed(args, wanted)


def unsubscribe(args: Any) -> int:
    """Nothing is charged from that day on."""
    return _subscribed(args, {"since": args.since, "plan": ""})


def subscriptions(args: Any) -> int:
    """In the order in which they were set."""
    found = call(args, "GET", "/v1/subscriptions", params={"tenant": args.tenant})
    if args.format == "json":
        say_json(found)
        return 0
    rows = [{**one, "buyer": one["buyer"]["name"]} for one in found["subscriptions"]]
    columns = ("tenant", "since", "plan", "version", "every", "zone", "buyer", "reference")
    return _listed(args, {"subscriptions": rows}, "subscriptions", columns)


def issuer(args: Any) -> int:
    """Said anew if anything is given."""
    party = _party(args)
    if party is not None:
        party |= {name: value for name in ("notes", "prefix") if (value := getattr(args, name)) is not None}
        found = call(args, "PUT", "/v1/issuer", body=party)
    elif args.notes or args.prefix:
        raise LocalError("say the issuer whole: --name and the rest with it", field="--name")
    else:
        found = call(args, "GET", "/v1/issuer")
    if args.format == "json":
        say_json(found)
    elif found["issuer"] is None:
        say("nobody is named who sells")
    else:
        one = found["issuer"]
        say(one["name"], *one.get("address", ()), *one.get("tax_ids", ()), *filter(None, [one.get("email")]))
        say(*(f"note: {note}" for note in one.get("notes", ())))
        say(*filter(None, [one.get("prefix") and f"numbers begin with {one['prefix']}"]))
    return 0


def draft(args: Any) -> int:
    """Nothing is written."""
    found = call(args, "GET", "/v1/invoices/draft", params={"tenant": args.tenant, "period": args.period})
    return _invoice(args, found)


def review(args: Any) -> int:
    """What waits for approval."""
    wanted = {"tenant": args.tenant, "period": args.period, "interim": args.interim, "unpriced": args.unpriced}
    found = call(args, "POST", "/v1/invoices", body=wanted)
    return _moved(args, found, f"content {found['sha256']}")


def approve(args: Any) -> int:
    """It can be finalized now."""
    return _moved(args, _post(args, "approval", {"sha256": args.hash}))


def send_back(args: Any) -> int:
    """It will not be sent."""
    return _moved(args, _post(args, "return", {"reason": args.reason}))


def finalize(args: Any) -> int:
    """It has its number."""
    return _moved(args, _post(args, "finalization", {}))


def void(args: Any) -> int:
    """It is reversed."""
    return _moved(args, _post(args, "void", {"reason": args.reason}))


def invoices(args: Any) -> int:
    """The newest first."""
    found = call(args, "GET", "/v1/invoices", params={"tenant": args.tenant})
    if found["more"]:
        complain(f"{found['more']} older ones are not listed: name a tenant")
    return _listed(args, found, "invoices", _INVOICE)


def show(args: Any) -> int:
    """An invoice and its lines, or a credit note by its number."""
    found = call(args, "GET", f"/v1/invoices/{segment(args.invoice)}")
    return _invoice(args, found) if "payable" in found else _note(args, found)


def export(args: Any) -> int:
    """As it came."""
    found = text(args, "GET", f"/v1/invoices/{segment(args.invoice)}?format={args.format}")
    if args.output is None:
        say_whole(found)
        return 0
    Path(args.output).write_text(found, newline="")
    say(f"{args.output}: {args.format}, {number(len(found.encode()))} bytes")
    return 0


def events(args: Any) -> int:
    """All of them, or whether they are those of the line. Status 1: they are not."""
    path = f"/v1/invoices/{segment(args.invoice)}/lines/{args.line}/events"
    rows: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        found = call(args, "GET", path, params={"after": str(after), "limit": str(PAGE)})
        rows += found["events"]
        after = found["next"]
    if args.verify:
        return _verified(args, found["line"]["evidence"], rows)
    return _listed(args, {"line": found["line"], "events": rows}, "events", ("id", "at", "quantity", "meter"))


def check(args: Any) -> int:
    """Status 1: something does not hold."""
    found = _asked(args, "/v1/invoices/check", "check")
    if args.format == "json":
        say_json(found)
    else:
        say(*found["problems"])
        many = f"{number(found['invoices'])} invoices and {number(found['credit_notes'])} credit notes"
        say(f"{many}: {'all hold' if not found['problems'] else str(len(found['problems'])) + ' problems'}")
    return int(bool(found["problems"]))


def books(args: Any) -> int:
    """Status 1: they do not balance."""
    found = _asked(args, "/v1/books", "books")
    _listed(args, found, "accounts", ("currency", "account", "balance"))
    for currency, amount in found["imbalance"].items():
        complain(f"the books are off by {amount} {currency}")
    return int(bool(found["imbalance"]))


def credit(args: Any) -> int:
    """The note that stands now."""
    lines = []
    for given in args.line:
        n, equals, amount = given.partition("=")
        if not (n.isascii() and n.isdigit() and len(n) < 10):
            raise LocalError(f"{given!r} is not N or N=AMOUNT", field="--line")
        lines.append({"n": int(n), "amount": amount if equals else None})
    body = {"id": args.id, "invoice": args.invoice, "reason": args.reason, "lines": lines}
    found = call(args, "POST", "/v1/credit-notes", body=body)
    if args.format == "json":
        say_json(found)
    else:
        so = "gives back" if found["new"] else "was issued already and gives back"
        say(f"credit note {found['number']} {so} {found['total']} of {found['invoice']}")
    return 0


def _party(args: Any) -> dict[str, Any] | None:
    names = ("name", "address", "tax_ids", "email")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    if given and "name" not in given:
        raise LocalError("a party is said whole: --name and the rest with it", field="--name")
    return given or None


def _subscribed(args: Any, wanted: dict[str, Any]) -> int:
    found = call(args, "PUT", f"/v1/subscriptions/{segment(args.tenant)}", body=wanted)
    if args.format == "json":
        say_json(found)
    elif found["plan"]:
        say(f"{found['tenant']} is billed by {found['plan']} version {found['version']} from {found['since']} on")
    else:
        say(f"{found['tenant']} is billed by no plan from {found['since']} on")
    return 0


def _post(args: Any, what: str, body: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = call(args, "POST", f"/v1/invoices/{segment(args.invoice)}/{what}", body=body)
    return found


def _moved(args: Any, found: dict[str, Any], more: str = "") -> int:
    if args.format == "json":
        say_json(found)
    else:
        named = f"{found['number']} ({found['id']})" if found["number"] else found["id"]
        paid = found["payable"] not in (None, found["total"])
        due = f", payable {found['payable']}" if paid and found["state"] == "final" else ""
        due += f", due {found['due']}" if found["due"] else ""
        due += ", of which nothing is due" if found["voided"] else ""
        say(f"{named} is {found['state']}: {found['total']} {found['currency']}{due}" + (f", {more}" if more else ""))
    return 0


def _note(args: Any, found: dict[str, Any]) -> int:
    if args.format == "json":
        say_json(found)
        return 0
    if args.format == "csv":
        say_csv(("n", "amount"), found["lines"])
        return 0
    say(f"{found['number']}  credit note of {found['invoice']}  {found['issued_at'][:10]}  {found['reason']}", "")
    sums = [(f"line {one['n']}", f"-{one['amount']}") for one in found["lines"]]
    sums += [(one["name"], f"-{one['amount']}") for one in found["taxes"]] + [("total", f"-{found['total']}")]
    say(*table([Column(""), Column("", True)], [list(row) for row in sums])[1:])
    return 0


def _invoice(args: Any, found: dict[str, Any]) -> int:
    if args.format == "json":
        say_json(found)
        return 0
    if args.format == "csv":
        say_csv(_LINE, found["lines"])
        return 0
    title = f"{found['number'] or found['id']}  {found['state']}  {found['tenant']}  {found['period']}"
    say(f"{title}  {found['currency']}", "")
    right = ("n", "quantity", "amount", "discount", "net")
    rows = [{**line, "quantity": line["billed"]} for line in found["lines"]]  # in the unit beside it
    cells = [[str(row[name]) for name in _LINE] for row in rows]
    say(*table([Column(name, name in right) for name in _LINE], cells), "")
    sums = [("lines", found["subtotal"])]
    sums += [(f"discount {one['name']}", f"-{one['amount']}") for one in found["discounts"]]
    sums += [(f"{one['name']} {one['percent']} %", one["amount"]) for one in found["taxes"]]
    sums += [("total", found["total"])]
    if found["payable"] is not None:
        sums += [("prepaid", f"-{found['prepaid']}")] if found["prepaid"].strip("0.") else []
        sums += [("payable", found["payable"])]
        sums += [(f"credit note {one['number']}", f"-{one['total']}") for one in found["credit_notes"]]
        sums += [("left", found["left"])] if found["left"] != found["payable"] else []
        sums += [("due", found["due"])] if found["due"] else []
    say(*table([Column(""), Column("", True)], [list(row) for row in sums])[1:])
    for ended in filter(None, (found["returned"], found["voided"])):
        say("", f"{found['state']}, so nothing is due: {ended['reason']}")
    say("", f"rounded off: {found['residue']}   content: {found['sha256']}")
    return 0


def _listed(args: Any, found: dict[str, Any], name: str, columns: tuple[str, ...]) -> int:
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv(columns, found[name])
    else:
        right = ("version", "charges", "total", "payable", "left", "balance", "quantity")
        cells = [["-" if row[column] in (None, "") else str(row[column]) for column in columns] for row in found[name]]
        say(*table([Column(column.removesuffix("_at"), column in right) for column in columns], cells))
    return 0


def _verified(args: Any, evidence: list[dict[str, Any]], rows: list[dict[str, Any]]) -> int:
    good, place = True, 0
    for one in evidence:
        mine = rows[place : place + one["count"]]
        place += one["count"]
        digest = sha256("".join(f"{row['id']}\t{row['quantity']}\n" for row in mine).encode()).hexdigest()
        good = good and digest == one["sha256"] and len(mine) == one["count"]
    good = good and place == len(rows)
    if args.format == "json":
        say_json({"events": len(rows), "holds": good})
    else:
        what = "are" if good else "are NOT"
        say(f"{number(len(rows))} events, which {what} those that the line was made of")
    return int(not good)


def _asked(args: Any, path: str, question: str) -> dict[str, Any]:
    """From the server; from the directory if `--data` alone says where to look, or no server answers there."""
    if args.data and not os.environ.get("INTERLOCK_URL"):
        return _offline(args, question)
    try:
        found: dict[str, Any] = call(args, "GET", path)
        return found
    except NoServer:
        if os.environ.get("INTERLOCK_URL") and not args.data:
            raise
        complain(f"no server at {url()}: read from {data_dir(args)}")
        return _offline(args, question)


def _offline(args: Any, question: str) -> dict[str, Any]:
    import asyncio
    from contextlib import closing

    from interlock.billing import Billing, NoUsage, Reports
    from interlock.cli.offline import check_data_dir
    from interlock.clock import SystemClock
    from interlock.log.sqlite import SqliteLog

    places = check_data_dir(data_dir(args))
    with closing(SqliteLog(places.log)) as log:
        reports = Reports(Billing(log, SystemClock(), NoUsage()), log)
        found: dict[str, Any] = asyncio.run(reports.check() if question == "check" else reports.books())
        return found
