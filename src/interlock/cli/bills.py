"""Options of `plans`, `subscriptions` and `invoices`; as parser.py has the others'."""

import argparse
from typing import TYPE_CHECKING

from interlock.cli import readers
from interlock.cli.parsing import Add

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_PLAIN = ("table", "json")

_PUT = """adopt a plan from a .toml or .json file (docs/rating.md says how one is written). A version never changes: a
file without a version, whose content differs from the newest, becomes the next. Invoices that stand keep the version
they were made by; subscriptions keep theirs until they are set anew."""


def plans(group: "Commands", add: Add) -> None:
    """Price lists."""
    put = add(group, "put", "adopt a plan, or its next version", "billing:put_plan", formats=_PLAIN)
    put.description = _PUT
    put.add_argument("file", metavar="FILE")
    add(group, "list", "list plans, the newest version of each", "billing:plans")
    show = add(group, "show", "a plan with every default named", "billing:plan", formats=("json",))
    show.add_argument("name", metavar="NAME")
    show.add_argument("--version", metavar="N", type=readers.count, help="default: the newest")


def subscriptions(group: "Commands", add: Add) -> None:
    """Which tenant pays by which plan."""
    what = "bill a tenant by a plan, from a day on; what is not given stays as it was"
    put = add(group, "set", what, "billing:subscribe", formats=_PLAIN)
    end = add(group, "end", "bill a tenant by no plan from a day on", "billing:unsubscribe", formats=_PLAIN)
    for parser in (put, end):
        parser.add_argument("tenant", metavar="TENANT")
        parser.add_argument("--since", metavar="DAY", required=True, help="2026-11-15: its first moment in the zone")
    put.add_argument("--plan", metavar="NAME", required=True)
    put.add_argument("--version", metavar="N", type=readers.count, help="of the plan (default: the newest)")
    put.add_argument("--zone", metavar="ZONE", default="", help="of the tenant's periods (default: UTC); it stays")
    put.add_argument("--every", choices=("month", "day"), default="", help="default: month; it stays")
    put.add_argument("--reference", metavar="TEXT", help="the buyer's own, printed on its invoices")
    _party(put)
    listing = add(group, "list", "list subscriptions, in the order in which they were set", "billing:subscriptions")
    listing.add_argument("--tenant", metavar="T", help="of this tenant only")


_REVIEW = """freeze the draft of a period, so that somebody looks at it and approves or returns it. Its content does not
change any more; usage that comes later is on the next invoice. Run it again and the same invoice is shown."""
_FINALIZE = """give an approved invoice its number: it is a demand from then on, and nothing about it changes. Run it
again and the same invoice is shown: a period is never billed twice. A prepaid balance in USD pays first."""
_VOID = """reverse a final invoice: its postings are made the other way round, what its prepaid balance paid is given
back, and its period can be billed anew. It stays on record with its number."""
_CREDIT = """give back of a final invoice: all of it, or of single lines all or an amount (net; the tax follows). It
cannot be more than is left of the line. --id makes it one however often the command runs."""
_EVENTS = """list what a line counts: attempts (request_id/n) or a meter's events, with the quantity of each, as they
were when the line was made; what came later is not among them. --verify compares number, sum and hash with the line."""
_CHECK = """reckon every invoice and credit note again from the records: lines, roundings, taxes, totals, numbers
without a gap, postings that sum to zero. Exit status 1: something does not hold. It works without a server, too."""


def invoices(group: "Commands", add: Add) -> None:
    """From drafts to credit notes."""
    issuer = add(group, "issuer", "show or say who sells, as invoices print it", "billing:issuer", formats=_PLAIN)
    _party(issuer)
    issuer.add_argument("--note", metavar="TEXT", action="append", dest="notes", help="at the foot; repeatable")
    issuer.add_argument("--prefix", metavar="TEXT", help="before numbers: INV-")
    _steps(group, add)
    listing = add(group, "list", "list invoices, the newest first", "billing:invoices")
    listing.add_argument("--tenant", metavar="T", help="of this tenant only")
    show = add(group, "show", "an invoice and its lines", "billing:show")
    what = "write an invoice as JSON, CSV, a page to print (HTML) or FOCUS rows"
    export = group.add_parser("export", help=what, description=what)
    export.set_defaults(run="billing:export")
    export.add_argument("--data", metavar="DIR", help="data directory (default: interlock in the XDG data home)")
    forms = ("json", "csv", "html", "focus")
    export.add_argument("--format", choices=forms, default="html", help="default: html")
    export.add_argument("--output", metavar="FILE", help="default: stdout")
    events = add(group, "events", "what a line counts, event by event", "billing:events")
    events.description = _EVENTS
    events.add_argument("--line", metavar="N", type=readers.count, required=True)
    events.add_argument("--verify", action="store_true", help="compare with the line instead of listing")
    for parser in (show, export):
        parser.add_argument("invoice", metavar="INVOICE", help="its id or number, or a credit note's number")
    events.add_argument("invoice", metavar="INVOICE", help="its id or number")
    check = add(group, "check", "whether everything that was billed is consistent", "billing:check", formats=_PLAIN)
    check.description = _CHECK
    what = "the accounts' balances of all invoices (a trial balance): debits positive, credits negative"
    add(group, "books", what, "billing:books")
    credit = add(group, "credit", "issue a credit note", "billing:credit", formats=_PLAIN)
    credit.description = _CREDIT
    credit.add_argument("invoice", metavar="INVOICE", help="its id or number")
    credit.add_argument("--id", metavar="ID", required=True, help="yours: the same again is the same note")
    credit.add_argument(
        "--line", metavar="N[=AMOUNT]", action="append", default=[], help="default: the whole invoice; repeatable"
    )
    credit.add_argument("--reason", metavar="TEXT", required=True, help="printed")


def _steps(group: "Commands", add: Add) -> None:
    """What moves an invoice."""
    draft = add(group, "draft", "what an invoice would say now; nothing is written", "billing:draft")
    draft.add_argument("--period", metavar="2026-11", help="default: the one that runs")
    review = add(group, "review", "freeze a period's draft for approval", "billing:review", formats=_PLAIN)
    review.description = _REVIEW
    review.add_argument("--period", metavar="2026-11", required=True)
    review.add_argument("--interim", action="store_true", help="although the period has not ended")
    review.add_argument("--unpriced", action="store_true", help="although calls without a price are not charged")
    for parser in (draft, review):
        parser.add_argument("tenant", metavar="TENANT")
    approve = add(group, "approve", "approve the content that was looked at", "billing:approve", formats=_PLAIN)
    approve.add_argument("--hash", metavar="HEX", required=True, help="of the content, as `show` has it")
    back = add(group, "return", "do not send it; its period is free again", "billing:send_back", formats=_PLAIN)
    finalize = add(group, "finalize", "give it its number", "billing:finalize", formats=_PLAIN)
    finalize.description = _FINALIZE
    void = add(group, "void", "reverse a final invoice", "billing:void", formats=_PLAIN)
    void.description = _VOID
    for parser in (back, void):
        parser.add_argument("--reason", metavar="TEXT", required=True, help="it stays on record")
    for parser in (approve, back, finalize, void):
        parser.add_argument("invoice", metavar="INVOICE", help="its id")


def _party(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", metavar="TEXT")
    parser.add_argument("--address", metavar="LINE", action="append", help="repeatable")
    parser.add_argument("--tax-id", metavar="ID", action="append", dest="tax_ids", help="repeatable")
    parser.add_argument("--email", metavar="TEXT")
