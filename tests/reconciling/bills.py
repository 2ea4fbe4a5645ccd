"""A world's bill in each provider's own shape."""

import csv
import gzip
import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.reconciling.worlds import DAY_S, DAYS, FIRST_S, Billed, World, number, stamp, write

_ITEMS = {"input": "input", "cache_read": "cached input", "output": "output"}
_TOKEN_TYPES = {
    "input": "uncached_input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write_5m": "cache_creation.ephemeral_5m_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
    "output": "output_tokens",
}
_USAGE_TYPES = {
    "input": "input-tokens",
    "cache_read": "cache-read-input-token-count",
    "cache_write_5m": "cache-write-input-token-count",
    "cache_write_1h": "cache-write-1h-input-token-count",
    "output": "output-tokens",
}


def openai_usage(one: World, path: Path) -> Path:
    """`GET /v1/organization/usage/completions`, by day, model and project, several pages in one list."""
    rows = one.rows()
    rows += one.repeated(rows)
    pages = []
    for day in range(DAYS):
        results = [_openai_usage(row) for row in rows if row.day == day]
        pages.append(_openai_page(day, results, more=day + 1 < DAYS))
    return write(path, pages)


def _openai_usage(row: Billed) -> dict[str, Any]:
    cached = row.kinds.get("cache_read", 0)
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": row.kinds["input"] + cached,
        "output_tokens": row.kinds["output"],
        "num_model_requests": row.calls,
        "project_id": f"proj_{row.project}",
        "user_id": None,
        "api_key_id": None,
        "model": row.model.billed,
        "batch": None,
        "service_tier": None,
        "input_cached_tokens": cached,
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
    }


def openai_costs(one: World, path: Path) -> Path:
    """`GET /v1/organization/costs` by line item and project, one page a line."""
    rows = one.rows()
    found = [(row.day, _openai_line(one, row, kind)) for row in rows for kind in row.kinds]
    found += [(row.day, _openai_line(one, row, "input")) for row in one.repeated(rows)]
    others = [_openai_cost(amount, category, None, "", currency) for category, amount, currency in one.others]
    found += [(0, other) for other in others]
    pages = [_openai_page(day, [line for at, line in found if at == day], more=False) for day in range(DAYS)]
    return write(path, *pages)


def _openai_line(one: World, row: Billed, kind: str) -> dict[str, Any]:
    amount, item = number(one.amount(row, kind)), f"{row.model.billed}, {_ITEMS[kind]}"
    return _openai_cost(amount, item, float(row.kinds[kind]), f"proj_{row.project}")


def _openai_cost(amount: Any, item: str, quantity: float | None, project: str, currency: str = "USD") -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": amount, "currency": currency.lower()},
        "line_item": item,
        "quantity": quantity,
        "project_id": project or None,
    }


