"""How many past calls a second of CPU are decided again: `python bench/replay.py [ATTEMPTS] [CSV]`.

Rows of a ledger's view (in memory, so that SQLite is not what is measured; the view's own reading is measured beside),
and rows of a file of token counts. One process, one core; CPU time.
"""

import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from interlock.gateway import Deployment, Policy, Rule, Signals, Tier, When
from interlock.gateway.router import Router
from interlock.ledger import Past, Price, amount
from interlock.replay import Replay, baseline_of, read_traffic, replay_traffic

USAGE = b'{"cache_read":2000,"cache_write_5m":100,"input":5000,"output":300}'
START_NS = 1_800_000_000 * 10**9
CONVERSATION = 20
"""Calls of one."""


def policy() -> Policy:
    """Three deployments, three rules."""

    def deployment(name: str, each: int) -> Deployment:
        per_mtok = {"input": each, "cache_read": each // 10, "cache_write": each * 5 // 4, "output": each * 5}
        return Deployment(
            name=name,
            provider="o",
            base_url="http://h",
            model=name,
            family="claude",
            formats=("messages", "chat"),
            capabilities=("tools",),
            price=Price(per_mtok=per_mtok, source="override"),
        )

    prices = {"opus": 5_000_000_000, "sonnet": 3_000_000_000, "haiku": 1_000_000_000}
    return Policy(
        version="v",
        deployments={name: deployment(name, each) for name, each in prices.items()},
        tiers={name: Tier(name=name, deployments=(name,)) for name in prices},
        rules=(
            Rule(name="plans", when=When(mode=("plan",)), tier="opus"),
            Rule(name="short", when=When(input_tokens_max=1_000), tier="haiku"),
            Rule(name="edits", when=When(mode=("edit",)), tier="sonnet"),
        ),
        profiles={},
        default_tier="opus",
        baseline="opus",
    )


def rows(made: Policy, count: int) -> list[Past]:
    """As the view gives them, each as the gateway recorded it."""
    router, draw = Router(made, {}), random.Random(1)
    usage = msgspec.json.decode(USAGE, type=dict[str, int])
    found = []
    for n in range(count):
        conversation = f"{n // CONVERSATION:024x}"
        signals = Signals(
            format="messages",
            model="auto",
            tenant="acme",
            principal="dev",
            mode=draw.choice(["plan", "edit", "edit", "debug"]),
            session=f"conv-{conversation}",
            conversation=conversation,
            tools=True,
            stream=True,
            input_tokens=draw.randrange(100, 20_000),
            output_tokens_max=4_096,
        )
        routed = router.route(signals, ())
        opened = b'{"request_id":"req_%032x","attempt":1,"tenant":"acme","session":"conv-%b","decision":%b}' % (
            n,
            conversation.encode(),
            routed.decision(signals, ("model",)),
        )
        winner, at_ns = routed.route.winner, START_NS + n * 10**9
        cost = amount(usage, made.deployments[winner].price)
        found.append(
            Past(
                f"req_{n:032x}",
                1,
                at_ns,
                at_ns + 10**9,
                "settled",
                "acme",
                "k",
                winner,
                "v",
                "completed",
                USAGE,
                cost,
                opened,
            )
        )
    return found


def per_second(work: Callable[[], object], count: int) -> str:
    """Of CPU time."""
    start = time.process_time()
    work()
    return f"{count / (time.process_time() - start):,.0f}"


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    made = policy()
    past = rows(made, count)
    gc.freeze()  # rows in memory are the bench's own burden: the view's come in pages
    other = msgspec.structs.replace(made, rules=made.rules[1:], default_tier="sonnet")
    for name, replayed in (("the same policy", made), ("another policy", other)):
        replay = Replay(replayed, lambda tenant, key: ())
        rate = per_second(lambda replay=replay: replay.feed(past), count)  # type: ignore[misc] # mypy knows no defaults in lambdas
        print(f"rows of the view, {name}: {rate} decisions/s, {replay.sums.report('v', 'x').changed:,} changed")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(scratch) / "traffic.csv"
        if len(sys.argv) <= 2:
            lines: Iterable[str] = (f"{n % 9_000},{n % 400}" for n in range(count))
            path.write_text("input,output\n" + "\n".join(lines) + "\n")
        calls = list(read_traffic(path, {}))
        reading = per_second(lambda: list(read_traffic(path, {})), len(calls))
        deciding = per_second(lambda: replay_traffic(calls, made, baseline_of(made)), len(calls))
        print(f"rows of a file: {deciding} decisions/s, reading them {reading}/s")


if __name__ == "__main__":
    main()
