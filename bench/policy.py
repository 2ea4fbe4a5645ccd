"""What the policy plane costs: CPU time of each of its parts, side by side: `python -m bench.policy [--quick]`.

A policy of 200 deployments, in tiers of four and one of all of them, and 500 rules, with boundaries in force; a call
that its first, middle or last rule matches, or none. Parts take turns (A B C, A B C, ...), because the machine's speed
drifts; each figure is the median of its turns. What a whole call costs with all of it on is the row `policed` of
`python -m bench`; replay and limits have programs of their own. Exit 1 if a target was missed.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from statistics import median

import msgspec

from bench.guard import chat, sources
from bench.report import Promise, verdicts
from interlock.caching import Caching
from interlock.gateway import Deployment, Facts, Policy, Profile, Rule, Signals, Tier, When
from interlock.gateway.affinity import Held
from interlock.gateway.conversations import Conversations, conversation_key
from interlock.gateway.router import Router
from interlock.gateway.routing import decide
from interlock.gateway.scanning import Scanner
from interlock.gateway.wire.opening import opening
from interlock.ledger import Price

DEPLOYMENTS, RULES, TIER = 200, 500, 4
CONVERSATIONS = 4096
NOW_S = 1_800_000_000
BOUNDARIES = ("by-source", "careful")
"""Of the tenant and of the key; the policy has one too."""
ACCEPTED = ("dpa-2026",)
DECISION_US_MAX, SCAN_US_MAX, LONG_SCAN_US_MAX, LINEAR_MAX = 15.0, 25.0, 1000.0, 12.0
EVERYBODY = f"decide: a tier of {DEPLOYMENTS}, no rule matches"

Work = Callable[[], object]


def deployment(number: int) -> Deployment:
    """Every fourth is outside of the boundary; every other one wants an agreement."""
    each = 1_000_000_000 + number * 1_000_000
    return Deployment(
        name=f"d{number:03}",
        provider="openai",
        base_url="http://127.0.0.1:1/v1",
        model=f"model-{number}",
        family=("claude", "gpt")[number % 2],
        formats=("chat", "messages"),
        facts=Facts(
            geographies=("us-east-1",) if number % TIER == 1 else ("eu-central-1", "eu-west-1"),
            retention_days=0,
            human_review=False,
            training=False,
            agreements=ACCEPTED if number % 2 else (),
            local=number % TIER == 3,
        ),
        context_window=100_000 + number * 1_000,
        capabilities=("tools", "images", "reasoning", "schema"),
        price=Price(
            per_mtok={"input": each, "cache_read": each // 10, "cache_write": each * 5 // 4, "output": each * 5},
            source="override",
        ),
    )


def when(number: int, asks: str = "") -> When:
    """What rule `number` asks: one of the things that rules ask, in turn, or `asks` alone."""
    match asks or ("tenant", "labels", "mode", "model", "size")[number % 5]:
        case "tenant":
            return When(tenant=(f"tenant-{number}",), tools=True)
        case "labels":
            return When(labels={"team": f"team-{number}"}, stream=True)
        case "mode":
            return When(mode=(f"mode-{number}", f"way-{number}"), images=False)
        case "pattern":
            return When(model=(f"family-{number}-*",))
        case "model":
            return When(model=(f"gpt-{number}", f"claude-{number}-*"))
        case _:
            return When(input_tokens_min=200_000 + number * 100, input_tokens_max=200_099 + number * 100)


def policy(asks: str = "", *, spread: bool = False) -> Policy:
    """`spread`: the deployments of a tier are equals, among which conversations are spread."""
    places = {made.name: made for made in map(deployment, range(DEPLOYMENTS))}
    names = list(places)
    members = {f"t{at // TIER}": tuple(names[at : at + TIER]) for at in range(0, DEPLOYMENTS, TIER)}
    members["all"] = tuple(names)
    tiers = {
        name: Tier(name=name, deployments=tier, spread=(dict.fromkeys(tier, 1),) if spread else ())
        for name, tier in members.items()
    }
    small = DEPLOYMENTS // TIER
    rules = [
        Rule(name=f"r{n}", when=when(n, asks), tier=f"t{n % small}", switch="saving", cache=Caching(ttl_s=60))
        for n in range(RULES)
    ]
    return Policy(
        version="sha256:0123456789abcdef",
        deployments=places,
        tiers=tiers,
        rules=tuple(rules),
        profiles={
            "company": Profile(name="company", geographies=("eu", "us"), retention_days_max=30, training=False),
            "by-source": Profile(name="by-source", sources={"us": ("us",), "*": ("source", "eu")}),
            "careful": Profile(name="careful", geographies=("eu",), human_review=False, sensitive="local"),
        },
        default_tier="t0",
        boundary="company",
    )


def call(made: Policy, rule: int | None, **more: object) -> Signals:
    """One that this rule is the first to match; None: no rule."""
    base = Signals(
        format="chat",
        model="auto",
        tenant="acme",
        principal="dev",
        mode="edit",
        session="s",
        conversation=f"{0:024x}",
        source="eu-central-1",
        labels={"team": "core", "env": "prod"},
        stream=True,
        tools=True,
        input_tokens=400,
        output_tokens_max=1024,
    )
    asked = When() if rule is None else made.rules[rule].when
    named = {
        "tenant": asked.tenant and asked.tenant[0],
        "labels": asked.labels,
        "mode": asked.mode and asked.mode[-1],
        "model": asked.model and asked.model[-1].replace("*", "x"),
        "input_tokens": asked.input_tokens_min,
    }
    signals = msgspec.structs.replace(base, **{name: value for name, value in named.items() if value is not None})
    route = decide(signals, made, (), {})
    assert route.rule == ("default" if rule is None else made.rules[rule].name)
    return msgspec.structs.replace(signals, **more)


def decisions() -> Iterator[tuple[str, Work]]:
    """`decide` itself: nothing is remembered."""
    last = RULES - 1
    mixed = policy()
    for name, rule in (("the first", 0), ("the middle", RULES // 2), ("the last", last), ("no", None)):
        yield f"decide: {name} rule matches", partial(decided, call(mixed, rule), mixed)
    for asks in ("tenant", "labels", "mode", "pattern", "size"):
        alike = policy(asks)
        yield f"decide: all rules ask {asks}, the last matches", partial(decided, call(alike, last), alike)
    equals = policy(spread=True)
    yield "decide: a spread tier", partial(decided, call(equals, last), equals)
    yield EVERYBODY, partial(decided, call(mixed, None, model="all"), mixed)


def decided(signals: Signals, made: Policy) -> object:
    """With three boundaries in force."""
    return decide(signals, made, BOUNDARIES, {}, accepted=ACCEPTED)


def routes() -> Iterator[tuple[str, Work]]:
    """The same, as the gateway does it."""
    last = RULES - 1
    for name, made in (("", policy()), (", spread", policy(spread=True))):
        router, same = Router(made, {}), call(made, last)
        yield f"route: remembered{name}", partial(router.route, same, BOUNDARIES, ACCEPTED)
        others = [msgspec.structs.replace(same, conversation=f"{n:024x}") for n in range(CONVERSATIONS)]
        yield f"route: {CONVERSATIONS:,} conversations{name}", in_turn(router, others)
        yield f"route: a conversation never seen{name}", partial(routed_new, Router(made, {}), same, count())
    yield "route: kept where it is, reckoned", kept_work()


def in_turn(router: Router, calls: list[Signals]) -> Work:
    """One of the calls after the other."""
    numbers = count()
    return lambda: router.route(calls[next(numbers) % len(calls)], BOUNDARIES, ACCEPTED)


def routed_new(router: Router, signals: Signals, numbers: Iterator[int]) -> object:
    """What makes the signals is measured with it: 0.3 µs."""
    fresh = msgspec.structs.replace(signals, conversation=f"{next(numbers):024x}")
    return router.route(fresh, BOUNDARIES, ACCEPTED)


def kept_work() -> Work:
    """A conversation that another deployment of the tier holds, warm, and that stays."""
    made = policy()
    router, signals = Router(made, {}), call(made, RULES - 1)
    routed = router.route(signals, BOUNDARIES, ACCEPTED)
    other = made.deployments[routed.ranked[-1]]
    held = Held(other.name, other.family, 0, 200_000, 500, NOW_S - 10)
    kept = router.kept(routed, signals, held, NOW_S, ACCEPTED)
    assert kept.route.affinity is not None and kept.route.affinity.stay_nanousd is not None
    return partial(router.kept, routed, signals, held, NOW_S, ACCEPTED)


def conversations() -> Iterator[tuple[str, Work]]:
    """On the page, of 4,096 of them."""
    page = Conversations()
    page.know(["d000", "claude"])
    keys = [conversation_key("acme", "s", f"{n:024x}") for n in range(CONVERSATIONS)]
    held = Held("d000", "claude", 0, 5_000, 300, NOW_S)
    for key in keys:
        page.keep(key, held)
    finds, keeps = count(), count()
    yield "conversation: its key", partial(conversation_key, "acme", "s", f"{1:024x}")
    yield "conversation: found", lambda: page.find(keys[next(finds) % CONVERSATIONS])
    yield "conversation: kept", lambda: page.keep(keys[next(keeps) % CONVERSATIONS], held)


def texts() -> Iterator[tuple[str, Work]]:
    """What reads the request: its opening, and what is sensitive in it."""
    prose, scanner = sources()["prose"], Scanner(policy())
    for name, size in (("1.5 KB", 1_500), ("200 KB", 200_000)):
        yield f"opening: {name}", partial(opening, "chat", chat(prose[:size]))
        single = {"model": "auto", "messages": [{"role": "user", "content": prose[:size]}]}
        yield f"opening: {name} in one message", partial(opening, "chat", single)
    for name, text in (("1.5 KB", prose[:1_500]), ("20 KB", prose[:20_000]), ("200 KB", prose), ("2 MB", prose * 10)):
        yield f"scan: {name}", partial(scanner.scan, chat(text))


def on_loop_us(rounds: int) -> float:
    """CPU µs that a scan of 200 KB on another thread takes from the loop's."""
    scanner, document = Scanner(policy()), chat(sources()["prose"])

    async def spent() -> list[float]:
        found = []
        for _ in range(rounds):
            begun = time.thread_time_ns()
            await scanner.scan_aside(document)
            found.append((time.thread_time_ns() - begun) / 1e3)
        return found

    return median(asyncio.run(spent()))


