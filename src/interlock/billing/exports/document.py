"""An invoice as JSON: amounts and quantities are decimal strings, times RFC 3339."""

from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

from interlock.billing.drafting import discounts_of, taxes_of
from interlock.billing.state import Held
from interlock.billing.value import CreditNote, Evidence, Header, Line, LineTax
from interlock.instants import rfc3339
from interlock.rating import text_of
from interlock.units import NANO


class Document(NamedTuple):
    """What is exported: a draft (nothing is held of it) or an invoice, with its lines."""

    header: Header
    lines: tuple[Line, ...]
    held: Held | None = None

    @property
    def state(self) -> str:
        """`draft`, or one of `lifecycle.STATES`."""
        return self.held.state if self.held else "draft"

    @property
    def number(self) -> str:
        """Empty: it has none."""
        return self.held.final.number if self.held and self.held.final else ""


def money(nano: int, places: int) -> str:
    """A decimal with the currency's places at least, and all that it has beyond them.

    >>> money(10_330_000_000, 2), money(-500_000_000, 0), money(1_234_500_000, 2)
    ('10.33', '-0.5', '1.2345')
    """
    whole, part = divmod(abs(nano), NANO)
    digits = f"{part:09d}".rstrip("0").ljust(places, "0")
    return f"{'-' if nano < 0 else ''}{whole}{'.' + digits if digits else ''}"


def invoice_json(document: Document, *, lines: bool = True) -> dict[str, Any]:
    """All of an invoice; without its `lines` if they are not asked for."""
    header, held, places = document.header, document.held, document.header.places
    final, voided = (held.final, held.voided) if held else (None, None)
    found: dict[str, Any] = {
        "id": header.id,
        "state": document.state,
        "number": document.number or None,
        "tenant": header.tenant,
        "period": header.period,
        "zone": header.zone,
        "since": rfc3339(header.since_ns),
        "until": rfc3339(header.until_ns),
        "currency": header.currency,
        "places": places,
        "issuer": msgspec.to_builtins(header.issuer),
        "buyer": msgspec.to_builtins(header.buyer),
        "reference": header.reference,
        "plans": [
            {
                "plan": one.plan,
                "version": one.version,
                "since": rfc3339(one.since_ns),
                "until": rfc3339(one.until_ns),
                "days": one.days,
                "of_days": one.of_days,
            }
            for one in header.segments
        ],
        "parameters": header.parameters,
        "line_count": header.lines,
        "subtotal": money(header.subtotal, places),
        "discounts": [
            {"name": one.name, "exact": one.exact, "amount": money(one.amount, places)} for one in discounts_of(header)
        ],
        "discount": money(header.discount, places),
        "net": money(header.net, places),
        "taxes": [
            {"name": one.name, "percent": one.percent, "base": one.base, "amount": money(one.amount, places)}
            for one in taxes_of(header)
        ],
        "tax": money(header.tax, places),
        "total": money(header.total, places),
        "residue": header.residue,
        "prepaid": money(final.prepaid, places) if final else None,
        "payable": money(final.payable, places) if final else None,
        "left": money(held.left, places) if held and held.left is not None else None,
        "due_days": header.due_days,
        "due": (held.due if held else "") or None,
        "unpriced": header.unpriced,
        "open": header.open,
        "interim": header.interim,
        "corrects": [one.period for one in header.periods[1:]],
        "not_corrected": list(header.unseen),
        "made_at": rfc3339(header.made_ns),
        "sha256": held.sha256 if held else header.sha256(),
        "issued_at": rfc3339(final.issued_ns) if final else None,
        "approved_by": held.approved.by if held and held.approved else None,
        "returned": msgspec.to_builtins(held.returned) if held and held.returned else None,
        "voided": {"reason": voided.reason, "by": voided.by, "at": rfc3339(voided.at_ns)} if voided else None,
        "credit_notes": [note_json(one, places) for one in (held.notes if held else ())],
    }
    if lines:
        found["lines"] = [line_json(line, places) for line in document.lines]
    return found


def line_json(line: Line, places: int) -> dict[str, Any]:
    """One line; `rounded_off` is what its rounding took: `amount` and it are `exact`."""
    return {
        "n": line.n,
        "kind": line.kind,
        "period": line.period,
        "correction": line.correction,
        "since": rfc3339(line.since_ns),
        "until": rfc3339(line.until_ns),
        "description": line.description,
        "plan": line.plan,
        "version": line.version,
        "charge": line.charge,
        "group": line.group,
        "quantity": line.quantity,
        "billed": line.billed,
        "unit": line.unit,
        "exact": line.exact,
        "amount": money(line.amount, places),
        "rounded_off": text_of(Fraction(line.exact) - Fraction(line.amount, NANO)),
        "discount": money(line.discount, places),
        "net": money(line.net, places),
        "taxes": shares_json(line.taxes, places),
        "steps": msgspec.to_builtins(line.steps),
        "evidence": [evidence_json(one) for one in line.evidence],
    }


def evidence_json(one: Evidence) -> dict[str, Any]:
    """What is counted, and the proof of it."""
    return {
        "source": one.source,
        "meter": one.meter or None,
        "since": rfc3339(one.since_ns),
        "until": rfc3339(one.until_ns),
        "where": one.where,
        "group": one.group,
        "cut": one.cut,
        "count": one.count,
        "sum": one.sum,
        "sha256": one.sha256,
    }


def shares_json(taxes: tuple[LineTax, ...], places: int) -> list[dict[str, str]]:
    """Shares of taxes."""
    return [{"name": one.name, "amount": money(one.amount, places)} for one in taxes]


def note_json(note: CreditNote, places: int) -> dict[str, Any]:
    """A credit note; its amounts are what is given back, positive."""
    return {
        "id": note.id,
        "number": note.number,
        "invoice": note.invoice,
        "issued_at": rfc3339(note.issued_ns),
        "reason": note.reason,
        "by": note.by,
        "lines": [
            {"n": one.n, "amount": money(one.amount, places), "taxes": shares_json(one.taxes, places)}
            for one in note.lines
        ],
        "subtotal": money(note.subtotal, places),
        "taxes": shares_json(note.taxes, places),
        "total": money(note.total, places),
    }