def _openai_page(day: int, results: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    start = FIRST_S + day * DAY_S
    bucket = {"object": "bucket", "start_time": start, "end_time": start + DAY_S, "results": results}
    return {"object": "page", "data": [bucket], "has_more": more, "next_page": "page_x" if more else None}


def anthropic_usage(one: World, path: Path) -> Path:
    """`GET /v1/organizations/usage_report/messages`, by day and model, one page."""
    return write(
        path, {"data": [_anthropic_bucket(one, day, _anthropic_usage) for day in range(DAYS)], "has_more": False}
    )


def anthropic_costs(one: World, path: Path) -> Path:
    """`GET /v1/organizations/cost_report` by description: cents, as decimal texts."""
    return write(
        path, {"data": [_anthropic_bucket(one, day, _anthropic_costs) for day in range(DAYS)], "has_more": False}
    )


def _anthropic_bucket(one: World, day: int, results: Any) -> dict[str, Any]:
    rows = one.rows()
    found = [result for row in rows if row.day == day for result in results(one, row)]
    found += [results(one, row)[0] for row in one.repeated(rows) if row.day == day]
    return {"starting_at": stamp(day), "ending_at": stamp(day + 1), "results": found}


def _anthropic_usage(one: World, row: Billed) -> list[dict[str, Any]]:
    return [
        {
            "uncached_input_tokens": row.kinds.get("input", 0),
            "cache_creation": {
                "ephemeral_5m_input_tokens": row.kinds.get("cache_write_5m", 0),
                "ephemeral_1h_input_tokens": row.kinds.get("cache_write_1h", 0),
            },
            "cache_read_input_tokens": row.kinds.get("cache_read", 0),
            "output_tokens": row.kinds.get("output", 0),
            "server_tool_use": {"web_search_requests": 0},
            "model": row.model.billed,
            "workspace_id": f"wrkspc_{row.project}",
            "api_key_id": None,
            "service_tier": "standard",
            "context_window": "0-200k",
            "inference_geo": "global",
        }
    ]


def _anthropic_costs(one: World, row: Billed) -> list[dict[str, Any]]:
    return [
        {
            "currency": "USD",
            "amount": f"{number(one.amount(row, kind) * 100):f}",
            "workspace_id": f"wrkspc_{row.project}",
            "description": f"{row.model.billed} {kind}",
            "cost_type": "tokens",
            "context_window": "0-200k",
            "model": row.model.billed,
            "service_tier": "standard",
            "token_type": _TOKEN_TYPES[kind],
            "inference_geo": "global",
        }
        for kind in row.kinds
    ]


LEGACY = {
    "identity/LineItemId": "id",
    "identity/TimeInterval": "interval",
    "bill/InvoiceId": "invoice",
    "lineItem/LineItemType": "type",
    "lineItem/UsageStartDate": "start",
    "lineItem/UsageEndDate": "end",
    "lineItem/ProductCode": "product",
    "lineItem/UsageType": "usage",
    "lineItem/UsageAmount": "quantity",
    "lineItem/CurrencyCode": "currency",
    "lineItem/UnblendedCost": "cost",
    "product/ProductName": "name",
}
CUR_2 = {
    "identity_line_item_id": "id",
    "identity_time_interval": "interval",
    "bill_invoice_id": "invoice",
    "line_item_line_item_type": "type",
    "line_item_usage_start_date": "start",
    "line_item_usage_end_date": "end",
    "line_item_product_code": "product",
    "line_item_usage_type": "usage",
    "line_item_usage_amount": "quantity",
    "line_item_currency_code": "currency",
    "line_item_unblended_cost": "cost",
    "product_product_name": "name",
}


def aws_rows(one: World, columns: dict[str, str]) -> list[dict[str, str]]:
    """Rows of a cost and usage report by the day; other products' and categories' among them."""
    plain: list[dict[str, str]] = []

    def add(start: str, end: str, kind: str, usage: str, quantity: str, cost: str, **more: str) -> None:
        row = {
            "id": f"line{len(plain)}",
            "interval": f"{start}/{end}",
            "invoice": "INV-1",
            "type": kind,
            "start": start,
            "end": end,
            "product": "AmazonBedrock",
            "usage": usage,
            "quantity": quantity,
            "currency": "USD",
            "cost": cost,
            "name": "Amazon Bedrock",
        }
        plain.append(row | more)

    rows = one.rows()
    again = one.repeated(rows)
    for row in rows:
        start, end = stamp(row.day), stamp(row.day + 1)
        for kind, quantity in row.kinds.items():
            cost, thousands = number(one.amount(row, kind)), number(Fraction(quantity, 1000))
            add(start, end, "Usage", f"USE1-{row.model.billed}-{_USAGE_TYPES[kind]}", f"{thousands:f}", f"{cost:f}")
            if kind == "input" and row in again:
                plain.append(plain[-1])
    for category, amount, currency in one.others:
        add(stamp(0), stamp(DAYS), category, "", "", f"{amount:f}", currency=currency)
    add(stamp(0), stamp(1), "Usage", "USE1-BoxUsage:t3.large", "24", "1.9968", product="AmazonEC2", name="Amazon EC2")
    return [{name: row[what] for name, what in columns.items()} for row in plain]


def focus_rows(one: World) -> list[dict[str, str]]:
    """Rows of a FOCUS file by the day, with AWS's own column for the usage type."""
    categories = {"Tax": "Tax", "Credit": "Credit", "Refund": "Adjustment", "Fee": "Tax"}
    rows = []
    for row in aws_rows(one, CUR_2):
        usage = row["line_item_line_item_type"] == "Usage"
        rows.append(
            {
                "BilledCost": row["line_item_unblended_cost"],
                "BillingCurrency": row["line_item_currency_code"],
                "ChargeCategory": "Usage" if usage else categories[row["line_item_line_item_type"]],
                "ChargeClass": "",
                "ChargePeriodStart": row["line_item_usage_start_date"],
                "ChargePeriodEnd": row["line_item_usage_end_date"],
                "ServiceName": row["product_product_name"],
                "ConsumedQuantity": row["line_item_usage_amount"],
                "ConsumedUnit": "1K tokens" if "oken" in row["line_item_usage_type"] else "Hrs",
                "x_UsageType": row["line_item_usage_type"],
                "SkuId": row["line_item_usage_type"],
                "InvoiceId": "INV-1",
            }
        )
    return rows


def plain_rows(one: World) -> list[dict[str, str]]:
    """Any tool's own CSV."""
    billed = one.rows()
    again = [(row, "input") for row in one.repeated(billed)]
    rows = [
        {
            "Day": stamp(row.day)[:10],
            "Model": row.model.billed,
            "Type": kind,
            "Project": row.project,
            "Tokens": str(row.kinds[kind]),
            "Cost": f"{number(one.amount(row, kind)):f}",
            "What": "usage",
            "Currency": "USD",
        }
        for row, kind in [*((row, kind) for row in billed for kind in row.kinds), *again]
    ]
    for category, amount, currency in one.others:
        other = {"Day": stamp(0)[:10], "Cost": f"{amount:f}", "What": category.lower(), "Currency": currency}
        rows.append({"Model": "", "Type": "", "Project": "", "Tokens": ""} | other)
    return rows


COLUMNS = (
    *(("start", "Day"), ("model", "Model"), ("kind", "Type"), ("quantity", "Tokens"), ("amount", "Cost")),
    *(("category", "What"), ("currency", "Currency")),
)


def table(path: Path, rows: Iterable[dict[str, str]]) -> Path:
    """A CSV file; gzip if its name says so."""
    every = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(every[0]))
    writer.writeheader()
    writer.writerows(every)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
