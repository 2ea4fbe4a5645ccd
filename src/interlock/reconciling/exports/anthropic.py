"""Anthropic's usage report for messages and its cost report: pages of the Admin API. Pure.

Input tokens are told apart: uncached, read from the cache, written to it by lifetime. An amount is a decimal text in
*cents*: `"123.78912"` is $1.2378912. Workspaces, keys, tiers, context windows and places are added together.
Source: Anthropic API reference, `GET /v1/organizations/usage_report/messages` and `/v1/organizations/cost_report`.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from interlock.errors import LocalError
from interlock.reconciling.exports.pages import Result, text_of
from interlock.reconciling.figures import count, exact, times
from interlock.reconciling.moments import moment_ns
from interlock.reconciling.statement import Category, Charge

STARTS = ("starting_at",)
KINDS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "web_search")
PLACES = 2
"""Whole cents, at least; the finest amount of a report says to how many it is kept."""

_CENT = Decimal("0.01")
_TOKENS = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "cache_read",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
    "output_tokens": "output",
    "server_tool_use.web_search_requests": "web_search",
}
_NOT_METERED = ("code_execution", "session_usage")


def charges(result: Result, left_out: dict[str, int]) -> Iterator[Charge]:
    """What one result says. Raises: LocalError: a figure, kind or period that is none."""
    starts_ns = moment_ns(result.bucket.get("starting_at"), f"{result.place} starting_at")
    ends_ns = moment_ns(result.bucket.get("ending_at"), f"{result.place} ending_at")
    if not result.fields:
        yield Charge(place=result.place, starts_ns=starts_ns, ends_ns=ends_ns)
        return
    for charge in _cost(result) if "amount" in result.fields else _usage(result):
        yield Charge(
            place=result.place, starts_ns=starts_ns, ends_ns=ends_ns, repeat="alike" if result.repeat else "", **charge
        )


def _usage(result: Result) -> Iterator[dict[str, Any]]:
    model = text_of(result.fields, "model", result.place)
    if not any(name.split(".")[0] in result.fields for name in _TOKENS):
        raise LocalError(f"{result.place}: neither an amount nor tokens: is it this report?", field=result.place)
    for name, kind in _TOKENS.items():
        group, _, inner = name.partition(".")
        value = result.fields.get(group)
        if inner:
            value = value.get(inner) if isinstance(value, dict) else None
        if value is not None:
            yield {"model": model, "kind": kind, "quantity": count(value, f"{result.place} {name}")}


def _cost(result: Result) -> Iterator[dict[str, Any]]:
    value = times(exact(result.fields["amount"], f"{result.place} amount", negative=True), _CENT)
    currency = text_of(result.fields, "currency", result.place) or "USD"
    cost_type = text_of(result.fields, "cost_type", result.place)
    token_type = text_of(result.fields, "token_type", result.place)
    model, category = text_of(result.fields, "model", result.place), _category(cost_type)
    kind = "web_search" if cost_type == "web_search" else _TOKENS.get(token_type, "")
    if token_type and token_type not in _TOKENS:
        raise LocalError(f"{result.place}: token_type {token_type[:60]!r} is not known", field=result.place)
    if category == "other":
        kind = cost_type
    if value < 0:
        model, kind, category = "", "", "credit"
    yield {"model": model, "kind": kind, "amount": value, "currency": currency.upper(), "category": category}


def _category(cost_type: str) -> Category:
    return "other" if cost_type in _NOT_METERED else "usage"
