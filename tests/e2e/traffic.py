"""A month of agents, as gateways would have recorded it: sizes and arrivals of a real service, spread over a month.

It knows what it put there, so that every figure later on can be reckoned without the product.
"""

import csv
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from interlock.clock import SystemClock
from interlock.ids import new_id
from interlock.ledger import Opened, Settled
from interlock.log.journal import Journal

ROWS = Path(__file__).parents[1] / "data/azure/llm_2023.csv"
_HOUR_MS = 3_500_000
_DAY_HOURS = (8, 20)
"""When people work; agents with them."""
PRICES = {
    "strong": {"input": "3", "cache_read": "0.3", "output": "15"},
    "small": {"input": "0.15", "cache_read": "0.075", "output": "0.6"},
}
"""USD per million tokens, by deployment: those that `CONFIG` sets."""
CONFIG = """default_tier = "small"

[deployments.strong]
provider = "scripted"
base_url = "http://127.0.0.1:9/v1"
model = "strong-1"
formats = ["chat", "messages"]
price = { input = "3", cache_read = "0.3", output = "15" }

[deployments.small]
provider = "scripted"
base_url = "http://127.0.0.1:9/v1"
model = "small-1"
formats = ["chat", "messages"]
price = { input = "0.15", cache_read = "0.075", output = "0.6" }

[tiers]
strong = ["strong"]
small = ["small"]
"""


class Attempt(NamedTuple):
    """One call that was made."""

    id: str
    """Of the request; each has one attempt."""
    at_ns: int
    tenant: str
    team: str
    principal: str
    session: str
    task: str
    mode: str
    deployment: str
    usage: dict[str, int]
    """As it was metered; of a lost call: as it was estimated."""
    outcome: str
    source: str
    true: dict[str, int]
    """As the provider counted it."""


def attempts(year: int, month: int, *, every: int = 1, seed: int = 1) -> Iterator[Attempt]:
    """The month's calls in order: two customers with coding agents (plan and edit), one with a support desk.

    Args:
        every: take only one row in so many.
    """
    chance = random.Random(seed)
    days = _workdays(year, month)
    with ROWS.open(newline="") as file:
        rows = list(csv.DictReader(file))[::every]
    for row in rows:
        at = _moment(days, int(row["ms"]) / _HOUR_MS)
        coding = row["service"] == "code"
        tenant = chance.choice(("acme", "acme", "globex")) if coding else "initech"
        agent = chance.randrange(4)
        team = ("web" if agent < 2 else "platform") if coding else "desk"
        mode = ("plan" if chance.random() < 0.15 else "edit") if coding else "support"
        read = int(row["input"])
        usage = {"input": read, "output": int(row["output"])}
        if cached := int(read * chance.choice((0, 0, 0.5, 0.9))):
            usage["cache_read"] = cached
        luck = chance.random()
        outcome, source = ("lost", "estimated") if luck < 0.004 else ("completed", "reported")
        yield Attempt(
            id=new_id("req", int(at.timestamp()) * 1_000_000_000),
            at_ns=int(at.timestamp() * 1000) * 1_000_000,
            tenant=tenant,
            team=team,
            principal=f"{team}-agent-{agent}",
            session=f"{team}-{agent}-{at:%m%d}",
            task=f"{team}-{chance.randrange(12)}",
            mode=mode,
            deployment="strong" if mode == "plan" else "small",
            usage=usage,
            outcome=outcome,
            source=source,
            true=usage if outcome == "completed" else usage | {"output": 3 * usage["output"] + 7},
        )


def record(journals: Path, policy: str, made: list[Attempt]) -> None:
    """Write down what a gateway under that policy would have, in a stream of its own. No server may be running."""
    journal = Journal.open(journals / "usage" / "9", "usage/9", clock=SystemClock(), reserve_bytes=0)
    encode = msgspec.json.Encoder().encode
    for n, one in enumerate(made):
        opened, settled = _records(policy, one)
        journal.stage(f"{one.id}/1/opened", "usage.opened", one.at_ns, encode(opened))
        journal.stage(f"{one.id}/1/settled", "usage.settled", one.at_ns + 2_000_000_000, encode(settled))
        if n % 500 == 0:
            journal.flush()
    journal.close()


def _records(policy: str, one: Attempt) -> tuple[Opened, Settled]:
    named: dict[str, Any] = {name: getattr(one, name) for name in ("team", "task") if name in Opened.__struct_fields__}
    opened = Opened(
        request_id=one.id,
        attempt=1,
        tenant=one.tenant,
        principal=one.principal,
        key_id=f"key_{one.principal}",
        format="chat",
        stream=False,
        model_requested="auto",
        tier=one.deployment,
        deployment=one.deployment,
        provider="scripted",
        model=f"{one.deployment}-1",
        policy=policy,
        input_estimate=one.usage["input"],
        estimate_rule="bytes/4",
        session=one.session,
        mode=one.mode,
        **named,
    )
    lost = one.outcome == "lost"
    settled = Settled(
        request_id=one.id,
        attempt=1,
        outcome="lost" if lost else "completed",
        usage=one.usage,
        source="estimated" if lost else "reported",
        rule="lost" if lost else "",
        http_status=0 if lost else 200,
        finish_reason="" if lost else "stop",
    )
    return opened, settled


def _workdays(year: int, month: int) -> list[datetime]:
    first = datetime(year, month, 1, tzinfo=UTC)
    days = [first + timedelta(days=n) for n in range(31)]
    return [day for day in days if day.month == month and day.weekday() < 5]


def _moment(days: list[datetime], part: float) -> datetime:
    begin, end = _DAY_HOURS
    hours = part * len(days) * (end - begin)
    return days[int(hours // (end - begin))] + timedelta(hours=begin + hours % (end - begin))
