"""Accounts without a gateway: a real log and shared page, a clock that is moved, calls in a list, one worker's page."""

import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from interlock.credits import Credits, Owner, Reckoned, Reckoner, Resetting, SharedAccounts, Wanted, WantedReset
from interlock.credits.burning import State, Usage, run
from interlock.credits.records import Anchor
from interlock.errors import TransientError
from interlock.identity import CREDITS, Generation
from interlock.log.sqlite import SqliteLog
from interlock.testing.clock import ManualClock
from interlock.units import usd

S = 1_000_000_000
START_NS = 1_800_000_000 * S


class Call:
    """One attempt: held until it is settled."""

    def __init__(self, at_ns: int, owner: Owner, asked: int) -> None:
        self.at_ns, self.owner, self.asked = at_ns, owner, asked
        self.cost: int | None = None
        self.cached = False


class Calls:
    """What the ledger's view would say, read the slow way."""

    def __init__(self) -> None:
        self.all: list[Call] = []

    def burned(self, tenant: str, principal: str, since_ns: int, until_ns: int) -> tuple[int, int]:
        found = [
            one
            for one in self.all
            if one.owner.tenant == tenant
            and principal in ("", one.owner.principal)
            and since_ns <= one.at_ns < until_ns
            and one.cost is not None
        ]
        return sum(one.cost or 0 for one in found), sum(one.cost or 0 for one in found if not one.cached)

    def first_open_ns(self, tenant: str) -> int | None:
        return min((one.at_ns for one in self.all if one.owner.tenant == tenant and one.cost is None), default=None)

    def last_ns(self, tenant: str, principal: str, since_ns: int) -> int | None:
        mine = (one for one in self.all if one.owner.tenant == tenant and principal in ("", one.owner.principal))
        return max((one.at_ns for one in mine if one.at_ns >= since_ns), default=None)

    def callers(self, since_ns: int, columns: Sequence[str]) -> list[tuple[str, ...]]:
        assert list(columns) == ["tenant"]
        return list({(one.owner.tenant,) for one in self.all if one.at_ns >= since_ns})


class Rig:
    """One control process and one worker of account `acme`."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(START_NS)
        self.log = SqliteLog(directory / "log.sqlite")
        self.generation = Generation(directory)
        self.calls = Calls()
        self.reckoner = Reckoner(self.calls)
        self.credits = self.writer()
        self.accounts = SharedAccounts(self.log, self.generation)
        self.owner = Owner("acme")
        self.amount = 0
        self.used = 0
        self.held = 0

    def writer(self) -> Credits:
        """Another control process on the same log: it knows nothing that is not written there."""

        async def folded() -> None:
            """The list is always up to date."""

        self.reckoner = Reckoner(self.calls)
        raised = self.generation.raise_to
        return Credits(self.log, self.clock, self.reckoner, folded, lambda head: raised(CREDITS, head))

    def close(self) -> None:
        self.log.close()
        self.generation.close()

    def after(self, seconds: float) -> None:
        self.clock.advance(int(seconds * S))

    async def grant(self, amount: int, **more: Any) -> str:
        wanted = Wanted(tenant="acme", amount=usd(amount), **more)
        standing, _ = await self.credits.grant(wanted)
        return standing.granted.id

    async def reset(self, id: str, *, keep: bool = False, anchor: Anchor = "keep", **more: Any) -> Resetting:
        wanted = WantedReset(id=id, keep_overage=keep, anchor=anchor, **more)
        return (await self.credits.reset("acme", wanted))[0]

    # the worker

    def capacity(self) -> int:
        """As the worker knows it now."""
        changed = self.accounts.changed(self.clock.now_ns())
        assert changed is not None
        for limit in changed:
            self.amount = limit.amount
        return self.amount

    def admit(self, asked: int) -> Call | None:
        if self.used + self.held + asked > self.capacity():
            return None
        call = Call(self.clock.now_ns(), self.owner, asked)
        self.calls.all.append(call)
        self.held += asked
        return call

    def settle(self, call: Call, cost: int) -> None:
        call.cost = cost
        self.held -= call.asked
        self.used += cost

    async def reckoned(self) -> Reckoned:
        ((_, found),) = await self.credits.reckoned(self.owner)
        assert found is not None
        return found


async def simulate(rig: Rig, seed: int, steps: int = 120) -> None:
    """Grants of all kinds, calls, voids, time: what is owed never exceeds 0, and in the end all figures agree."""
    chance = random.Random(seed)
    running: list[Call] = []
    await rig.grant(50)
    rig.clock.advance(1)
    for step in range(steps):
        doing = chance.random()
        if doing < 0.08:
            more = chance.choice(
                (
                    {},
                    {"expires": "1m", "priority": 1},
                    {"expires": "2m"},
                    {"every": "day", "rollover_max": "0.000000007"},
                    {"every": "day", "expires": "3d", "priority": 2},
                    {"effective": "2027-02-01", "expires": "60d"},
                    {"rollover_max": "0.000000020"},
                    {"rollover_min": "0.000000010", "rollover_max": "0.000000010"},
                )
            )
            await rig.grant(chance.randint(1, 60), id=f"g{step}", **more)
        elif doing < 0.11 and rig.credits.book.grants:
            await rig.credits.void(chance.choice(list(rig.credits.book.grants)))
        elif doing < 0.14:
            with suppress(TransientError):  # a grant changes in that second
                await rig.reset(f"r{step}", keep=chance.random() < 0.5, anchor=chance.choice(("keep", "now")))
        elif doing < 0.5:
            call = rig.admit(chance.randint(1, 15))
            running += [call] if call else []
        elif doing < 0.75 and running:
            call = running.pop(chance.randrange(len(running)))
            rig.settle(call, chance.randint(0, call.asked))
        elif doing < 0.78:
            rig.credits = rig.writer()  # it was killed, and another begins
        else:
            seconds = chance.choice((0.05, 1, 20, 61, 3_600, 40_000, 86_400))
            while running and seconds >= 40_000:  # nobody waits for a call for longer than a day
                call = running.pop()
                rig.settle(call, chance.randint(0, call.asked))
            rig.after(seconds)
        if chance.random() < 0.7:
            await rig.credits.look()
        found = await rig.reckoned()
        assert found.state.balance >= 0, f"seed {seed}, step {step}: overspent"
    for call in running:
        rig.settle(call, call.asked)
    await agree(rig, seed)


async def agree(rig: Rig, seed: int) -> None:
    """When no call runs, the log, the worker, and one look at everything say the same."""
    rig.after(5)
    await rig.credits.look()
    found = await rig.reckoned()
    state = found.state
    assert found.cost == rig.used and rig.held == 0
    assert state.balance == max(rig.capacity(), 0) - rig.used, f"seed {seed}: the worker knows another balance"
    assert state.granted - state.forfeited + state.forgiven - found.cost == state.balance >= 0
    account = rig.credits.book.accounts[rig.owner]
    grants = [one.grant for one in account.of("usage")]
    usages = [Usage(call.at_ns, call.cost or 0) for call in rig.calls.all]
    undecided = [replace(one, forgiven=None) for one in account.resets_at()]
    anew = run(grants, State(at_ns=START_NS - 1), usages, rig.clock.now_ns(), resets=undecided)
    assert anew == state, f"seed {seed}: what was written on the way is not what one look at the end says"
