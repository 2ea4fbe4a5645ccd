"""The book: what an attempt's tokens are, what they cost, and the entry that says so. Pure.

It does not know where records come from, nor when: the view folds them and keeps the time. It never looks a price
up: the caller hands it the one that the policy of the attempt held.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

import msgspec

from interlock.ledger.event import REQUESTS, Adjusted, Opened, Outcome, Settled, Source
from interlock.ledger.pricing import KINDS, PARENTS, Price
from interlock.units import INT64_MAX, TOKENS_PER_PRICE, amount_nanousd, divide_half_even

QUANTITY_MAX = 10**12
"""A figure past this is a broken one (a million times the longest context); sums of it still fit int64 nine million
times over."""

Unpriced = Literal["", "policy_unknown", "deployment_unknown", "no_price", "kind_unpriced", "out_of_range"]
"""Why there is no amount. policy_unknown: the policy's record has not been folded. deployment_unknown: that policy
does not hold the deployment. no_price: the deployment has none. kind_unpriced: a kind that was used has none, nor has
its parent (the line shows which). out_of_range: the amount does not fit int64."""

State = Literal["open", "settled", "adjusting"]
"""adjusting: no attempt, but a part of what a provider's bill says beyond or below what was metered."""

HIT = "cache_hit"
"""The kind of an answer given again."""
PPM = 1_000_000

_TOTALS = {
    "input": ("input",),
    "cache_read": ("input", "cache_read"),
    "cache_write": ("input", "cache_write"),
    "cache_write_5m": ("input", "cache_write"),
    "cache_write_1h": ("input", "cache_write"),
    "audio_input": ("input",),
    "output": ("output",),
    "reasoning": ("output", "reasoning"),
    "audio_output": ("output",),
}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One kind's share of an amount."""

    kind: str
    quantity: int
    """Exclusive: what is not counted in another line."""
    priced_as: str
    """The kind whose price applies: its own, else its parent's; empty: none."""
    price_nanousd_per_mtok: int | None
    numerator: int | None
    """quantity × price; the amount is the sum of these divided once by a million, half to even."""


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt cost, and how that was reckoned."""

    amount_nanousd: int | None
    """None: unpriced, which is never 0."""
    unpriced: Unpriced = ""
    lines: tuple[Line, ...] = ()
    above_input_tokens: int | None = None
    """Threshold of the long-context step that applied, if one did."""
    price_source: str = ""


OPEN = Amount(amount_nanousd=None)
"""An open attempt has no amount yet, and is not unpriced either."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt in the book. While it is open, `outcome` and `source` are empty and nothing is counted."""

    request_id: str
    attempt: int
    state: State
    tenant: str
    principal: str
    key_id: str
    session: str
    mode: str
    tier: str
    deployment: str
    provider: str
    model: str
    policy: str
    outcome: Outcome | Literal[""]
    source: Source | Literal[""]
    rule: str
    usage: dict[str, int]
    """As it was settled."""
    avoided: dict[str, int]
    """Of an answer given again: what it took to make it."""
    inconsistent: bool
    """The figures contradict each other or are out of range: see `partition`."""
    amount: Amount
    team: str = ""
    task: str = ""
    tool: str = ""


def partition(usage: Mapping[str, int]) -> dict[str, int]:
    """Exclusive quantities: each token in one kind only, in the order of KINDS, other kinds after them by name.

    `usage` counts kinds within their parents (`PARENTS`). A parent keeps what its kinds leave over, at least 0: where
    the kinds exceed their parent they are believed, since a provider's itemised figure is the one it bills. Figures are
    clamped to 0..QUANTITY_MAX. Kinds of quantity 0 are left out. `consistent` says whether any of this was needed.

    >>> partition({"input": 10, "cache_read": 7, "output": 2})
    {'input': 3, 'cache_read': 7, 'output': 2}
    """
    counts = {kind: n if 0 <= n <= QUANTITY_MAX else _clamped(n) for kind, n in usage.items()}
    for parent, inside in _inside(counts).items():
        counts[parent] = max(counts.get(parent, 0) - inside, 0)
    return {kind: counts[kind] for kind in _ordered(tuple(counts)) if counts[kind]}


