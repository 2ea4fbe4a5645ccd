"""Calls of which one is lost with its worker, and the provider's report of them, in OpenAI's shape."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from tests.e2e.calls import BROKEN, connected, one
from tests.e2e.configs import Journals
from tests.e2e.server import Server, until
from tests.e2e.upstream import Upstream

from interlock.ledger import Opened, Settled

DAY_S = 86_400
TRUE = {"input": 21, "cache_read": 0, "output": 345}
"""What the provider counted for the call that we lost."""
PER_MTOK = {"input": Decimal(1), "cache_read": Decimal(1), "output": Decimal(2)}


async def calls(server: Server, provider: Upstream) -> None:
    """Four that are answered, one that is under way when its worker is killed."""
    for number in range(4):
        answer = await one(server.port, server.admin, f"whole-{number}")
        assert answer.status == 200
    async with connected(server.port, server.admin) as caller:
        caller.send("held-1", stream=True)
        await asyncio.to_thread(provider.wait_for, "held-1")
        os.kill(server.pids()["worker-0"], signal.SIGKILL)
        with suppress(*BROKEN):
            await caller.reader.read()
    provider.gate.touch()
    await asyncio.to_thread(until, lambda: not Journals(server.places.journal).open, "the lost call is settled")


def report(place: Path, journals: Journals) -> list[Path]:
    """Usage and costs of the day (or two, at midnight) as the provider counted them."""
    days: dict[int, dict[str, int]] = {}
    calls: dict[int, int] = {}
    model = ""
    for attempt, opened in journals.opened.items():
        [settled] = journals.settled[attempt]
        usage = TRUE if settled.outcome == "lost" else figures(settled)
        day = _second(opened) // DAY_S
        calls[day] = calls.get(day, 0) + 1
        model = settled.upstream_model or model
        for kind, count in usage.items():
            sums = days.setdefault(day, {})
            sums[kind] = sums.get(kind, 0) + count
    usage_page = [_bucket(day, [_usage(model, sums, calls[day])]) for day, sums in days.items()]
    costs_page = [_bucket(day, [_cost(model, kind, n) for kind, n in sums.items() if n]) for day, sums in days.items()]
    paths = [place / "usage.json", place / "costs.json"]
    for path, buckets in zip(paths, (usage_page, costs_page), strict=True):
        path.write_bytes(msgspec.json.encode({"object": "page", "data": buckets, "has_more": False}))
    return paths


def _second(opened: Opened) -> int:
    return int(opened.request_id.removeprefix("req_")[:12], 16) // 1000


def figures(settled: Settled) -> Mapping[str, int]:
    """Exclusive, as the provider charges."""
    cached = settled.usage.get("cache_read", 0)
    return {"input": settled.usage["input"] - cached, "cache_read": cached, "output": settled.usage["output"]}


def _usage(model: str, sums: Mapping[str, int], calls: int) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": sums["input"] + sums["cache_read"],
        "input_cached_tokens": sums["cache_read"],
        "output_tokens": sums["output"],
        "num_model_requests": calls,
        "model": model,
    }


def _cost(model: str, kind: str, count: int) -> dict[str, Any]:
    item = {"input": "input", "cache_read": "cached input", "output": "output"}[kind]
    value = str(PER_MTOK[kind] * count / 1_000_000)
    return {
        "object": "organization.costs.result",
        "amount": {"value": value, "currency": "usd"},
        "line_item": f"{model}, {item}",
        "project_id": None,
    }


def _bucket(day: int, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "bucket", "start_time": day * DAY_S, "end_time": (day + 1) * DAY_S, "results": results}
