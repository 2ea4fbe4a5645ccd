"""Billing's shell: the stream `billing`, what is asked of usage and of prepaid credit, and in which order.

A change is decided on the newest state and appended only if that is still the newest; it is on the disk before it is
answered. Whatever was interrupted is asked for again: every step is answered with what stands if it was taken before.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import msgspec

from interlock.billing import crediting, lifecycle, terms
from interlock.billing.counting import Counter, Item
from interlock.billing.credits import Credits, NoCredits
from interlock.billing.drafting import Draft
from interlock.billing.periods import due_of
from interlock.billing.preparing import Apart, Drafting
from interlock.billing.state import STREAM, Accounts, Adopted, Held, IssuerSet, SubscriptionSet
from interlock.billing.value import (
    Approved,
    CreditNote,
    Evidence,
    Finalized,
    Header,
    Line,
    Lines,
    Party,
    Returned,
    Subscription,
    Voided,
)
from interlock.clock import Clock
from interlock.errors import InterlockError, LocalError
from interlock.log import Conflict, Log, Record
from interlock.rating import Plan, plan_record, round_to, to_nano
from interlock.units import NANO

PART_BYTES = 800_000
"""Of lines in one record."""
_LINES = msgspec.json.Decoder(Lines)
_TRIES = 32


class Billing:
    """One per log. `refresh` before reading `accounts`."""

    def __init__(
        self,
        log: Log,
        clock: Clock,
        counter: Counter,
        credits: Credits | None = None,
        apart: Apart = asyncio.to_thread,
        subscribed: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """
        Args:
            apart: runs what may take seconds (ten thousand lines) where it holds nobody up.
            subscribed: awaited with a tenant whose subscription is on the disk, before that is answered.
        """
        self.accounts = Accounts()
        self._log = log
        self._clock = clock
        self._counter = counter
        self._drafting = Drafting(clock, counter, self.lines, apart)
        self._apart = apart
        self._credits: Credits = credits or NoCredits()
        self._subscribed = subscribed

    async def refresh(self) -> Accounts:
        """Fold what has been appended since."""
        async for stored in self._log.read(STREAM, after=self.accounts.seq):
            self.accounts.apply(stored)
        return self.accounts

    # terms

    async def adopt_plan(self, document: Mapping[str, Any], by: str) -> tuple[Plan, bool]:
        """The plan that stands now, and whether it is new. Raises: LocalError: as `terms.adopt`."""

        def decide(accounts: Accounts) -> tuple[list[Record], Plan]:
            plan, new = terms.adopt(accounts, document)
            record = self._record(
                f"plan/{plan.name}/{plan.version}", "plan.adopted", Adopted(plan=plan_record(plan), by=by)
            )
            return [record] if new else [], plan

        plan, new = await self._change(decide)
        return plan, new

    async def set_issuer(self, issuer: Party, by: str) -> bool:
        """Who sells, from now on; whether that is new. Raises: LocalError."""
        terms.check_party(issuer, "issuer")

        def decide(accounts: Accounts) -> tuple[list[Record], None]:
            made = IssuerSet(issuer=issuer, by=by)
            record = self._record(f"issuer/{accounts.issuers + 1}", "issuer.set", made)
            return [] if accounts.issuer == issuer else [record], None

        return (await self._change(decide))[1]

    async def subscribe(self, tenant: str, wanted: terms.Wanted, by: str) -> tuple[Subscription, bool]:
        """The subscription that stands now, and whether it is new. Raises: LocalError: as `terms.subscribe`."""

        def decide(accounts: Accounts) -> tuple[list[Record], Subscription]:
            made, new = terms.subscribe(accounts, tenant, wanted)
            number = len(accounts.subscriptions.get(tenant, ())) + 1
            record = self._record(
                f"subscription/{tenant}/{number}", "subscription.set", SubscriptionSet(subscription=made, by=by)
            )
            return [record] if new else [], made

        made, new = await self._change(decide)
        if self._subscribed is not None:
            await self._subscribed(tenant)  # also of one that stood: who wrote it may have been killed before this
        return made, new

    # an invoice's way

    async def draft(self, tenant: str, period: str = "", *, by: str = "") -> Draft:
        """As `Drafting.draft`."""
        return await self._drafting.draft(await self.refresh(), tenant, period, by)

    async def review(
        self, tenant: str, period: str, by: str, *, interim: bool = False, unpriced: bool = False
    ) -> tuple[Held, bool]:
        """Freeze a draft for a person to approve; one that waits or is final already is answered as it stands.

        Args:
            interim: although the period has not ended. unpriced: although calls have no price, and are not charged.
        Raises: LocalError: as `draft`; the period has not ended; calls without a price.
        """
        standing = (await self.refresh()).active(tenant, period)
        if standing is not None:
            return standing, False
        draft = await self.draft(tenant, period, by=by)
        if draft.header.interim and not interim:
            what = f"{period} has not ended: ask for an interim invoice (interim), and the rest follows on the next"
            raise LocalError(what, code="wrong_state", field="interim")
        if draft.header.unpriced and not unpriced:
            what = f"{draft.header.unpriced} attempts have no price, so that their cost would not be charged"
            raise LocalError(what, code="wrong_state", field="unpriced")

        records: list[Record] = await self._apart(self._reviewed, draft)

        def decide(accounts: Accounts) -> tuple[list[Record], str]:
            found = accounts.active(tenant, period)
            if found is not None:
                return [], found.header.id
            id = draft.header.id
            if id in accounts.invoices or not _is_current(accounts, draft.header):
                raise LocalError("another invoice came between; ask again", code="conflict", field="period")
            return records, id

        id, new = await self._change(decide)
        return self.accounts.invoices[id], new

    async def approve(self, invoice: str, sha256: str, by: str) -> Held:
        """Raises: LocalError: it is not in review; or what was looked at is not its content, approved or not."""
        held = (await self.refresh()).find(invoice)
        if sha256 != held.sha256:
            what = f"that is not the hash of {held.header.id}, which is {held.sha256}"
            raise LocalError(what, code="conflict", field="sha256")
        return await self._move(
            invoice, "approve", "approved", lambda one: Approved(invoice=one.header.id, sha256=one.sha256, by=by)
        )

    async def send_back(self, invoice: str, reason: str, by: str) -> Held:
        """It will never be sent; the period is free for another draft. Raises: LocalError."""
        terms.check_text(reason, "reason", required=True)
        held = await self._move(
            invoice, "return", "returned", lambda one: Returned(invoice=one.header.id, reason=reason, by=by)
        )
        await self._credits.restore(_burn_id(held))  # a finalizing that was cut off may have taken it
        return held

    async def finalize(self, invoice: str, by: str) -> Held:
        """It gets its number and is a demand from now on. However often it is asked for, it is one.

        Raises: LocalError: it is not approved, or an invoice came between that bills the same periods.
        """
        held = (await self.refresh()).find(invoice)
        if lifecycle.done_already(held.state, "finalize"):
            return held
        lifecycle.move(held.state, "finalize", held.header.id)
        self._check_current(self.accounts, held)
        taken = 0
        if held.header.currency == "USD" and held.header.total > 0:
            taken = await self._credits.burn(held.header.tenant, held.header.total, _burn_id(held))

        def decide(one: Held) -> msgspec.Struct:
            self._check_current(self.accounts, one)
            return self._finalized(one, taken, by)

        return await self._move(invoice, "finalize", "finalized", decide)

    async def void(self, invoice: str, reason: str, by: str) -> Held:
        """Reverse it: its postings the other way round, what was prepaid given back, its period free. It stays on
        record.

        Raises: LocalError: it is not final, or credit notes were issued for it.
        """
        terms.check_text(reason, "reason", required=True)

        def decide(held: Held) -> msgspec.Struct:
            if held.notes:
                what = f"{held.header.id} has credit notes: give back the rest by another one"
                raise LocalError(what, code="wrong_state", field="invoice")
            return Voided(invoice=held.header.id, reason=reason, by=by, at_ns=self._clock.now_ns())

        held = await self._move(invoice, "void", "voided", decide)
        await self._credits.restore(_burn_id(held))
        return held

    async def credit(
        self, id: str, invoice: str, asked: Mapping[int, int | None], reason: str, by: str
    ) -> tuple[CreditNote, bool]:
        """Give back of a final invoice, and whether that is new: `id` is the caller's, and the same again is one note.

        Args:
            asked: as `crediting.credit_lines`.
        Raises: LocalError: more than is left, not final, or `id` stands with other content.
        """
        terms.check_text(reason, "reason", required=True)
        held = (await self.refresh()).find(invoice)
        lines = await self.lines(held)

        def decide(accounts: Accounts) -> tuple[list[Record], None]:
            standing = accounts.notes.get(id)
            if standing is not None:
                if (standing.invoice, standing.reason) != (held.header.id, reason) or not _same(standing, asked):
                    what = f"credit note {id!r} stands with other content"
                    raise LocalError(what, code="conflict", field="id")
                return [], None
            lifecycle.move(held.state, "credit", held.header.id)
            given = crediting.credit_lines(lines, held.notes, asked, held.header.places)
            subtotal, taxes, total = crediting.sums(given)
            now_ns = self._clock.now_ns()
            year = datetime.fromtimestamp(now_ns // NANO, UTC).year
            sequence = accounts.sequences.get(("credit_note", year), 0) + 1
            note = CreditNote(
                id=id,
                invoice=held.header.id,
                number=f"{held.header.issuer.prefix}CN-{year}-{sequence:06}",
                year=year,
                sequence=sequence,
                issued_ns=now_ns,
                reason=reason,
                by=by,
                lines=given,
                subtotal=subtotal,
                taxes=taxes,
                total=total,
            )
            return [self._record(f"credit-note/{id}", "credit_note.issued", note)], None

        _, new = await self._change(decide)
        return self.accounts.notes[id], new

    async def settle(self) -> None:
        """Give back what invoices took that were voided or returned; for who was killed before it could. Harmless."""
        for held in list((await self.refresh()).invoices.values()):
            if held.state in lifecycle.SETTLED:
                await self._credits.restore(_burn_id(held))

    # what stands

    async def lines(self, held: Held) -> list[Line]:
        """An invoice's lines, from the log. Raises: InterlockError `log_corrupt`."""
        found: list[Line] = []
        async for stored in self._log.read(STREAM, after=held.lines_seqs.start - 1):
            if stored.seq >= held.lines_seqs.stop:
                break
            part: Lines = await self._apart(_LINES.decode, stored.record.payload)
            found += part.lines
        return found

    async def events(self, line: Line, tenant: str) -> AsyncIterator[tuple[Evidence, Item]]:
        """The events that a line counts, by id in each evidence that counts them: those of the cut, none that came
        later."""
        for evidence in line.evidence:
            async for item in self._counter.items(tenant, evidence):
                yield evidence, item

    # inside

    def _reviewed(self, draft: Draft) -> list[Record]:
        id = draft.header.id
        parts: list[list[Line]] = []
        size = PART_BYTES
        for line in draft.lines:
            length = len(msgspec.json.encode(line))
            if size + length > PART_BYTES:
                parts.append([])
                size = 0
            parts[-1].append(line)
            size += length
        records = [
            self._record(f"{id}/lines/{n}", "invoice.lines", Lines(invoice=id, lines=tuple(part)))
            for n, part in enumerate(parts, 1)
        ]
        return [*records, self._record(f"{id}/reviewed", "invoice.reviewed", draft.header)]

    def _finalized(self, held: Held, taken: int, by: str) -> Finalized:
        now_ns = self._clock.now_ns()
        year = datetime.fromtimestamp(now_ns // NANO, UTC).year
        sequence = self.accounts.sequences.get(("invoice", year), 0) + 1
        rounded = round_to(Fraction(taken, NANO), held.header.places, "half_away_from_zero")
        prepaid = held.header.total if taken == held.header.total else to_nano(rounded)
        payable = held.header.total - prepaid
        return Finalized(
            invoice=held.header.id,
            sha256=held.sha256,
            number=f"{held.header.issuer.prefix}{year}-{sequence:06}",
            year=year,
            sequence=sequence,
            issued_ns=now_ns,
            prepaid_nanousd=taken,
            prepaid=prepaid,
            payable=payable,
            due=due_of(held.header, payable, now_ns),
            by=by,
        )

    def _check_current(self, accounts: Accounts, held: Held) -> None:
        if not _is_current(accounts, held.header):
            what = f"an invoice came or went that bills the same periods as {held.header.id}: return it, and review"
            raise LocalError(what, code="conflict", field="invoice")

    async def _move(
        self, invoice: str, wanted: lifecycle.Move, name: str, make: Callable[[Held], msgspec.Struct]
    ) -> Held:
        def decide(accounts: Accounts) -> tuple[list[Record], str]:
            held = accounts.find(invoice)
            if lifecycle.done_already(held.state, wanted):
                return [], held.header.id
            lifecycle.move(held.state, wanted, held.header.id)
            return [self._record(f"{held.header.id}/{name}", f"invoice.{name}", make(held))], held.header.id

        id, _ = await self._change(decide)
        return self.accounts.invoices[id]

    async def _change(self, decide: Callable[[Accounts], tuple[Sequence[Record], Any]]) -> tuple[Any, bool]:
        """Decide on the newest state, append if it is still the newest, fold it; whether there was anything to do."""
        for _ in range(_TRIES):
            accounts = await self.refresh()
            records, told = decide(accounts)
            if not records:
                return told, False
            if not isinstance(await self._log.append(STREAM, records, expect=accounts.seq), Conflict):
                await self.refresh()
                return told, True
        raise InterlockError(f"the stream {STREAM} moved on {_TRIES} times in a row; retry", code="conflict")

    def _record(self, id: str, type_: str, value: msgspec.Struct) -> Record:
        return Record(id=id, type=type_, at_ns=self._clock.now_ns(), payload=msgspec.json.encode(value))


def _is_current(accounts: Accounts, header: Header) -> bool:
    """Whether the invoices that this one took into account are those that stand."""
    touching = {
        held.header.id
        for one in header.periods
        for held in accounts.standing(header.tenant, one.period)
        if held.header.id != header.id
    }
    return touching == set(header.basis)


def _burn_id(held: Held) -> str:
    return f"invoice/{held.header.id}"


def _same(note: CreditNote, asked: Mapping[int, int | None]) -> bool:
    """Whether a note that stands is what is asked for; `None` amounts and whole invoices were what was left then."""
    given = {line.n: line.amount for line in note.lines}
    return not asked or (
        given.keys() == asked.keys() and all(amount in (None, given[n]) for n, amount in asked.items())
    )