def consistent(usage: Mapping[str, int]) -> bool:
    """Whether all figures are in range and no parent is less than the kinds within it."""
    if not usage:
        return True
    in_range = min(usage.values()) >= 0 and max(usage.values()) <= QUANTITY_MAX
    return in_range and all(inside <= usage.get(parent, 0) for parent, inside in _inside(usage).items())


def totals(lines: Iterable[Line]) -> dict[str, int]:
    """What an amount's lines come to in reports: `input` and `output` whole again, `cache_write` of every lifetime."""
    return _totals((line.kind, line.quantity) for line in lines)


def entry_totals(entry: Entry) -> dict[str, int]:
    """The same of an entry."""
    return _totals(entry.usage.items()) if entry.state == "adjusting" else totals(entry.amount.lines)


def _totals(quantities: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums = {"input": 0, "cache_read": 0, "cache_write": 0, "output": 0, "reasoning": 0}
    for kind, quantity in quantities:
        for name in _TOTALS.get(kind, ()):
            sums[name] += quantity
    return sums


def price(usage: Mapping[str, int], price: Price | None, *, missing: Unpriced = "no_price") -> Amount:
    """What `usage` costs at `price`: one division, half to even.

    Unpriced (`amount_nanousd` None, never 0) if there is no price, for the reason `missing`, or if a kind that was used
    has none.
    """
    quantities = partition(usage)
    if price is None:
        return Amount(amount_nanousd=None, unpriced=missing, lines=_lines(quantities, {}))
    per_mtok, threshold = _step(price, quantities)
    lines = _lines(quantities, per_mtok)
    amount = amount_nanousd((line.quantity, line.price_nanousd_per_mtok or 0) for line in lines)
    why: Unpriced = ""
    if any(line.price_nanousd_per_mtok is None for line in lines):
        why = "kind_unpriced"
    elif not 0 <= amount <= INT64_MAX:
        why = "out_of_range"
    return Amount(
        amount_nanousd=None if why else amount,
        unpriced=why,
        lines=lines,
        above_input_tokens=threshold,
        price_source=price.source,
    )


def amount(usage: Mapping[str, int], prices: Price | None) -> int | None:
    """The `amount_nanousd` of `price`, without the lines that explain it: for who prices millions of them.

    >>> amount({"input": 10, "cache_read": 7, "output": 2}, Price(per_mtok={"input": 1_000_000, "output": 5_000_000}))
    20
    """
    if prices is None:
        return None
    per_mtok = prices.per_mtok
    if prices.above:
        per_mtok, _ = _step(prices, partition(usage))
    rest = {"input": usage.get("input", 0), "output": usage.get("output", 0)}
    total = 0
    for kind, quantity in usage.items():
        if not 0 <= quantity <= QUANTITY_MAX:
            return price(usage, prices).amount_nanousd
        parent = PARENTS.get(kind, "")
        if kind not in rest and quantity:
            each = per_mtok.get(kind, per_mtok.get(parent))
            if each is None:
                return None
            total += quantity * each
            if parent:
                rest[parent] -= quantity
    for kind, quantity in rest.items():
        if quantity > 0:
            if kind not in per_mtok:
                return None
            total += quantity * per_mtok[kind]
    nanousd = divide_half_even(total, TOKENS_PER_PRICE)
    return nanousd if 0 <= nanousd <= INT64_MAX else None


def hit_price(
    hit_nanousd: int, hit_ppm: int, avoided: Mapping[str, int], price_of_call: Price | None, source: str
) -> tuple[Price | None, Unpriced]:
    """The price of one answer given again, and the reason if there is none: what is set, or a share (in millionths) of
    what it would cost now to make it, which is then rounded as an entry is.
    """
    each = hit_nanousd
    if hit_ppm:
        whole = price(avoided, price_of_call)
        if whole.amount_nanousd is None:
            return None, whole.unpriced
        each = divide_half_even(whole.amount_nanousd * hit_ppm, PPM)
    return Price(per_mtok={HIT: each * TOKENS_PER_PRICE}, source=source), "no_price"


def entry(opened: Opened, settled: Settled | None, prices: Price | None, *, missing: Unpriced = "no_price") -> Entry:
    """The entry of an attempt: both records are of the same one. `missing` says why `prices` is None."""
    usage = settled.usage if settled else {}
    return Entry(
        request_id=opened.request_id,
        attempt=opened.attempt,
        state="settled" if settled else "open",
        tenant=opened.tenant,
        principal=opened.principal,
        key_id=opened.key_id,
        session=opened.session,
        mode=opened.mode,
        tier=opened.tier,
        deployment=opened.deployment,
        provider=opened.provider,
        model=opened.model,
        policy=opened.policy,
        outcome=settled.outcome if settled else "",
        source=settled.source if settled else "",
        rule=settled.rule if settled else "",
        usage=usage,
        avoided=settled.avoided if settled else {},
        inconsistent=not consistent(usage),
        amount=price(usage, prices, missing=missing) if settled else OPEN,
        team=opened.team,
        task=opened.task,
        tool=opened.tool,
    )


def adjusting_entry(event: Adjusted) -> Entry:
    """The entry of an adjustment that is one of its own. Its quantities are differences, and no lines explain it."""
    return Entry(
        request_id=event.request_id,
        attempt=event.attempt,
        state="adjusting",
        tenant=event.tenant,
        principal=event.principal,
        key_id="",
        session=event.session,
        team=event.team,
        mode="",
        tier="",
        deployment=event.deployment,
        provider=event.provider,
        model=event.model,
        policy="",
        outcome="",
        source="billed",
        rule=event.reason,
        usage=event.usage,
        avoided={},
        inconsistent=False,
        amount=Amount(
            amount_nanousd=event.amount_nanousd,
            unpriced="no_price" if event.amount_nanousd is None and REQUESTS not in event.usage else "",
        ),
    )


@lru_cache(1024)  # records come in a handful of shapes
def _ordered(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """In the order of KINDS, others after them by name."""
    return tuple(sorted(kinds, key=lambda kind: (KINDS.index(kind) if kind in KINDS else len(KINDS), kind)))


def _clamped(count: int) -> int:
    return min(max(count, 0), QUANTITY_MAX)


def _inside(usage: Mapping[str, int]) -> dict[str, int]:
    """How much of each parent its kinds say they are."""
    inside: dict[str, int] = {}
    for kind, count in usage.items():
        if parent := PARENTS.get(kind):
            inside[parent] = inside.get(parent, 0) + count
    return inside


def _step(price: Price, quantities: Mapping[str, int]) -> tuple[dict[str, int], int | None]:
    """The prices for a call with that much input, and the threshold they begin above."""
    if not price.above:
        return price.per_mtok, None
    return rates(price, sum(count for kind, count in quantities.items() if PARENTS.get(kind, kind) == "input"))


def rates(price: Price, input_tokens: int) -> tuple[dict[str, int], int | None]:
    """The prices for a call with `input_tokens` of input in all, and the threshold they begin above."""
    for step in reversed(price.above):
        if input_tokens > step.input_tokens:
            return step.per_mtok, step.input_tokens
    return price.per_mtok, None


def _lines(quantities: Mapping[str, int], per_mtok: Mapping[str, int]) -> tuple[Line, ...]:
    return tuple(_line(kind, quantity, per_mtok) for kind, quantity in quantities.items())


def _line(kind: str, quantity: int, per_mtok: Mapping[str, int]) -> Line:
    priced_as = kind if kind in per_mtok else PARENTS.get(kind, "")
    each = per_mtok.get(priced_as)
    return Line(
        kind=kind,
        quantity=quantity,
        priced_as="" if each is None else priced_as,
        price_nanousd_per_mtok=each,
        numerator=None if each is None else quantity * each,
    )
