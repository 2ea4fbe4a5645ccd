"""An invoice as rows of FOCUS (FinOps Open Cost and Usage Specification), version 1.2.

The sum of BilledCost over an InvoiceId is what the invoice demands, exactly: a row a line, without taxes; a row for
each tax of each period; a row for what the prepaid balance paid. Roundings are in the lines, so none is left over.
ChargeClass is `Correction` exactly where an invoiced period is corrected.
Source: focus.finops.org, columns of version 1.2; empty is null.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import msgspec

from interlock.billing.exports.document import Document, money
from interlock.billing.exports.sheet import to_csv
from interlock.billing.value import CreditNote, Line
from interlock.errors import LocalError
from interlock.rating import round_to, text_of

COLUMNS = (
    *("AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType"),
    *("BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass"),
    *("ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart"),
    *("CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName", "CommitmentDiscountQuantity"),
    *("CommitmentDiscountStatus", "CommitmentDiscountType", "CommitmentDiscountUnit", "ConsumedQuantity"),
    *("ConsumedUnit", "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName"),
    *("ListCost", "ListUnitPrice", "PricingCategory", "PricingCurrency", "PricingQuantity", "PricingUnit"),
    *("ProviderName", "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType"),
    *("ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId"),
    *("SubAccountId", "SubAccountName", "SubAccountType", "Tags", "x_Period", "x_LineNumber", "x_EvidenceSha256"),
)
NUMBERS = frozenset(
    {
        *("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity", "PricingQuantity"),
        *("ContractedUnitPrice", "ListUnitPrice", "x_LineNumber"),
    }
)
Row = dict[str, str]
_COUNTED = {"cost": "USD", "requests": "Requests", "attempts": "Attempts"}
"""The unit of a measure of the gateway's own usage; the others are tokens."""


def focus_rows(document: Document) -> Iterator[Row]:
    """Raises: LocalError: it is not final, so that nothing is demanded (yet, or any more)."""
    held, header = document.held, document.header
    if held is None or held.final is None or held.state != "final":
        what = f"{header.id} is {document.state}: FOCUS rows are of what is billed"
        raise LocalError(what, code="wrong_state", field="invoice")
    common = _common(document)
    for line in document.lines:
        yield common | _line(line, header.places)
    bounds = {line.period: (line.since_ns, line.until_ns) for line in document.lines}
    for line in document.lines:
        since, until = bounds[line.period]
        bounds[line.period] = (min(since, line.since_ns), max(until, line.until_ns))
    for of_period in header.periods:
        since, until = bounds.get(of_period.period, (header.since_ns, header.until_ns))
        for tax in of_period.taxes:
            yield common | {
                **_costs(tax.amount, tax.amount, header.places),
                "ChargeCategory": "Tax",
                "ChargeClass": "Correction" if of_period.period != header.period else "",
                "ChargeDescription": f"{tax.name} {tax.percent} %",
                "ChargeFrequency": "One-Time",
                "ChargePeriodStart": _moment(since),
                "ChargePeriodEnd": _moment(until),
                "x_Period": of_period.period,
            }
    if held.final.prepaid:
        yield common | {
            **_costs(-held.final.prepaid, -held.final.prepaid, header.places),
            "ChargeCategory": "Credit",
            "ChargeDescription": "Prepaid balance",
            "ChargeFrequency": "One-Time",
            "ChargePeriodStart": _moment(header.since_ns),
            "ChargePeriodEnd": _moment(header.until_ns),
            "x_Period": header.period,
        }
    for note in held.notes:
        yield from _note(document, note, common)


def focus_csv(document: Document, *, of: str = "") -> str:
    """The rows with a header; `of`: those of this credit note alone."""
    rows = (row for row in focus_rows(document) if not of or row["InvoiceId"] == of)
    return to_csv(COLUMNS, rows, NUMBERS)


