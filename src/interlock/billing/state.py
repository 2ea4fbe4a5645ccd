"""What stands in the stream `billing`: a fold of its records. Each kind of record, and what it changes. Pure.

    plan.adopted          id plan/NAME/VERSION           a price list; a version never changes
    issuer.set            id issuer/N                    who sells
    subscription.set      id subscription/TENANT/N       what a tenant pays by, from a day on
    invoice.lines         id INVOICE/lines/N             an invoice's lines, in parts, before its head
    invoice.reviewed      id INVOICE/reviewed            its head: the frozen draft
    invoice.approved, invoice.returned, invoice.finalized, invoice.voided      id INVOICE/WHAT
    credit_note.issued    id credit-note/ID

The lines themselves stay in the log and are read from there (`Held.lines_seqs`).
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from interlock.billing.lifecycle import SETTLED, State, move
from interlock.billing.value import (
    Approved,
    CreditNote,
    Finalized,
    Header,
    Party,
    Returned,
    Subscription,
    Voided,
)
from interlock.errors import InterlockError, LocalError, TransientError
from interlock.log import Stored
from interlock.rating import Plan, read_plan

STREAM = "billing"


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """Type `plan.adopted`."""

    plan: dict[str, Any]
    """As `rating.plan_record` writes it, every default named."""
    by: str


class IssuerSet(msgspec.Struct, frozen=True, kw_only=True):
    """Type `issuer.set`."""

    issuer: Party
    by: str


class SubscriptionSet(msgspec.Struct, frozen=True, kw_only=True):
    """Type `subscription.set`."""

    subscription: Subscription
    by: str


class Held(msgspec.Struct, kw_only=True):
    """An invoice as it stands; its lines are in the log."""

    header: Header
    sha256: str
    lines_seqs: range
    seq: int
    state: State = "in_review"
    approved: Approved | None = None
    returned: Returned | None = None
    final: Finalized | None = None
    voided: Voided | None = None
    notes: list[CreditNote] = []

    @property
    def standing(self) -> bool:
        """Whether it demands money."""
        return self.state == "final"

    @property
    def left(self) -> int | None:
        """What is still demanded of what it demanded: less its credit notes, nothing once it is voided; None: it never
        was final. Payments are not known here."""
        if self.final is None:
            return None
        return 0 if self.voided else self.final.payable - sum(note.total for note in self.notes)

    @property
    def due(self) -> str:
        """The day by which what it demands is to be paid; empty: nothing is, or the plan does not say."""
        return self.final.due if self.final and not self.voided else ""

    def touches(self, period: str) -> bool:
        """Whether a line of it belongs to the period."""
        return any(one.period == period for one in self.header.periods)


class Accounts:
    """The fold. Changed only by `apply`."""

    def __init__(self) -> None:
        self.seq = 0
        self.plans: dict[tuple[str, int], Plan] = {}
        self.newest: dict[str, int] = {}
        """The last version of each plan."""
        self.adopted_ns: dict[tuple[str, int], int] = {}
        self.issuer: Party | None = None
        self.issuers = 0
        self.subscriptions: dict[str, list[Subscription]] = {}
        self.invoices: dict[str, Held] = {}
        self.notes: dict[str, CreditNote] = {}
        self.sequences: dict[tuple[str, int], int] = {}
        """The last number given, by kind (`invoice`, `credit_note`) and year."""
        self._by_tenant: dict[str, list[Held]] = {}
        self._parts: dict[str, int] = {}
        """Lines whose head has not come: the first record of them."""

    def apply(self, stored: Stored) -> None:
        """Fold the next record; one that was folded before is skipped. Raises: TransientError: it cannot be read."""
        if stored.seq <= self.seq:
            return
        try:
            self._fold(stored)
        except (msgspec.DecodeError, LocalError, KeyError, ValueError) as error:
            what = f"record {stored.seq} of {STREAM} cannot be folded: {error}"
            raise TransientError(what, code="view_unavailable") from error
        self.seq = stored.seq

    def of_tenant(self, tenant: str) -> list[Held]:
        """A tenant's invoices, in order."""
        return self._by_tenant.get(tenant, [])

    def active(self, tenant: str, period: str) -> Held | None:
        """The invoice that a period has, if it is not settled (returned, voided)."""
        own = (one for one in self.of_tenant(tenant) if one.header.period == period)
        return next((one for one in own if one.state not in SETTLED), None)

    def standing(self, tenant: str, period: str) -> Iterator[Held]:
        """The final invoices with lines of a period."""
        return (one for one in self.of_tenant(tenant) if one.standing and one.touches(period))

    def find(self, invoice: str) -> Held:
        """By its id, or by its number. Raises: LocalError `not_found`."""
        found = self.invoices.get(invoice)
        if found is None and invoice:
            numbered = (one for one in self.invoices.values() if one.final and one.final.number == invoice)
            found = next(numbered, None)
        if found is None:
            raise LocalError(f"there is no invoice {invoice[:100]!r}", code="not_found", field="invoice")
        return found

    def credited(self, number: str) -> tuple[Held, CreditNote] | None:
        """A credit note by its number, and the invoice that it is of."""
        found = next((note for note in self.notes.values() if note.number == number), None)
        return (self.find(found.invoice), found) if found is not None else None

    def plan(self, name: str, version: int = 0) -> Plan:
        """A plan's version; 0: its newest. Raises: LocalError `not_found`."""
        if name not in self.newest:
            known = ", ".join(sorted(self.newest)[:20]) or "none"
            raise LocalError(f"there is no plan {name[:80]!r}; there are: {known}", code="not_found", field="plan")
        found = self.plans.get((name, version or self.newest[name]))
        if found is None:
            what = f"plan {name} has no version {version}; its newest is {self.newest[name]}"
            raise LocalError(what, code="not_found", field="version")
        return found

    def _fold(self, stored: Stored) -> None:
        record = stored.record
        match record.type:
            case "plan.adopted":
                plan = read_plan(msgspec.json.decode(record.payload, type=Adopted).plan)
                self.plans[plan.name, plan.version] = plan
                self.newest[plan.name] = max(plan.version, self.newest.get(plan.name, 0))
                self.adopted_ns[plan.name, plan.version] = record.at_ns
            case "issuer.set":
                self.issuer = msgspec.json.decode(record.payload, type=IssuerSet).issuer
                self.issuers += 1
            case "subscription.set":
                one = msgspec.json.decode(record.payload, type=SubscriptionSet).subscription
                self.subscriptions.setdefault(one.tenant, []).append(one)
            case "invoice.lines":
                self._parts.setdefault(record.id.rpartition("/lines/")[0], stored.seq)
            case "invoice.reviewed":
                self._reviewed(msgspec.json.decode(record.payload, type=Header), stored.seq)
            case "invoice.approved":
                approved = msgspec.json.decode(record.payload, type=Approved)
                self._moved(approved.invoice, "approve").approved = approved
            case "invoice.returned":
                returned = msgspec.json.decode(record.payload, type=Returned)
                self._moved(returned.invoice, "return").returned = returned
            case "invoice.finalized":
                final = msgspec.json.decode(record.payload, type=Finalized)
                self._moved(final.invoice, "finalize").final = final
                self.sequences["invoice", final.year] = final.sequence
            case "invoice.voided":
                voided = msgspec.json.decode(record.payload, type=Voided)
                self._moved(voided.invoice, "void").voided = voided
            case "credit_note.issued":
                note = msgspec.json.decode(record.payload, type=CreditNote)
                self._moved(note.invoice, "credit").notes.append(note)
                self.notes[note.id] = note
                self.sequences["credit_note", note.year] = note.sequence
            case type_:
                raise InterlockError(f"type {type_!r} is not known here", code="view_unavailable")

    def _reviewed(self, header: Header, seq: int) -> None:
        first = self._parts.pop(header.id, seq)
        held = Held(header=header, sha256=header.sha256(), lines_seqs=range(first, seq), seq=seq, notes=[])
        self.invoices[header.id] = held
        self._by_tenant.setdefault(header.tenant, []).append(held)

    def _moved(self, invoice: str, wanted: Any) -> Held:
        held = self.invoices[invoice]
        held.state = move(held.state, wanted, invoice)
        return held
