"""Billing over a log in memory, usage in a list, and a prepaid balance in a dictionary: what the tests drive."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import msgspec
import pytest

from interlock.billing import (
    Accounts,
    Billing,
    Counted,
    Counter,
    Document,
    Evidence,
    Found,
    Held,
    Item,
    Party,
    Tally,
    Wanted,
)
from interlock.billing.counting import SUM_ALONE, Cut, Detail
from interlock.billing.service import Billing as Service
from interlock.errors import InterlockError, LocalError, LogUnavailable
from interlock.log.memory import MemoryLog
from interlock.rating import Source, text_of
from interlock.testing.clock import ManualClock

T = TypeVar("T")
NANO = 1_000_000_000
BUYER = Party(name="Acme GmbH", address=("Hauptstr. 1", "10115 Berlin"), tax_ids=("DE123456789",))
ISSUER = Party(name="Interlock Ltd", address=("1 Signal Box Lane", "York"), prefix="INV-")


def ns(text: str) -> int:
    """A moment, UTC: `2026-11-05` or with a time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NANO


class Used(NamedTuple):
    """One event as it stands in the list; its place is its sequence number."""

    tenant: str
    id: str
    at_ns: int
    measures: dict[str, Fraction]
    labels: dict[str, str]
    recorded_ns: int = 0


class UsageList(Counter):
    """The reference: everything in one list, in the order in which it was written."""

    def __init__(self) -> None:
        self.events: list[Used] = []
        self.unpriced = 0
        self.gone: set[str] = set()
        """Days of months that cannot be counted any more: `2026-10`."""
        self.clock: ManualClock | None = None
        """With it, what was recorded since is told; without, everything is in doubt."""

    def add(self, at: str, quantity: str | int, tenant: str = "acme", measure: str = "output", **labels: str) -> None:
        """One event."""
        number = len(self.events) + 1
        now_ns = self.clock.now_ns() if self.clock else 0
        self.events.append(Used(tenant, f"req_{number:06}/1", ns(at), {measure: Fraction(quantity)}, labels, now_ns))

    async def cut(self, sources: Sequence[Source]) -> dict[str, int]:
        return {"usage/0": len(self.events)}

    async def count(
        self, tenant: str, source: Source, since_ns: int, until_ns: int, cut: Cut, detail: Detail = SUM_ALONE
    ) -> Found:
        if any(since_ns == ns(f"{month}-01") for month in self.gone):
            raise LocalError("its events have left", code="not_retained")
        evidence = Evidence(
            source=f"usage/{source.usage}",
            since_ns=since_ns,
            until_ns=until_ns,
            where=dict(source.where),
            cut=dict(cut),
        )
        tallies: dict[tuple[str, ...], Tally] = {} if source.by else {(): Tally(1, detail)}
        for event in self._matching(tenant, evidence):
            group = tuple(event.labels.get(name, "") for name in source.by)
            tally = tallies.setdefault(group, Tally(1, detail))
            tally.add(event.id, event.at_ns, int(event.measures[source.usage]))
        counted = []
        for group, tally in sorted(tallies.items()):
            named = dict(zip(source.by, group, strict=True))
            made = msgspec.structs.replace(
                evidence, group=named, count=tally.count, sum=text_of(tally.sum), sha256=tally.sha256
            )
            told = {"values": tally.values, "windows": tally.windows}
            counted.append(Counted(group=named, quantity=tally.sum, evidence=made, **told))
        return Found(counted=tuple(counted), unpriced=self.unpriced)

    async def changed(self, tenant: str, source: Source, since_ns: int, until_ns: int, recorded_ns: int) -> bool:
        mine = (event for event in self.events if event.tenant == tenant and since_ns <= event.at_ns < until_ns)
        return self.clock is None or any(event.recorded_ns >= recorded_ns for event in mine)

    async def items(self, tenant: str, evidence: Evidence) -> AsyncIterator[Item]:
        for event in self._matching(tenant, evidence):
            if all(event.labels.get(name, "") == value for name, value in evidence.group.items()):
                yield Item(event.id, event.at_ns, text_of(event.measures[_measure(evidence)]), evidence.group)

    def _matching(self, tenant: str, evidence: Evidence) -> list[Used]:
        found = [
            event
            for event in self.events[: evidence.cut["usage/0"]]
            if event.tenant == tenant
            and _measure(evidence) in event.measures
            and evidence.since_ns <= event.at_ns < evidence.until_ns
            and all(event.labels.get(name, "") in values for name, values in evidence.where.items())
        ]
        return sorted(found, key=lambda event: event.id.encode())


