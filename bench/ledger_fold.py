"""How much CPU the ledger takes to fold usage, and how long its questions take over it.

`python bench/ledger_fold.py [ATTEMPTS]`: two events an attempt, with a decision of 1 KB on each opening as the gateway
writes it. The log is in memory, so the figures are the ledger's own.
"""

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from interlock.ledger import Ledger, Opened, Price, Settled
from interlock.log import Record, Stored
from interlock.log.memory import MemoryLog
from interlock.log.record import chain_next, chain_start, head_json

PRICES = {
    "local": Price(per_mtok={"input": 0, "output": 0}),
    "mini": Price(per_mtok={"input": 150_000_000, "cache_read": 75_000_000, "output": 600_000_000}),
    "sonnet": Price(per_mtok={"input": 3_000_000_000, "cache_read": 300_000_000, "output": 15_000_000_000}),
}
DECISION = msgspec.Raw(
    msgspec.json.encode(
        {"rule": "plan", "candidates": [{"deployment": f"d{n}", "refused": "geography " + "x" * 40} for n in range(12)]}
    )
)
DAY_NS = 86_400 * 10**9
START_NS = 1_750_000_000 * 10**9


class BenchLog(MemoryLog):
    """Filled directly: appending is not what is measured."""

    def fill(self, stream: str, records: list[Record]) -> None:
        chain, rows = chain_start(stream), []
        for seq, record in enumerate(records, 1):
            chain = chain_next(chain, head_json(seq, record))
            rows.append(Stored(stream=stream, seq=seq, record=record, chain=chain))
        self._streams[stream] = rows


def attempt(n: int, attempts: int) -> list[Record]:
    deployment = sorted(PRICES)[n % 3]
    request = f"req_{n:026d}"
    opened = Opened(
        request_id=request,
        attempt=1,
        tenant=f"tenant-{n % 10}",
        principal=f"agent-{n % 200}",
        key_id=f"key_{n % 50}",
        format="messages",
        stream=True,
        model_requested="auto",
        tier=("small", "strong")[n % 2],
        deployment=deployment,
        provider="anthropic",
        model=deployment,
        policy="sha256:1",
        input_estimate=900,
        estimate_rule="bytes/1",
        session=f"session-{n // 20}",
        mode=("plan", "edit", "review")[n % 3],
        decision=DECISION,
        team=f"team-{n % 7}",
        task=f"task-{n // 200}",
        tool=("", "read_file", "shell", "read_file,shell")[n % 4],
    )
    settled = Settled(
        request_id=request,
        attempt=1,
        outcome="completed",
        usage={"input": 1_000 + n % 977, "cache_read": n % 900, "output": 50 + n % 211, "reasoning": n % 40},
        source="reported",
        raw=msgspec.Raw(b'{"input_tokens":100,"cache_read_input_tokens":900,"output_tokens":100}'),
        http_status=200,
        duration_ns=10**9,
    )
    at_ns = START_NS + 30 * DAY_NS * n // attempts
    return [
        Record(id=f"{request}/1/opened", type="usage.opened", at_ns=at_ns, payload=msgspec.json.encode(opened)),
        Record(id=f"{request}/1/settled", type="usage.settled", at_ns=at_ns, payload=msgspec.json.encode(settled)),
    ]


def logs(attempts: int) -> tuple[BenchLog, BenchLog]:
    usage, config = BenchLog(), BenchLog()
    usage.fill("usage/0", [record for n in range(attempts) for record in attempt(n, attempts)])
    policy = {
        "version": "sha256:1",
        "deployments": {name: {"price": price} for name, price in PRICES.items()},
        "baseline": "sonnet",
    }
    config.fill("config", [Record(id="1", type="policy.adopted", at_ns=1, payload=msgspec.json.encode(policy))])
    return usage, config


def timed(name: str, call: Callable[[], object]) -> None:
    begun = time.process_time()
    call()
    print(f"{name:<40} {1_000 * (time.process_time() - begun):>9.1f} ms of CPU")


def main() -> None:
    attempts = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    usage, config = logs(attempts)
    gc.freeze()  # the log in memory is the bench's own burden, not the ledger's
    with tempfile.TemporaryDirectory() as directory:
        ledger = Ledger(Path(directory) / "ledger.sqlite")
        begun, cpu = time.perf_counter(), time.process_time()
        events = asyncio.run(ledger.catch_up(usage, config))
        wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
        size = (Path(directory) / "ledger.sqlite").stat().st_size
        print(
            f"folded {events} events: {events / cpu:,.0f} events/s of CPU, {events / wall:,.0f} events/s of wall clock"
        )
        print(f"{1e6 * cpu / events:.1f} µs of CPU an event, {size / events:,.0f} bytes an event")
        timed("nothing new", lambda: asyncio.run(ledger.catch_up(usage, config)))
        timed("usage, total", ledger.usage)
        timed("usage by tenant, day", lambda: ledger.usage(["tenant", "day"]))
        timed("usage by session", lambda: ledger.usage(["session"]))
        timed("usage by model, one tenant", lambda: ledger.usage(["model"], tenant="tenant-3"))
        timed("usage by tier, one day", lambda: ledger.usage(["tier"], since_ns=START_NS, until_ns=START_NS + DAY_NS))
        end_ns = START_NS + 30 * DAY_NS
        timed("costs, 30 days", lambda: ledger.costs([], START_NS, end_ns))
        timed("costs by team, tool, 30 days", lambda: ledger.costs(["team", "tool"], START_NS, end_ns))
        timed("costs by session, one day", lambda: ledger.costs(["session"], START_NS, START_NS + DAY_NS))
        timed("anomalies: a window of a day", lambda: ledger.spends(START_NS, START_NS + DAY_NS))
        timed("anomalies: the last ten seconds", lambda: ledger.spends(end_ns - 10**10, end_ns))
        timed("savings", ledger.savings)
        timed("explain", lambda: ledger.explain(f"req_{attempts // 2:026d}"))
        timed("counts", ledger.counts)
        ledger.close()


if __name__ == "__main__":
    main()
