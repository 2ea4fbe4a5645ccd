"""A month in small: calls that were made, what was metered of them, and what the provider's bill says.

The truth is a list of calls. The log is made of it as gateways write it; a bill is made of it in each provider's own
shape. Between the two, differences are planted, each in a place of its own, with what has to be found there.
"""

import random
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
from tests.ledger.logs import RepeatingLog, adopted, opened, record, run, settled

from interlock.ledger import Ledger, Price, lost
from interlock.log.sqlite import SqliteLog
from interlock.reconciling import Report, Statement, Window, book, compare
from interlock.reconciling.dividing import Whose
from interlock.reconciling.figures import decimal_text
from interlock.reconciling.moments import moment_ns
from interlock.reconciling.service import Booked
from interlock.testing.clock import ManualClock

DAY_S = 86_400
DAY_NS = DAY_S * 10**9
FIRST_S = 1_788_220_800
"""2026-09-01."""
DAYS = 4
CALLS = 48


@dataclass(frozen=True)
class Model:
    """A model at a provider."""

    deployment: str
    asked: str
    answered: str
    billed: str
    price: Price


def _price(**kinds: int) -> Price:
    """Given in nano-dollars a thousand tokens: none is a whole number of them a token, so that entries round."""
    return Price(per_mtok={kind: nano * 10**3 for kind, nano in kinds.items()}, source="override")