def measure(works: Mapping[str, Work], turns: int, turn_s: float) -> dict[str, float]:
    """CPU µs a call of each, the median of its turns."""
    calls = {}
    for name, work in works.items():
        work()
        begun = time.process_time_ns()
        work()
        calls[name] = max(1, int(turn_s * 1e9 / max(time.process_time_ns() - begun, 1_000)))
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(turns):
        for name, work in works.items():
            begun = time.process_time_ns()
            for _ in range(calls[name]):
                work()
            spent[name].append((time.process_time_ns() - begun) / calls[name] / 1e3)
    return {name: median(found) for name, found in spent.items()}


def promises(spent: Mapping[str, float]) -> list[Promise]:
    """The targets."""
    worst = max(us for name, us in spent.items() if name.startswith(("decide:", "route:")) and name != EVERYBODY)
    times_ten = spent["scan: 2 MB"] / spent["scan: 200 KB"]
    return [
        Promise(what="CPU µs of a decision, the slowest of all", value=worst, limit=DECISION_US_MAX),
        Promise(what="CPU µs of a scan of 1.5 KB", value=spent["scan: 1.5 KB"], limit=SCAN_US_MAX),
        Promise(what="CPU µs of a scan of 200 KB", value=spent["scan: 200 KB"], limit=LONG_SCAN_US_MAX),
        Promise(what="a scan of 2 MB, in scans of 200 KB", value=times_ten, limit=LINEAR_MAX),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.policy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short turn each: to try it, not to quote")
    quick = parser.parse_args(arguments).quick
    turns, turn_s = (1, 0.0) if quick else (15, 0.05)
    spent = measure(dict([*decisions(), *routes(), *conversations(), *texts()]), turns, turn_s)
    print("| | CPU µs |\n| --- | ---: |")
    for name, us in spent.items():
        print(f"| {name} | {us:,.2f} |")
    print(f"| scan: 200 KB, of it on the loop | {on_loop_us(1 if quick else 50):,.2f} |")
    targets = promises(spent)
    print(f"\n{verdicts(targets)}")
    return 0 if quick or all(target.met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
