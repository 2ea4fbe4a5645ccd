"""A program that sells by usage: each event it records is counted once, whatever dies in between.

INTERLOCK_EVENTS_URL=http://127.0.0.1:8081 INTERLOCK_EVENTS_KEY=ilk_… python examples/outbox.py
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from interlock.client import Outbox

with Outbox(
    Path("usage.outbox"),
    url=os.environ["INTERLOCK_EVENTS_URL"],
    key=os.environ["INTERLOCK_EVENTS_KEY"],
    source="shop/eu-1",
) as outbox:
    for number in range(3):
        sold_at = datetime(2026, 11, 1, 10, number, tzinfo=UTC)
        outbox.record("tokens", {"tokens": 42 + number}, subject="customer-7", id=f"order-{number}", time=sold_at)
    done = outbox.flush(timeout_s=10)
    print("all answered" if done else f"{outbox.waiting} wait: {outbox.last_error}")
    for problem in outbox.problems():
        print(problem.result, problem.message)