_MINI = _price(input=150_001, cache_read=37_503, output=600_007)
_BIG = _price(input=2_500_003, cache_read=1_250_009, output=10_000_001)
OPENAI = (
    Model("mini", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18", _MINI),
    Model("big", "gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06", _BIG),
)
_SONNET = _price(
    input=3_000_007, cache_read=300_001, cache_write_5m=3_750_003, cache_write_1h=6_000_009, output=15_000_001
)
_HAIKU = _price(
    input=1_000_003, cache_read=100_007, cache_write_5m=1_250_001, cache_write_1h=2_000_009, output=5_000_003
)
ANTHROPIC = (
    Model("sonnet", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929", _SONNET),
    Model("haiku", "claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-4-5-20251001", _HAIKU),
)
BEDROCK = (
    Model("sonnet", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "", "Claude4.5Sonnet", _SONNET),
    Model("haiku", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "", "Claude4.5Haiku", _HAIKU),
)


@dataclass(frozen=True)
class Call:
    """One call as it was."""

    number: int
    at_s: int
    model: Model
    tenant: str
    usage: dict[str, int]
    """Inclusive, as settled."""
    metered: str = "reported"
    """How it was metered: reported, lost, estimated, counted, or not: by another program."""
    billed: bool = True

    @property
    def day(self) -> int:
        return (self.at_s - FIRST_S) // DAY_S

    @property
    def exclusive(self) -> dict[str, int]:
        """By kind, each token once; reasoning is output."""
        inside = {kind: n for kind, n in self.usage.items() if kind.startswith("cache_")}
        found = {"input": self.usage["input"] - sum(inside.values()), **inside, "output": self.usage["output"]}
        return {kind: n for kind, n in found.items() if n}


@dataclass
class World:
    """The truth of one provider's month, and how the bill strays from it."""

    provider: str
    models: tuple[Model, ...]
    calls: list[Call]
    rates: dict[tuple[int, str, str], Fraction] = field(default_factory=dict)
    """Prices of the bill that are not those on record: (day, model, kind) to a factor."""
    moved: dict[tuple[int, str], int] = field(default_factory=dict)
    """Tokens that the bill counts as plain input and we as cached: (day, model)."""
    others: list[tuple[str, Decimal, str]] = field(default_factory=list)
    """Rows of other categories: category, amount, currency."""
    again: list[tuple[int, str]] = field(default_factory=list)
    """(day, model) whose first row stands twice."""
    places: int | None = None
    """To which the bill rounds amounts; None: not at all."""

    def rows(self) -> list["Billed"]:
        """What the bill counts, by day, model and project (ours are the tenants, but that no bill says)."""
        sums: dict[tuple[int, str, str], Billed] = {}
        for call in self.calls:
            if call.billed:
                key = (call.day, call.model.billed, call.tenant)
                row = sums.setdefault(key, Billed(call.day, call.model, call.tenant))
                row.calls += 1
                for kind, quantity in call.exclusive.items():
                    row.kinds[kind] = row.kinds.get(kind, 0) + quantity
        rows = [sums[key] for key in sorted(sums)]
        for (day, name), tokens in self.moved.items():
            row = next(row for row in rows if (row.day, row.model.billed) == (day, name))
            row.kinds["cache_read"] -= tokens
            row.kinds["input"] += tokens
        return rows

    def repeated(self, rows: list["Billed"]) -> list["Billed"]:
        """The first row of each day and model that stands twice."""
        return [next(row for row in rows if (row.day, row.model.billed) == place) for place in self.again]

    def amount(self, row: "Billed", kind: str) -> Fraction:
        """Dollars, as the bill has them."""
        factor = self.rates.get((row.day, row.model.billed, kind), Fraction(1))
        exact = row.kinds[kind] * Fraction(row.model.price.per_mtok[kind], 10**15) * factor
        if self.places is None:
            return exact
        scaled = exact * 10**self.places
        return Fraction((2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator), 10**self.places)


@dataclass
class Billed:
    """What a bill counts of one day, model and project."""

    day: int
    model: Model
    project: str
    kinds: dict[str, int] = field(default_factory=dict)
    """Exclusive."""
    calls: int = 0


def world(provider: str, models: tuple[Model, ...], seed: int, places: int | None = None) -> World:
    """Random calls; each model has several on each day."""
    chance = random.Random(seed)
    made = []
    for number in range(CALLS):
        day, model = divmod(number, len(models))
        kinds = [kind for kind in models[0].price.per_mtok if kind.startswith("cache_write")]
        writes = {kind: chance.randrange(1, 400) for kind in kinds}
        inside = {"cache_read": chance.randrange(1, 900), **writes}
        usage = {
            "input": sum(inside.values()) + chance.randrange(1, 5_000),
            **inside,
            "output": chance.randrange(50, 2_000),
        }
        usage["reasoning"] = usage["output"] // 3
        at_s = FIRST_S + day % DAYS * DAY_S + chance.randrange(DAY_S)
        made.append(Call(number, at_s, models[model], chance.choice(("acme", "beta", "gamma")), usage))
    return World(provider, models, made, places=places)


# what is planted


Found = dict[tuple[int, str], str]
"""(day, model) to the class that has to be found there."""


def plant(one: World, chance: random.Random, kinds: Iterable[str]) -> Found:
    """Plant these, each where nothing else is; what has to be found."""
    free = sorted({(call.day, call.model.billed) for call in one.calls})
    chance.shuffle(free)
    found: Found = {}
    for kind in kinds:
        place = free.pop()
        found[place] = _PLANTS[kind](one, chance, *place)
    return found


def _first(one: World, day: int, name: str) -> int:
    return next(i for i, call in enumerate(one.calls) if (call.day, call.model.billed) == (day, name))


def _lost(one: World, chance: random.Random, day: int, name: str) -> str:
    i = _first(one, day, name)
    one.calls[i] = replace(one.calls[i], metered="lost")
    return "lost"


def _estimated(one: World, chance: random.Random, day: int, name: str) -> str:
    i = _first(one, day, name)
    one.calls[i] = replace(one.calls[i], metered=chance.choice(("estimated", "counted")))
    return "estimated"


def _missing(one: World, chance: random.Random, day: int, name: str) -> str:
    i = _first(one, day, name)
    one.calls[i] = replace(one.calls[i], billed=False)
    return "quantity"


def _not_billed(one: World, chance: random.Random, day: int, name: str) -> str:
    for i, call in enumerate(one.calls):
        if (call.day, call.model.billed) == (day, name):
            one.calls[i] = replace(call, billed=False)
    return "not_billed"


def _extra(one: World, chance: random.Random, day: int, name: str) -> str:
    one.calls.append(replace(one.calls[_first(one, day, name)], number=1000 + len(one.calls), metered="not"))
    return "quantity"


def _not_metered(one: World, chance: random.Random, day: int, name: str) -> str:
    for i, call in enumerate(one.calls):
        if (call.day, call.model.billed) == (day, name):
            one.calls[i] = replace(call, metered="not")
    return "not_metered"


def _priced(one: World, chance: random.Random, day: int, name: str) -> str:
    one.rates[day, name, chance.choice(("input", "output"))] = Fraction(chance.choice((9, 11, 20)), 10)
    return "price"


def _split(one: World, chance: random.Random, day: int, name: str) -> str:
    one.moved[day, name] = 1
    return "cached_split"


def _twice(one: World, chance: random.Random, day: int, name: str) -> str:
    one.again.append((day, name))
    return "duplicate"


_PLANTS: dict[str, Callable[[World, random.Random, int, str], str]] = {
    "lost": _lost,
    "estimated": _estimated,
    "missing": _missing,
    "not_billed": _not_billed,
    "extra": _extra,
    "not_metered": _not_metered,
    "price": _priced,
    "cached_split": _split,
    "duplicate": _twice,
}
PLANTS = tuple(_PLANTS)


# the log and the view


class Stand:
    """A ledger of a world, and the log that adjustments go to."""

    def __init__(self, one: World, place: Path) -> None:
        self.usage = RepeatingLog()
        for call in one.calls:
            if call.metered != "not":
                self.usage.put("usage/0", *_records(one, call))
        self.log = SqliteLog(place / "log.sqlite")
        self.ledger = Ledger(place / "ledger.sqlite")
        prices: dict[str, Price | None] = {model.deployment: model.price for model in one.models}
        run(self.log.append("config", [adopted("sha256:1", prices)]))
        self.clock = ManualClock((FIRST_S + 40 * DAY_S) * 10**9)
        run(self.fold())

    async def fold(self) -> None:
        await self.ledger.catch_up(self.usage, self.log)

    def compare(self, statement: Statement, **window: int) -> Report:
        return compare(self.ledger, statement, Window(**window), now_ns=self.clock.now_ns())

    def book(self, statement: Statement) -> tuple[Report, Booked]:
        return run(book(self.ledger, self.log, self.clock, self.fold, statement))

    def nanousd(self, provider: str) -> int:
        """What the books say was used of a provider."""
        rows = self.ledger.usage(["provider"])
        return sum(row.amount_nanousd or 0 for row in rows if row.dimensions["provider"] == provider)

    def close(self) -> None:
        self.ledger.close()
        self.log.close()


def stand(one: World, place: Path) -> "closing[Stand]":
    """A stand that is closed after the block."""
    place.mkdir(parents=True, exist_ok=True)
    return closing(Stand(one, place))


def whose(call: Call) -> Whose:
    """Who made a call: one in nine says no team."""
    n = call.number
    return Whose(f"team-{n % 2}" if n % 9 else "", f"p{n % 3}", f"s{n % 7}" if n % 5 else "")


def _records(one: World, call: Call) -> tuple[Any, Any]:
    request_id = f"req_{call.number:032x}"
    begun = opened(
        request_id,
        tenant=call.tenant,
        deployment=call.model.deployment,
        provider=one.provider,
        model=call.model.asked,
        input_estimate=call.usage["input"] // 2 + 1,
        **whose(call)._asdict(),
    )
    if call.metered == "lost":
        ended = lost(begun)
    elif call.metered in ("estimated", "counted"):
        guess = {"input": call.usage["input"] + 7, "output": call.usage["output"] // 4}
        ended = settled(request_id, usage=guess, source=call.metered, rule="bytes/1", outcome="truncated")
    else:
        ended = settled(request_id, usage=call.usage, upstream_model=call.model.answered)
    at_ns = call.at_s * 10**9
    return record(begun, at_ns), record(ended, at_ns + 10**9)


# bills


def number(value: Fraction) -> Decimal:
    """Exact."""
    return Decimal(decimal_text(value))


def stamp(day: int) -> str:
    """A day's first moment as RFC 3339."""
    return f"2026-09-{day + 1:02d}T00:00:00Z"


assert moment_ns(stamp(0), "") == FIRST_S * 10**9


def write(path: Path, *documents: Any) -> Path:
    """JSON, one document or one a line; Decimals as they are written."""
    path.write_bytes(b"\n".join(msgspec.json.Encoder(decimal_format="number").encode(one) for one in documents))
    return path
