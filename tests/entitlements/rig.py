"""Subscriptions in a real log, the writer that follows them, and workers on one page; a clock that is moved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.billing.rig import BUYER, ns

from interlock.billing import Billing, NoUsage, Wanted, standings
from interlock.entitlements import Entitling, SharedPlans, Standing
from interlock.identity import ENTITLEMENTS, Generation
from interlock.limits import Claim, Limiter, Page
from interlock.log.sqlite import SqliteLog
from interlock.testing.clock import ManualClock

BASE = {"id": "base", "price": {"model": "flat", "amount": "10"}}


class Rig:
    """One control process and two workers."""

    def __init__(self, directory: Path, now: str = "2026-11-10") -> None:
        self.clock = ManualClock(ns(now))
        self.log = SqliteLog(directory / "log.sqlite")
        self.generation = Generation(directory)
        self.start()
        Page.create(directory / "limits", slots=2)
        self.workers = [self.worker(directory, slot) for slot in (0, 1)]

    def start(self) -> None:
        """Another control process on the same log: it knows nothing that is not written there."""
        raised = self.generation.raise_to
        self.entitling = Entitling(self.log, self.clock, self.wanted, lambda head: raised(ENTITLEMENTS, head))
        self.billing = Billing(self.log, self.clock, NoUsage(), subscribed=self.entitling.follow)

    async def wanted(self, tenant: str) -> list[Standing]:
        return list(standings(await self.billing.refresh(), tenant))

    def worker(self, directory: Path, slot: int) -> Limiter:
        limiter = Limiter(Page(directory / "limits"), slot, self.clock, [])
        limiter.plans = SharedPlans(self.log, self.generation)
        return limiter

    async def put(self, entitlements: Mapping[str, Any] | None, name: str = "gold") -> None:
        """The plan's next version."""
        more = {} if entitlements is None else {"entitlements": entitlements}
        await self.billing.adopt_plan({"name": name, "currency": "USD", "charges": [BASE], **more}, "ann")

    async def subscribe(self, plan: str = "gold", since: str = "2026-11-01", tenant: str = "acme", **more: Any) -> None:
        await self.billing.subscribe(tenant, Wanted(plan=plan, since=since, buyer=BUYER, **more), "ann")

    async def records(self) -> list[str]:
        """Ids in the stream."""
        return [stored.record.id async for stored in self.log.read("entitlements")]

    def close(self) -> None:
        self.log.close()
        self.generation.close()


def call(number: int = 1, *, model: str = "small-1", tokens: int = 10, tenant: str = "acme") -> Claim:
    return Claim(id=f"req/{number}", key="k", tenant=tenant, principal="ada", model=model, input_tokens=tokens)
