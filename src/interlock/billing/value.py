"""What billing writes down: who, what for, how much. Values only.

Money is an integer of nano-units (1e-9) of the invoice's currency; `exact` amounts are fractions as text (`31/3`), so
that what a rounding took is never lost. Quantities are decimals as text. Every struct is a record's content or a part
of it: fields may be added with a default, never changed.
"""

from hashlib import sha256
from typing import Any, Literal

import msgspec

from interlock.rating import Step

Kind = Literal["usage", "fixed", "commitment"]
"""usage: by quantity. fixed: for time alone. commitment: what a plan's minimum adds."""

Every = Literal["month", "day"]


class Party(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A seller or a buyer, as an invoice prints it."""

    name: str
    address: tuple[str, ...] = ()
    """Lines."""
    tax_ids: tuple[str, ...] = ()
    email: str = ""
    notes: tuple[str, ...] = ()
    """Of a seller: printed at the foot: terms of payment, an account, a reason for reverse charge."""
    prefix: str = ""
    """Of a seller: before the numbers of its invoices and credit notes."""


class Subscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a tenant pays by, from a day on until the next one begins. Type `subscription.set`."""

    tenant: str
    since: str
    """`2026-11-15`: from that day's first instant in `zone`."""
    plan: str = ""
    """Empty: none any more; nothing is charged from then on."""
    version: int = 0
    zone: str = "UTC"
    every: Every = "month"
    buyer: Party
    reference: str = ""
    """The buyer's own: an order number."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a period under one plan. Times: Unix nanoseconds, until is exclusive."""

    plan: str
    version: int
    since_ns: int
    until_ns: int
    days: int
    """Of the zone's calendar."""
    of_days: int
    """In the whole period."""

    @property
    def key(self) -> str:
        """Which plan, and from when: the same plan may come twice in a period."""
        return f"{self.plan}/{self.version}@{self.since_ns // 1_000_000_000}"


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which events a line counts, so that anybody can list them later and see that they are the same."""

    source: str
    """`usage/output` or `meter/SLUG/VERSION`."""
    meter: str = ""
    """Where a charge counts several: its name for this one (`rating.Charge.sources`)."""
    since_ns: int
    until_ns: int
    where: dict[str, tuple[str, ...]] = {}
    group: dict[str, str] = {}
    cut: dict[str, int] = {}
    """By stream, the last record that was looked at: what was written later is not part of it."""
    count: int = 0
    sum: str = "0"
    """Of their quantities, a decimal; of a meter that does not add up (max, unique_count …) what it says."""
    sha256: str = ""
    """Of the lines `ID TAB QUANTITY NEWLINE`, in order (`counting`)."""


class LineTax(msgspec.Struct, frozen=True, kw_only=True):
    """A line's share of a tax."""

    name: str
    amount: int


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of an invoice. `exact` is `amount` and what its rounding took; `net` and `taxes` are due for it."""

    n: int = 0
    """Counts from 1."""
    key: str
    """What is charged, the same from invoice to invoice: segment, charge, group."""
    kind: Kind
    period: str
    """The one it belongs to; not the invoice's: it corrects an earlier one."""
    correction: bool = False
    since_ns: int
    until_ns: int
    description: str
    plan: str = ""
    version: int = 0
    charge: str = ""
    group: dict[str, str] = {}
    quantity: str = "0"
    """What was used. In a correction: what was found since."""
    billed: str = "0"
    """What of it is priced: converted, without what is free."""
    unit: str = ""
    exact: str
    amount: int
    """Rounded to the currency's places (unless the plan rounds elsewhere), as the plan's prices are: before discounts,
    and with the taxes that such prices hold."""
    discount: int = 0
    """Its share of the plan's discounts, what they take."""
    net: int
    """Without discount and taxes: what is earned."""
    taxes: tuple[LineTax, ...] = ()
    steps: tuple[Step, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    """Which events; one for each group that is priced together."""


class Tax(msgspec.Struct, frozen=True, kw_only=True):
    """A tax over the whole invoice: the sum of its lines' shares."""

    name: str
    percent: str
    base: str
    """What it is a percentage of; a decimal or fraction of the currency."""
    amount: int


class Discount(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's discount over the whole invoice. `exact` = `amount` and what its rounding took."""

    name: str
    exact: str
    amount: int


class PeriodSum(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the lines of one period have together, and this invoice says of it (what earlier ones said is not in it)."""

    period: str
    discounts: tuple[Discount, ...] = ()
    taxes: tuple[Tax, ...] = ()


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of an invoice but its lines. Type `invoice.reviewed`; the lines stand in the records before it."""

    id: str
    tenant: str
    period: str
    zone: str
    every: Every = "month"
    since_ns: int
    until_ns: int
    currency: str
    places: int
    issuer: Party
    buyer: Party
    reference: str = ""
    segments: tuple[Segment, ...]
    parameters: dict[str, dict[str, Any]] = {}
    """By plan and version (`gold/2`): what decided rounding, discounts, taxes and their order."""
    lines: int
    lines_sha256: str
    """Of the lines' JSON, a newline after each."""
    periods: tuple[PeriodSum, ...]
    """The invoice's own first, then those that it corrects."""
    basis: tuple[str, ...]
    """The tenant's invoices that stood, and that this one takes into account."""
    subtotal: int
    """The sum of the lines' amounts."""
    discount: int
    net: int
    tax: int
    total: int
    """net + tax."""
    residue: str
    """What the roundings of lines and discounts took, exactly: the lines' `exact` less the discounts' is
    `subtotal` - `discount` and this."""
    unseen: tuple[str, ...] = ()
    """Earlier periods that were billed and cannot be counted again: a meter or its events are gone."""
    unpriced: int = 0
    """Attempts in the period that have no price: their cost is not charged."""
    open: int = 0
    """Attempts that had not ended; they come in a later invoice."""
    interim: bool = False
    """The period had not ended."""
    due_days: int | None = None
    """It is to be paid by so many days after that of its issue; None: the plan does not say."""
    made_ns: int
    by: str = ""

    def sha256(self) -> str:
        """Of the whole content: what a person approves."""
        return sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an invoice's lines. Type `invoice.lines`."""

    invoice: str
    lines: tuple[Line, ...]


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """Type `invoice.approved`: this very content."""

    invoice: str
    sha256: str
    by: str


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """Type `invoice.returned`."""

    invoice: str
    reason: str
    by: str


class Finalized(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Type `invoice.finalized`: from now on nothing about the invoice changes."""

    invoice: str
    sha256: str
    number: str
    year: int
    sequence: int
    """Of the year's invoices; no number is left out."""
    issued_ns: int
    prepaid_nanousd: int = 0
    """What was taken from the tenant's prepaid balance, before it is rounded."""
    prepaid: int = 0
    """The same, at the currency's places."""
    payable: int
    due: str = ""
    """`2026-12-31`, in the invoice's zone: the last day to pay; empty: nothing to pay, or nothing said."""
    by: str


class Voided(msgspec.Struct, frozen=True, kw_only=True):
    """Type `invoice.voided`: all of its postings are reversed, its number stays."""

    invoice: str
    reason: str
    by: str
    at_ns: int


class CreditLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is given back of one line; positive."""

    n: int
    amount: int
    taxes: tuple[LineTax, ...] = ()


class CreditNote(msgspec.Struct, frozen=True, kw_only=True):
    """Type `credit_note.issued`."""

    id: str
    """The caller's: asked for twice, it is one."""
    invoice: str
    number: str
    year: int
    sequence: int
    issued_ns: int
    reason: str
    by: str
    lines: tuple[CreditLine, ...]
    subtotal: int
    taxes: tuple[LineTax, ...] = ()
    total: int
