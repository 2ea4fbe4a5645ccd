"""AWS cost and usage reports, Amazon Bedrock's rows of them: CUR 2.0 and legacy names, by the hour or day. Pure.

A usage type names place, model and direction in one text, in one of four manners:

    USE1-Claude4Sonnet-input-tokens-cross-region-global      per thousand tokens
    USE1-anthropic.claude-opus-5-mantle-cache-read-tokens-standard
    USE1-MP:USE1_CacheWrite1hInputTokenCount_Global-Units    per million; the model is the product's name
    USE1-MP:USE1_input_tokens_global_standard-Units

Where the row says its unit (`1K tokens`, `1M tokens`), that goes before. Source: AWS Data Exports user guide (columns);
usage types as in the public price list.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from interlock.reconciling.figures import exact, times
from interlock.reconciling.moments import moment_ns
from interlock.reconciling.statement import Category, Charge

KINDS = ("input", "cache_read", "cache_write", "cache_write_1h", "output")
PLACES = 10
"""Costs are written to ten places."""
NEEDED = ("line_item_usage_start_date", "line_item_usage_end_date", "line_item_usage_type", "line_item_unblended_cost")

_READ = (
    *NEEDED,
    "line_item_usage_amount",
    "line_item_line_item_type",
    "line_item_product_code",
    "line_item_currency_code",
    "line_item_line_item_description",
    "identity_line_item_id",
    "identity_time_interval",
    "bill_invoice_id",
    "product_product_name",
    "product_servicename",
    "pricing_unit",
    "product",
)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_EDITION = re.compile(r"\s*\(Amazon Bedrock Edition\)\s*$")
_REGION = re.compile(r"^[A-Z]{2,4}\d{0,2}-")
_MARKET = re.compile(r"^MP:(?:[A-Z0-9]+_)?")
_KIND = re.compile(r"cache[-_]?(?:read|write)|input|output", re.IGNORECASE)
_MODEL_ENDS = re.compile(r"-(?:mantle-)?(?:text-)?(?:input|output|cache-read|cache-write)-", re.IGNORECASE)
_CATEGORIES: Mapping[str, Category] = {
    "Usage": "usage",
    "DiscountedUsage": "usage",
    "SavingsPlanCoveredUsage": "usage",
    "Credit": "credit",
    "Refund": "refund",
    "Tax": "tax",
    "Fee": "fee",
    "RIFee": "fee",
    "SavingsPlanRecurringFee": "fee",
    "SavingsPlanUpfrontFee": "fee",
    "BundledDiscount": "credit",
    "EdpDiscount": "credit",
    "PrivateRateDiscount": "credit",
    "SavingsPlanNegation": "credit",
}
_PER = {"1K TOKENS": 1000, "1M TOKENS": 1_000_000, "TOKENS": 1, "TOKEN": 1}


class Named(NamedTuple):
    """What a usage type says."""

    model: str
    """Empty: the product's name has to tell."""
    kind: str
    """Empty: it counts no tokens."""
    per: int
    """Tokens a unit, if the row does not say."""


def column(name: str) -> str:
    """A column's name as CUR 2.0 has it: `lineItem/UsageType` and `lineItem_UsageType` are `line_item_usage_type`."""
    return _WORDS.sub("_", name).replace("/", "_").replace("__", "_").lower()


def wanted(name: str) -> bool:
    """Whether a column is read at all."""
    return column(name) in _READ


def usage_type(text: str) -> Named:
    """What a usage type says.

    >>> usage_type("USE1-Claude3Haiku-input-tokens")
    Named(model='Claude3Haiku', kind='input', per=1000)
    >>> usage_type("EUW1-MP:EUW1_CacheReadInputTokenCount-Units").kind
    'cache_read'
    """
    rest = _REGION.sub("", text)
    market = rest.startswith("MP:")
    body = _MARKET.sub("", rest)
    if "token" not in body.lower():
        return Named("", "", 1)
    end = _MODEL_ENDS.search(body)
    words = body[end.start() :] if end and not market else body
    match = _KIND.search(words)
    if match is None:
        return Named("", "", 1)
    kind = match[0].lower().replace("-", "_").replace("cacheread", "cache_read").replace("cachewrite", "cache_write")
    if kind == "cache_write" and re.search(r"(?<![0-9])1h", words, re.IGNORECASE):
        kind = "cache_write_1h"
    model = "" if market else body[: end.start()] if end else ""
    return Named(model, kind, 1_000_000 if market else 1000)


class Rows:
    """The charges of a report's rows; `skipped`, `open` and `notes` are whole once all were taken."""

    def __init__(self) -> None:
        self.skipped = 0
        """Rows of other products."""
        self.open = 0
        """Rows of Bedrock without an invoice: they may still change."""
        self._seen: set[tuple[str, str]] = set()

    def charges(self, place: str, given: Mapping[str, Any]) -> Iterator[Charge]:
        """What one row says; nothing of another product. Raises: LocalError: a figure or time that is none."""
        cells = {column(name): value for name, value in given.items()}
        product = _product(cells)
        if "bedrock" not in f"{_text(cells, 'line_item_product_code')} {product}".lower():
            self.skipped += 1
            return
        self.open += not _text(cells, "bill_invoice_id")
        named = usage_type(_text(cells, "line_item_usage_type"))
        amount = exact(cells["line_item_unblended_cost"] or "0", f"{place} unblended cost", negative=True)
        category = _CATEGORIES.get(_text(cells, "line_item_line_item_type") or "Usage", "other")
        model, kind = named.model or _EDITION.sub("", product), named.kind
        quantity = None
        if category == "usage" and not named.kind:
            category, model, kind = "other", "", _text(cells, "line_item_usage_type")[:200]
        if category == "usage" and amount < 0:
            category = "refund"
        if category == "usage":
            quantity = _tokens(cells, named, place)
        elif category != "other":
            model, kind = "", ""
        yield Charge(
            place=place,
            starts_ns=moment_ns(cells["line_item_usage_start_date"], f"{place} usage start date"),
            ends_ns=moment_ns(cells["line_item_usage_end_date"], f"{place} usage end date"),
            model=model,
            kind=kind,
            quantity=quantity,
            amount=amount,
            currency=(_text(cells, "line_item_currency_code") or "USD").upper(),
            category=category,
            repeat="same" if self._repeats(cells) else "",
        )

    def notes(self) -> list[str]:
        """What a person should know of the report."""
        notes = [f"rows of other products that are left out: {self.skipped}"] if self.skipped else []
        if self.open:
            notes.append(f"rows without an invoice, which AWS may still change: {self.open}")
        return notes

    def _repeats(self, cells: Mapping[str, Any]) -> bool:
        """Whether the line item stood before: its id is unique within a time interval."""
        key = (_text(cells, "identity_line_item_id"), _text(cells, "identity_time_interval"))
        known = bool(key[0]) and key in self._seen
        self._seen.add(key)
        return known


def _tokens(cells: Mapping[str, Any], named: Named, place: str) -> Decimal | None:
    value = cells.get("line_item_usage_amount")
    if value in ("", None):
        return None
    per = _PER.get(_text(cells, "pricing_unit").upper(), named.per)
    return times(exact(value, f"{place} usage amount"), per)


def _product(cells: Mapping[str, Any]) -> str:
    """The product's name; in CUR 2.0 `product` is a map."""
    nested = cells.get("product")
    inner = nested.get("product_name") if isinstance(nested, dict) else None
    return str(inner or "") or _text(cells, "product_product_name") or _text(cells, "product_servicename")


def _text(cells: Mapping[str, Any], name: str) -> str:
    return str(cells.get(name) or "").strip()
