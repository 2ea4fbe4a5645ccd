"""Double entry: what each record says of accounts. Pure.

A posting is an amount on an account: a debit is positive, a credit negative. The postings of one record sum to zero in
each currency, and a reversal is the same postings the other way round: it is not reckoned again. Amounts are exact
fractions of the currency, since revenue is earned to the last fraction of a cent and only the demand is rounded: what
that takes stands on `rounding`.

    receivable/TENANT   what a buyer owes            (debit)
    revenue             what was earned, exactly     (credit)
    discounts           what was taken off, exactly  (debit)
    tax/NAME            what is owed to the state    (credit)
    rounding            what roundings gave or took
    prepaid/TENANT      what a tenant has paid for and not used (credit)
    granted             what prepaid credit was given for: paid in, or a gift (debit)
    breakage            what expired unused          (credit)
    breakage/resets     what resets of usage periods took, less what `rollover_min` gave (credit)
    forgiven            what tenants owed beyond their credit, and resets dropped (debit)
    cost, payable/providers    what the gateway's calls cost, and is owed for them
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from interlock.billing.value import CreditNote, Finalized, Header, LineTax
from interlock.units import NANO

GRANTED, COST, PROVIDERS = "granted", "cost", "payable/providers"
REVENUE, DISCOUNTS, ROUNDING, BREAKAGE = "revenue", "discounts", "rounding", "breakage"
RESETS, FORGIVEN = "breakage/resets", "forgiven"
USD = "USD"


class Posting(NamedTuple):
    """An amount on an account; a debit is positive."""

    account: str
    currency: str
    amount: Fraction


def receivable(tenant: str) -> str:
    """The account of what a tenant owes."""
    return f"receivable/{tenant}"


def prepaid(tenant: str) -> str:
    """The account of what a tenant has paid beforehand."""
    return f"prepaid/{tenant}"


def of_invoice(header: Header, final: Finalized) -> list[Posting]:
    """What a final invoice says. `checking` says whether the head is what its lines come to.

    Revenue is what the prices come to exactly, without the taxes that they hold; the tax is what the invoice demands.
    """
    discounts = sum((Fraction(one.exact) for of in header.periods for one in of.discounts), Fraction(0))
    exact = _money(header.subtotal - header.discount) + Fraction(header.residue) + discounts
    revenue = exact - _money(header.subtotal - header.discount - header.net)
    taxes = total_taxes([[LineTax(name=one.name, amount=one.amount) for of in header.periods for one in of.taxes]])
    taken = Fraction(final.prepaid_nanousd, NANO)
    entries = [
        (receivable(header.tenant), _money(final.payable)),
        (prepaid(header.tenant), taken),
        (DISCOUNTS, discounts),
        (REVENUE, -revenue),
        *((f"tax/{one.name}", -_money(one.amount)) for one in taxes),
        # Asked for: net and taxes, less what was prepaid. Earned: the exact figures. What is between them was rounded.
        (ROUNDING, revenue - discounts - _money(header.net) + _money(final.prepaid) - taken),
    ]
    return _posted(header.currency, entries)


def of_credit_note(tenant: str, currency: str, note: CreditNote) -> list[Posting]:
    """What is given back: less owed, less earned, less tax."""
    entries = [
        (receivable(tenant), -_money(note.total)),
        (REVENUE, _money(note.subtotal)),
        *((f"tax/{one.name}", _money(one.amount)) for one in note.taxes),
    ]
    return _posted(currency, entries)


def of_grant(tenant: str, nanousd: int) -> list[Posting]:
    """Prepaid credit that was given."""
    return _posted(USD, [(GRANTED, _money(nanousd)), (prepaid(tenant), -_money(nanousd))])


def of_expiry(tenant: str, nanousd: int, account: str = BREAKAGE) -> list[Posting]:
    """Prepaid credit that was forfeited."""
    return _posted(USD, [(prepaid(tenant), _money(nanousd)), (account, -_money(nanousd))])


def of_forgiven(tenant: str, nanousd: int) -> list[Posting]:
    """What calls burned beyond prepaid credit, and nobody has to make good."""
    return _posted(USD, [(FORGIVEN, _money(nanousd)), (prepaid(tenant), -_money(nanousd))])


def of_burn(tenant: str, nanousd: int) -> list[Posting]:
    """Prepaid credit used by calls themselves, with no invoice between."""
    return _posted(USD, [(prepaid(tenant), _money(nanousd)), (REVENUE, -_money(nanousd))])


def of_cost(nanousd: int) -> list[Posting]:
    """What the gateway's calls cost by the ledger."""
    return _posted(USD, [(COST, _money(nanousd)), (PROVIDERS, -_money(nanousd))])


def reversed_(postings: Iterable[Posting]) -> list[Posting]:
    """The very same amounts the other way round."""
    return [Posting(one.account, one.currency, -one.amount) for one in postings]


def balances(postings: Iterable[Posting]) -> dict[tuple[str, str], Fraction]:
    """By currency and account, in the order of the first posting; an account that is even is there with 0."""
    found: dict[tuple[str, str], Fraction] = {}
    for one in postings:
        found[one.currency, one.account] = found.get((one.currency, one.account), Fraction(0)) + one.amount
    return found


def imbalance(postings: Iterable[Posting]) -> dict[str, Fraction]:
    """By currency, what does not cancel out; empty: all does."""
    found: dict[str, Fraction] = {}
    for one in postings:
        found[one.currency] = found.get(one.currency, Fraction(0)) + one.amount
    return {currency: amount for currency, amount in found.items() if amount}


def total_taxes(of_lines: Iterable[Iterable[LineTax]]) -> list[LineTax]:
    """The sum of lines' shares, by name."""
    found: dict[str, int] = {}
    for one in of_lines:
        for share in one:
            found[share.name] = found.get(share.name, 0) + share.amount
    return [LineTax(name=name, amount=amount) for name, amount in found.items()]


def _money(nano: int) -> Fraction:
    return Fraction(nano, NANO)


def _posted(currency: str, entries: Iterable[tuple[str, Fraction]]) -> list[Posting]:
    return [Posting(account, currency, amount) for account, amount in entries if amount]
