"""FOCUS 1.x, the rows of it that are of models: billed cost by charge period, with the meter's name. Pure.

FOCUS has no column for a model or a kind of token: a provider's own column says it (`x_UsageType` at AWS, the meter's
name at Azure: `gpt-4o-0806-cchd-Inp-glbl Tokens`). A row whose meter counts no tokens is of another product and left
out, unless it is a tax, credit or adjustment of the same service. Source: FOCUS specification, columns.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from interlock.reconciling.exports.aws import usage_type
from interlock.reconciling.figures import exact, times
from interlock.reconciling.moments import moment_ns
from interlock.reconciling.statement import Category, Charge

KINDS = ("input", "cache_read", "output")
PLACES = 2
NEEDED = ("BilledCost", "BillingCurrency", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory")

_METERS = ("SkuMeter", "x_SkuMeterName", "x_SkuDescription", "SkuId", "ChargeDescription")
_READ = (
    *NEEDED,
    *_METERS,
    *("ChargeClass", "ServiceName", "ServiceSubcategory", "ProviderName", "ServiceProviderName", "InvoiceId"),
    *("ConsumedQuantity", "ConsumedUnit", "PricingQuantity", "PricingUnit", "x_UsageType", "x_Model", "x_TokenType"),
)
_CATEGORIES: Mapping[str, Category] = {
    "Usage": "usage",
    "Purchase": "fee",
    "Tax": "tax",
    "Credit": "credit",
    "Adjustment": "refund",
}
_OF_MODELS = re.compile(r"bedrock|openai|anthropic|vertex|gemini|foundry|foundation model|\bai\b", re.IGNORECASE)
_UNIT = re.compile(r"(?:(?P<n>\d+)\s*(?P<si>[KM])?\s*)?(?P<what>tokens?)", re.IGNORECASE)
_KIND = re.compile(
    r"[ -](?P<cached>(?:cached|cchd|cd|cache[ -]?read)[ -]?)?(?P<kind>inputs?|inpt?|outputs?|outp?t?)(?=[ -]|$)",
    re.IGNORECASE,
)
_SI = {"": 1, "K": 1000, "M": 1_000_000}


def wanted(name: str) -> bool:
    """Whether a column is read at all."""
    return name in _READ


def meter(text: str) -> tuple[str, str]:
    """Model and kind that a meter's name says; both empty: it is of something else.

    >>> meter("gpt-4o-0806-cchd-Inp-glbl Tokens"), meter("gpt 4o mini 0718 Outp regnl Tokens")
    (('gpt-4o-0806', 'cache_read'), ('gpt 4o mini 0718', 'output'))
    """
    match = _KIND.search(text)
    if match is None:
        return "", ""
    kind = "output" if match["kind"].lower().startswith("out") else "cache_read" if match["cached"] else "input"
    return text[: match.start()].strip(" -"), kind


class Rows:
    """The charges of a file's rows."""

    def __init__(self) -> None:
        self.skipped = 0
        self._seen: set[tuple[str, ...]] = set()

    def charges(self, place: str, cells: Mapping[str, Any]) -> Iterator[Charge]:
        """What one row says; nothing of another product. Raises: LocalError: a figure or time that is none."""
        category = _CATEGORIES.get(_text(cells, "ChargeCategory"), "other")
        model, kind = _named(cells)
        service = " ".join(_text(cells, name) for name in ("ServiceName", "ServiceProviderName", "ProviderName"))
        if not kind and (category in ("usage", "other", "fee") or not _OF_MODELS.search(service)):
            self.skipped += 1
            return
        amount = exact(cells["BilledCost"] or "0", f"{place} BilledCost", negative=True)
        if category == "usage" and (amount < 0 or _text(cells, "ChargeClass") == "Correction"):
            category = "refund"
        quantity = _tokens(cells, place) if category == "usage" else None
        row = tuple(f"{name}={cells[name]}" for name in sorted(cells))
        repeat = row in self._seen
        self._seen.add(row)
        yield Charge(
            place=place,
            starts_ns=moment_ns(cells["ChargePeriodStart"], f"{place} ChargePeriodStart"),
            ends_ns=moment_ns(cells["ChargePeriodEnd"], f"{place} ChargePeriodEnd"),
            model=model if category == "usage" else "",
            kind=kind if category == "usage" else "",
            quantity=quantity,
            amount=amount,
            currency=(_text(cells, "BillingCurrency") or "USD").upper(),
            category=category,
            repeat="alike" if repeat else "",
        )

    def notes(self) -> list[str]:
        """What a person should know of the file."""
        return [f"rows of other products that are left out: {self.skipped}"] if self.skipped else []


def _named(cells: Mapping[str, Any]) -> tuple[str, str]:
    if _text(cells, "x_Model") and _text(cells, "x_TokenType"):
        return _text(cells, "x_Model"), _text(cells, "x_TokenType")
    named = usage_type(_text(cells, "x_UsageType"))
    if named.kind:
        return named.model or _text(cells, "ServiceName").split(" (")[0], named.kind
    return next((found for name in _METERS if (found := meter(_text(cells, name)))[1]), ("", ""))


def _tokens(cells: Mapping[str, Any], place: str) -> Decimal | None:
    """The consumed quantity in tokens, if its unit (or the one it is priced in) says how many each is."""
    for quantity, unit in (("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit")):
        match = _UNIT.fullmatch(_text(cells, unit))
        if match and _text(cells, quantity):
            per = int(match["n"] or 1) * _SI[(match["si"] or "").upper()]
            return times(exact(cells[quantity], f"{place} {quantity}"), per)
    return None


def _text(cells: Mapping[str, Any], name: str) -> str:
    value = cells.get(name)
    return "" if value is None else str(value).strip()