def _common(document: Document) -> Row:
    header = document.header
    issuer = header.issuer.name
    return {
        "BillingAccountId": header.tenant,
        "BillingAccountName": header.buyer.name,
        "BillingAccountType": "Tenant",
        "BillingCurrency": header.currency,
        "BillingPeriodStart": _moment(header.since_ns),
        "BillingPeriodEnd": _moment(header.until_ns),
        "InvoiceId": document.number,
        "InvoiceIssuerName": issuer,
        "PricingCurrency": header.currency,
        "ProviderName": issuer,
        "PublisherName": issuer,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "AI gateway",
        "ServiceSubcategory": "Generative AI",
        "Tags": "{}",
    }


def _line(line: Line, places: int) -> Row:
    usage = line.kind == "usage"
    group = dict(line.group)
    found = {
        **_costs(line.net, line.net + line.discount, places),
        "ChargeCategory": "Usage" if usage else "Purchase",
        "ChargeClass": "Correction" if line.correction else "",
        "ChargeDescription": line.description,
        "ChargeFrequency": "Usage-Based" if usage else "Recurring",
        "ChargePeriodStart": _moment(line.since_ns),
        "ChargePeriodEnd": _moment(line.until_ns),
        "PricingCategory": "Standard",
        "PricingQuantity": _decimal(line.billed if usage else line.quantity),
        "PricingUnit": line.unit or "Units",
        "ResourceId": group.get("deployment") or group.get("model") or "",
        "SkuId": line.charge or line.kind,
        "SkuMeter": " ".join(dict.fromkeys(one.source for one in line.evidence)),
        "SkuPriceId": f"{line.plan}/{line.version}/{line.charge or line.kind}",
        "SubAccountId": group.get("principal", ""),
        "Tags": msgspec.json.encode(group).decode(),
        "x_Period": line.period,
        "x_LineNumber": str(line.n),
        "x_EvidenceSha256": " ".join(one.sha256 for one in line.evidence),
    }
    if usage:
        found |= {"ConsumedQuantity": _decimal(line.quantity), "ConsumedUnit": _consumed_unit(line)}
    return found


def _consumed_unit(line: Line) -> str:
    """Of what was counted, which a plan may price in another unit (1,000 tokens)."""
    if line.billed == line.quantity and line.unit:
        return line.unit
    counted = [one.source.partition("/") for one in line.evidence]
    units = {_COUNTED.get(name, "Tokens") if kind == "usage" else "Units" for kind, _, name in counted}
    return units.pop() if len(units) == 1 else "Units"


def _note(document: Document, note: CreditNote, common: Mapping[str, Any]) -> Iterator[Row]:
    """A credit note is a document of its own: its rows sum to what it gives back."""
    header = document.header
    by_number = {line.n: line for line in document.lines}
    for one in note.lines:
        line = by_number[one.n]
        yield dict(common) | {
            **_costs(-one.amount, -one.amount, header.places),
            "InvoiceId": note.number,
            "ChargeCategory": "Credit",
            "ChargeClass": "Correction",
            "ChargeDescription": f"{note.reason}: {line.description}",
            "ChargeFrequency": "One-Time",
            "ChargePeriodStart": _moment(line.since_ns),
            "ChargePeriodEnd": _moment(line.until_ns),
            "x_Period": line.period,
            "x_LineNumber": str(one.n),
        }
    for tax in note.taxes:
        yield dict(common) | {
            **_costs(-tax.amount, -tax.amount, header.places),
            "InvoiceId": note.number,
            "ChargeCategory": "Tax",
            "ChargeClass": "Correction",
            "ChargeDescription": f"{note.reason}: {tax.name}",
            "ChargeFrequency": "One-Time",
            "ChargePeriodStart": _moment(header.since_ns),
            "ChargePeriodEnd": _moment(header.until_ns),
            "x_Period": header.period,
        }


def _costs(billed: int, listed: int, places: int) -> Row:
    paid = money(billed, places)
    return {"BilledCost": paid, "EffectiveCost": paid, "ContractedCost": paid, "ListCost": money(listed, places)}


def _decimal(text: str) -> str:
    """A fraction has no finite decimal: fifteen places of it, which is for reading alone."""
    if "/" not in text:
        return text
    return text_of(round_to(Fraction(text), 15))


def _moment(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