def _measure(evidence: Evidence) -> str:
    return evidence.source.removeprefix("usage/")


class Balances:
    """Prepaid credit, idempotent by id."""

    def __init__(self, **left: int) -> None:
        self.left = left
        self.taken: dict[str, tuple[str, int]] = {}
        self.restored: set[str] = set()

    async def burn(self, account: str, nanousd: int, id: str) -> int:
        if id not in self.taken:
            amount = min(nanousd, self.left.get(account, 0))
            self.taken[id] = (account, amount)
            self.left[account] = self.left.get(account, 0) - amount
        return self.taken[id][1]

    async def lost(self, id: str) -> None:
        raise LogUnavailable("cut off")

    async def restore(self, id: str) -> None:
        if id in self.taken and id not in self.restored:
            self.restored.add(id)
            account, amount = self.taken[id]
            self.left[account] += amount


async def here(work: Callable[..., T], *args: Any) -> T:
    """No thread."""
    return work(*args)


class Rig:
    """One billing; `do` runs a coroutine to its end."""

    def __init__(self, now: str = "2026-12-03", billing: type[Service] = Billing, **left: int) -> None:
        self.log, self.clock, self.usage = MemoryLog(), ManualClock(ns(now)), UsageList()
        self.balances = Balances(**left)
        self.make = billing
        self.billing = billing(self.log, self.clock, self.usage, self.balances, here)

    def again(self) -> "Rig":
        """The same log in another process."""
        self.billing = self.make(self.log, self.clock, self.usage, self.balances, here)
        self.do(self.billing.refresh())
        return self

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. Nothing here ever waits, so no loop is needed, and none is made a thousand times."""
        try:
            work.send(None)
        except StopIteration as ended:
            found: T = ended.value
            return found
        raise AssertionError("it waits for something")

    def at(self, moment: str) -> None:
        """The clock moves on to it."""
        self.clock.advance(ns(moment) - self.clock.now_ns())

    def subscribed(self, *charges: dict[str, Any], since: str = "2026-01-01", zone: str = "", **plan: Any) -> "Rig":
        """A plan `gold` in USD with those charges, and acme on it."""
        document = {"name": "gold", "currency": "USD", "charges": list(charges or [TOKENS]), **plan}
        self.do(self.billing.adopt_plan(document, "ann"))
        self.do(self.billing.set_issuer(ISSUER, "ann"))
        wanted = Wanted(plan="gold", since=since, zone=zone, buyer=BUYER)
        self.do(self.billing.subscribe("acme", wanted, "ann"))
        return self

    def document(self, period: str = "2026-11") -> Document:
        """The draft."""
        draft = self.do(self.billing.draft("acme", period))
        return Document(draft.header, draft.lines)

    def final(self, period: str = "2026-11", **review: Any) -> Held:
        """The period's invoice, all the way."""
        held, _ = self.do(self.billing.review("acme", period, "ann", **review))
        self.do(self.billing.approve(held.header.id, held.sha256, "bob"))
        return self.do(self.billing.finalize(held.header.id, "bob"))

    def whole(self, held: Held) -> Document:
        """With its lines."""
        return Document(held.header, tuple(self.do(self.billing.lines(held))), held)

    @property
    def accounts(self) -> Accounts:
        return self.do(self.billing.refresh())


TOKENS: dict[str, Any] = {
    "id": "tokens",
    "description": "Output tokens",
    "unit_name": "token",
    "price": {"model": "graduated", "tiers": [{"up_to": "1000", "unit": "0.01"}, {"unit": "0.005"}]},
    "source": {"usage": "output"},
}
BASE: dict[str, Any] = {"id": "base", "description": "Base fee", "price": {"model": "flat", "amount": "31"}}
VAT: dict[str, Any] = {"rates": [{"name": "VAT", "percent": "19"}]}


def catches(check: Callable[[Any], None], cases: Iterable[Any]) -> bool:
    """Whether a property fails for any of these cases: what a planted mistake is tried on, with nothing to shrink."""
    for case in cases:
        try:
            check(case)
        except (AssertionError, InterlockError, pytest.fail.Exception):
            return True
    return False
