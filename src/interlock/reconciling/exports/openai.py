"""OpenAI's organization usage and costs: pages of the API and the dashboard's CSV of the same columns. Pure.

`input_tokens` includes cached, cache-write and audio tokens; our kinds exclude one another. Costs say model and kind in
one text, `MODEL, cached input`, and the amount in dollars, as a number or a decimal text (`0E-6176` is a zero).
Source: OpenAI API reference, organization usage and costs; the shapes as `openai` for Python declares them.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from interlock.errors import LocalError
from interlock.ledger import REQUESTS
from interlock.reconciling.exports.pages import Result, text_of
from interlock.reconciling.figures import count, exact, times
from interlock.reconciling.moments import moment_ns
from interlock.reconciling.statement import Category, Charge, Repeat

STARTS = ("start_time", "start_time_iso")
USAGE_COLUMN, COST_COLUMN = "input_tokens", "amount_value"
COST_KINDS = ("input", "cache_read", "cache_write", "audio_input", "output", "audio_output", "web_search")
PLACES = 9
"""Costs are not rounded; a number that ends early is exact."""

_ITEM = re.compile(r"(?:(?P<tier>[\w -]+) \| )?(?P<model>.+?), (?P<kind>[a-z ]+?)(?:, long context)?")
_KINDS = {
    "input": "input",
    "cached input": "cache_read",
    "cache writes": "cache_write",
    "cache write": "cache_write",
    "audio input": "audio_input",
    "output": "output",
    "audio output": "audio_output",
}
_UNITS = {"": 1, "tokens": 1, "1000_tokens": 1000}
_COUNTS = {"organization.usage.web_searches.result": ("num_requests", "web_search")}
_TOKENS = ("organization.usage.completions.result", "organization.usage.embeddings.result")


def charges(result: Result, left_out: dict[str, int]) -> Iterator[Charge]:
    """What one result says. `left_out` counts results of usage that is not metered, by their object's name.

    Raises: LocalError: a figure or period that is none.
    """
    starts_ns = moment_ns(_either(result.bucket, "start_time"), f"{result.place} start_time")
    ends_ns = moment_ns(_either(result.bucket, "end_time"), f"{result.place} end_time")
    if not result.fields:
        yield Charge(place=result.place, starts_ns=starts_ns, ends_ns=ends_ns)
        return
    shape = str(result.fields.get("object") or "")[:100]
    if "amount" in result.fields or shape == "organization.costs.result":
        found = _cost(result)
    elif shape in _COUNTS:
        name, kind = _COUNTS[shape]
        found = _counted(result, {kind: _count(result, name)})
    elif shape in _TOKENS or "input_tokens" in result.fields:
        found = _counted(result, _tokens(result))
    else:
        left_out[shape or "a result of no known object"] = left_out.get(shape or "a result of no known object", 0) + 1
        return
    for charge in found:
        yield Charge(
            place=result.place, starts_ns=starts_ns, ends_ns=ends_ns, repeat="alike" if result.repeat else "", **charge
        )


def row(cells: Mapping[str, Any], place: str, repeat: Repeat) -> Result:
    """A row of the dashboard's CSV as the API would give it."""
    fields = {name: value for name, value in cells.items() if value not in ("", None)}
    if COST_COLUMN in cells:
        if COST_COLUMN not in fields:
            return Result(place, dict(cells), {}, "")
        fields["amount"] = {"value": fields[COST_COLUMN], "currency": fields.get("amount_currency", "usd")}
    elif USAGE_COLUMN not in fields:
        return Result(place, dict(cells), {}, "")
    return Result(place, dict(cells), fields, repeat)


def _either(bucket: Mapping[str, Any], name: str) -> Any:
    return bucket.get(name) or bucket.get(f"{name}_iso")


def _counted(result: Result, quantities: Mapping[str, Decimal]) -> Iterator[dict[str, Any]]:
    model = text_of(result.fields, "model", result.place)
    for kind, quantity in quantities.items():
        yield {"model": model, "kind": kind, "quantity": quantity}


def _tokens(result: Result) -> dict[str, Decimal]:
    """Exclusive quantities: what the cached, written and audio tokens leave of the input is `input`."""
    inside = {
        "cache_read": _count(result, "input_cached_tokens"),
        "cache_write": _count(result, "input_cache_write_tokens"),
        "audio_input": _count(result, "input_audio_tokens"),
    }
    whole, output = _count(result, "input_tokens"), _count(result, "output_tokens")
    spoken = _count(result, "output_audio_tokens")
    rest = whole - sum(inside.values(), Decimal(0))
    if rest < 0:  # older answers count text alone in input_tokens
        rest = whole - inside["cache_read"] - inside["cache_write"]
    heard = output - spoken if spoken <= output else output
    if rest < 0:
        raise LocalError(
            f"{result.place}: input_cached_tokens are more than input_tokens, which include them", field=result.place
        )
    told = {"cache_write": "input_cache_write_tokens", "audio_input": "input_audio_tokens"}
    tokens = {"input": rest, "cache_read": inside["cache_read"], "output": heard}
    tokens |= {kind: inside[kind] for kind, name in told.items() if result.fields.get(name) is not None}
    if result.fields.get("output_audio_tokens") is not None:
        tokens["audio_output"] = spoken
    if result.fields.get("num_model_requests") is not None:
        tokens[REQUESTS] = _count(result, "num_model_requests")
    return tokens


def _count(result: Result, name: str) -> Decimal:
    value = result.fields.get(name)
    return Decimal(0) if value is None else count(value, f"{result.place} {name}")


def _cost(result: Result) -> Iterator[dict[str, Any]]:
    amount = result.fields.get("amount")
    if not isinstance(amount, dict):
        if amount is None:
            return
        raise LocalError(f"{result.place}: amount is not an object of value and currency", field=result.place)
    if amount.get("value") is None:
        return
    value = exact(amount["value"], f"{result.place} amount.value", negative=True)
    currency = (text_of(amount, "currency", result.place) or "usd").upper()
    item = text_of(result.fields, "line_item", result.place)
    model, kind, category = _item(item)
    quantity = None
    unit = _UNITS.get(text_of(result.fields, "quantity_unit", result.place))
    if result.fields.get("quantity") is not None and kind and category == "usage" and unit:
        quantity = times(exact(result.fields["quantity"], f"{result.place} quantity"), unit)
    if value < 0:
        model, kind, quantity, category = "", "", None, "credit"
    yield {
        "model": model,
        "kind": kind,
        "quantity": quantity,
        "amount": value,
        "currency": currency,
        "category": category,
    }


def _item(item: str) -> tuple[str, str, Category]:
    """Model, kind and category of a line item; empty: the costs are not grouped by line item."""
    match = _ITEM.fullmatch(item)
    if match and match["kind"] in _KINDS:
        return match["model"], _KINDS[match["kind"]], "usage"
    if not item:
        return "", "", "usage"
    if "web search" in item.lower():
        return "", "web_search", "usage"
    return "", item.lower()[:200], "other"
