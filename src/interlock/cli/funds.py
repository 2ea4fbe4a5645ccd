"""Options of `credits`; as parser.py has the others'."""

from argparse import BooleanOptionalAction
from typing import TYPE_CHECKING

from interlock.cli import readers
from interlock.cli.parsing import Add

if TYPE_CHECKING:
    import argparse

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_PLAIN = ("table", "json")
_MOMENT = "2026-11-01 or RFC 3339"
_TOPUP = """give a tenant prepaid credit. From its first credit on a tenant is prepaid: a call is let through only if
what it may cost at most is still there, whatever else runs, and refused with 402 credit_exhausted if it is not. When
this returns, every worker knows. With --id the command may be repeated: the credit is given once."""
_GRANT = """give credit with terms. Of several grants the one with the lowest priority burns first, then the one that
expires first, then the oldest. With --every the balance is set to the amount again each time; --rollover-max says how
much of what was left is kept on top."""
_RESET = """end the usage period of an account. What each grant has left is forfeited but for what its own
--rollover-max and --rollover-min keep: of a plain top-up nothing is kept. With --anchor now grants that come again do
so now, and at every so long after it; with keep when they would have. What is owed beyond all credit is kept or
forgiven: one of --keep-overage and --no-keep-overage says which. Calls that run are paid by what was there when they
were admitted. The command may be repeated with its --id: the period ends once."""
_TOPUPS = """Example:
  interlock credits topup --tenant acme --amount 100 --id order-4711"""
_GRANTS = """Examples:
  interlock credits grant --tenant acme --amount 20 --every month --expires 365d --id plan
  interlock credits grant --tenant acme --amount 5 --priority 1 --expires 30d --id welcome"""
_RESETS = """Example, of a contract that is renewed today:
  interlock credits reset --tenant acme --id renewal-2026 --anchor now --no-keep-overage"""


def credits(group: "Commands", add: Add) -> None:
    """Prepaid balances."""
    topup = add(group, "topup", "give credit, from now on", "credits:topup", formats=_PLAIN)
    grant = add(group, "grant", "give credit with terms: priority, expiry, recurrence", "credits:grant", formats=_PLAIN)
    topup.description, grant.description, topup.epilog, grant.epilog = _TOPUP, _GRANT, _TOPUPS, _GRANTS
    for parser in (topup, grant):
        parser.add_argument("--tenant", metavar="T", required=True)
        parser.add_argument("--amount", metavar="USD", required=True, help='such as "12.50"')
        parser.add_argument("--id", metavar="ID", default="", help="your own name for it, such as an order's number")
        parser.add_argument("--principal", metavar="P", default="", help="an account of this principal's alone")
        parser.add_argument("--expires", metavar="WHEN", default="", help=f"30d, {_MOMENT} (default: never)")
        parser.add_argument("--note", metavar="TEXT", default="", help="it stays in the log")
    grant.add_argument("--priority", metavar="N", type=readers.whole, default=0, help="0, the default, burns first")
    grant.add_argument("--effective", metavar="WHEN", default="", help=f"{_MOMENT} (default: now)")
    grant.add_argument("--every", metavar="SPAN", default="", help="day, week, month, year, P10D or P3M")
    grant.add_argument("--anchor", metavar="WHEN", default="", help=f"of --every; {_MOMENT} (default: when effective)")
    grant.add_argument(
        "--rollover-max", metavar="USD", default="0", help="kept at most when it comes again or is reset"
    )
    grant.add_argument("--rollover-min", metavar="USD", default="0", help="kept at least; 0 if not given, as the most")
    what = "what burns it: calls (default), or invoices"
    grant.add_argument("--applies", choices=("usage", "invoices"), default="usage", help=what)
    listing = add(group, "list", "list grants, the newest first", "credits:show")
    balances = add(group, "balances", "what each account was given, used, holds and has left", "credits:balances")
    for parser in (listing, balances):
        parser.add_argument("--tenant", metavar="T", help="of this tenant only")
    void = add(
        group, "void", "end a grant: no call is admitted against it once this returns", "credits:void", formats=_PLAIN
    )
    void.add_argument("id", metavar="ID")
    void.add_argument("--reason", metavar="TEXT", default="", help="it stays in the log")
    reset = add(group, "reset", "end an account's usage period: balances roll over", "credits:reset", formats=_PLAIN)
    reset.description, reset.epilog = _RESET, _RESETS
    reset.add_argument("--tenant", metavar="T", required=True)
    reset.add_argument("--id", metavar="ID", required=True, help="your own name for it, such as an invoice's number")
    reset.add_argument(
        "--anchor", choices=("keep", "now"), required=True, help="grants come again when they would have, or now"
    )
    owed = "what is owed beyond all credit: kept, or forgiven"
    reset.add_argument("--keep-overage", action=BooleanOptionalAction, required=True, help=owed)
    reset.add_argument(
        "--at", metavar="WHEN", default="", help=f"{_MOMENT}, since which nothing was booked (default: now)"
    )
    reset.add_argument("--principal", metavar="P", default="", help="this principal's account instead of the tenant's")
    reset.add_argument("--reason", metavar="TEXT", default="", help="it stays in the log")
