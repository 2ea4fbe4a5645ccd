"""What the ledger's tests share: a log that repeats itself, and records to put in it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from interlock.ledger import Opened, Price, Refused, Settled
from interlock.log import Appended, Conflict, Record, Stored
from interlock.log.record import chain_next, chain_start, head_json

T = TypeVar("T")

SONNET = Price(
    per_mtok={
        "input": 3_000_000_000,
        "cache_read": 300_000_000,
        "cache_write_5m": 3_750_000_000,
        "cache_write_1h": 6_000_000_000,
        "output": 15_000_000_000,
    },
    source="override",
)
MINI = Price(per_mtok={"input": 150_000_000, "output": 600_000_000})
FREE = Price(per_mtok={"input": 0, "output": 0})


class RepeatingLog:
    """As a journal: ids are not indexed, so what is appended twice stands twice."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Stored]] = {}

    async def append(self, stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
        self.put(stream, *records)
        return Appended((), len(self.rows[stream]))

    def put(self, stream: str, *records: Record) -> None:
        rows = self.rows.setdefault(stream, [])
        for record in records:
            seq = len(rows) + 1
            chain = chain_next(rows[-1].chain if rows else chain_start(stream), head_json(seq, record))
            rows.append(Stored(stream=stream, seq=seq, record=record, chain=chain))

    def cut(self, heads: dict[str, int]) -> "RepeatingLog":
        """The log as it was when its streams were that long."""
        earlier = RepeatingLog()
        earlier.rows = {stream: rows[: heads[stream]] for stream, rows in self.rows.items() if heads[stream]}
        return earlier

    async def head(self, stream: str) -> int:
        return len(self.rows.get(stream, []))

    async def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
        for stored in self.rows.get(stream, [])[after:]:
            yield stored

    def follow(self, stream: str, *, after: int) -> AsyncIterator[Stored]:
        raise NotImplementedError  # the fold under test never follows

    async def streams(self) -> list[str]:
        return sorted(self.rows)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def opened(request_id: str = "req_1", attempt: int = 1, **fields: Any) -> Opened:
    plain: dict[str, Any] = {
        "tenant": "acme",
        "principal": "ada",
        "key_id": "key_1",
        "format": "messages",
        "stream": True,
        "model_requested": "auto",
        "tier": "strong",
        "deployment": "sonnet",
        "provider": "anthropic",
        "model": "claude-sonnet",
        "policy": "sha256:1",
        "input_estimate": 700,
        "estimate_rule": "bytes/1",
    }
    return Opened(request_id=request_id, attempt=attempt, **(plain | fields))


def settled(request_id: str = "req_1", attempt: int = 1, **fields: Any) -> Settled:
    plain: dict[str, Any] = {"outcome": "completed", "usage": {"input": 10, "output": 5}, "source": "reported"}
    return Settled(request_id=request_id, attempt=attempt, **(plain | fields))


def refused(request_id: str = "req_9", **fields: Any) -> Refused:
    plain: dict[str, Any] = {
        "tenant": "acme",
        "principal": "ada",
        "key_id": "key_1",
        "format": "chat",
        "model_requested": "auto",
        "policy": "sha256:1",
        "code": "boundary_refused",
        "message": "no deployment is inside",
    }
    return Refused(request_id=request_id, **(plain | fields))


def record(event: Opened | Settled | Refused, at_ns: int = 1_000) -> Record:
    """The event as the gateway writes it."""
    kind = type(event).__name__.lower()
    middle = "" if isinstance(event, Refused) else f"/{event.attempt}"
    return Record(
        id=f"{event.request_id}{middle}/{kind}", type=f"usage.{kind}", at_ns=at_ns, payload=msgspec.json.encode(event)
    )


def adopted(
    version: str,
    prices: dict[str, Price | None],
    baseline: str | None = None,
    nth: int = 1,
    baseline_price: Price | None = None,
) -> Record:
    """A policy of that version as the `config` stream holds it, beside things that the ledger does not read."""
    deployments = {name: {"model": name, **({"price": price} if price else {})} for name, price in prices.items()}
    body: dict[str, Any] = {
        "version": version,
        "deployments": deployments,
        "baseline": baseline,
        "tiers": {},
        "default_tier": "strong",
    }
    body |= {"baseline_price": baseline_price} if baseline_price else {}
    return Record(id=f"{version}/{nth}", type="policy.adopted", at_ns=nth, payload=msgspec.json.encode(body))


def log_of(**streams: Iterable[Record]) -> RepeatingLog:
    """Keyword `usage_0` is the stream `usage/0`."""
    log = RepeatingLog()
    for name, records in streams.items():
        log.put(name.replace("_", "/"), *records)
    return log
