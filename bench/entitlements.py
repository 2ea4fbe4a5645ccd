"""What plans add to a call: CPU of claim, reserve and settle with them, beside none; and what a change costs a worker.
Prepaid accounts are looked at, too, as in a server; there are none.

python -m bench.entitlements
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from bench.credits import QUOTAS, ROUNDS
from interlock.clock import SystemClock
from interlock.credits import SharedAccounts
from interlock.entitlements import Entitling, SharedPlans, Standing
from interlock.identity import ENTITLEMENTS, Generation
from interlock.limits import Actual, Claim, Held, Limit, Limiter, Page
from interlock.log.sqlite import SqliteLog
from interlock.rating import EntitledLimit, Entitlements

MODELS = Entitlements(models=("small-*", "claude-haiku-4-5"))
METERED = Entitlements(
    models=MODELS.models,
    limits=(
        EntitledLimit(name="tokens", measure="tokens", amount=Fraction(1 << 60), window="month"),
        EntitledLimit(name="requests", measure="requests", amount=Fraction(1 << 60), window="minute"),
    ),
)


def standing(tenant: str, entitlements: Entitlements | None, n: int = 0) -> Standing:
    return Standing(tenant=tenant, since_ns=n, plan="gold", version=1, entitlements=entitlements)


def cpu_ns(limiters: dict[str, Limiter], calls: int) -> dict[str, int]:
    """Of one call of each, the least of some rounds, in turn: a shared machine only adds to it."""
    found: dict[str, list[int]] = {name: [] for name in limiters}
    for _ in range(ROUNDS):
        for name, limiter in limiters.items():
            begun_ns = time.process_time_ns()
            for _ in range(calls):
                claim = Claim(id="req_1/1", key="key_1", tenant="acme", principal="p", model="small-1", nanousd=1_000)
                held = limiter.reserve(claim)
                assert isinstance(held, Held)
                limiter.settle(held, Actual(input_tokens=1, output_tokens=1, nanousd=500))
            found[name].append((time.process_time_ns() - begun_ns) // calls)
    return {name: min(figures) for name, figures in found.items()}


class Plans:
    """A log of its own, in which tenants have plans."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.wanted: list[Standing] = []
        self.log, self.generation = SqliteLog(directory / "log.sqlite"), Generation(directory)

    async def put(self, *wanted: Standing) -> None:
        """Have that on record, and told."""
        self.wanted += wanted

        async def every(tenant: str) -> Sequence[Standing]:
            return self.wanted

        raised = self.generation.raise_to
        await Entitling(self.log, SystemClock(), every, lambda head: raised(ENTITLEMENTS, head)).follow()

    def worker(self) -> SharedPlans:
        """What a worker knows of them."""
        return SharedPlans(self.log, self.generation)


async def measure(directory: Path, calls: int, tenants: int) -> None:
    """Print a line for each figure."""
    worlds = {
        "plans not looked at": None,
        "no tenant has one": (),
        "only others have one": (standing("other", METERED),),
        "models": (standing("acme", MODELS),),
        "models and two limits": (standing("acme", METERED),),
    }
    shared: dict[str, Plans | None] = {}
    accounts = Plans(directory / "accounts")
    for n, (name, wanted) in enumerate(worlds.items()):
        made = shared[name] = None if wanted is None else Plans(directory / str(n))
        if made is not None:
            await made.put(*(wanted or ()))
    quotas: dict[str, Sequence[Limit]] = {"no limits": (), "two limits": QUOTAS}
    for title, limits in quotas.items():
        limiters = {}
        for n, (name, plans) in enumerate(shared.items()):
            place = directory / f"{title}{n}"
            Page.create(place, slots=1)
            limiters[name] = Limiter(Page(place), 0, SystemClock(), limits)
            limiters[name].funds = SharedAccounts(accounts.log, accounts.generation)
            limiters[name].plans = plans.worker() if plans is not None else None
        for name, figure in cpu_ns(limiters, calls).items():
            print(f"{title}, {name}: {figure} ns of CPU a call")
    many = Plans(directory / "many")
    await many.put(*(standing(f"t{n}", METERED) for n in range(tenants)))
    Page.create(directory / "page", slots=1)
    limiter = Limiter(Page(directory / "page"), 0, SystemClock(), QUOTAS)
    limiter.plans = many.worker()
    for what in (f"a worker's first look at {tenants} tenants", "its look at one change"):
        begun_ns = time.perf_counter_ns()
        limiter.entitled("t0")
        print(f"{what}: {(time.perf_counter_ns() - begun_ns) // 1000} us")
        await many.put(standing("t0", MODELS, n=1))


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--tenants", type=int, default=3_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(Path(directory), options.calls, options.tenants))


if __name__ == "__main__":
    main()
