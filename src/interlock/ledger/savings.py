"""What the same tokens would have cost at a baseline's price. Exact, and honest about what it leaves out.

It compares prices, nothing else: it does not say that the baseline would have used as many tokens or done as well.
Each entry is priced at the baseline of the policy it was decided under, so new prices do not rewrite the past. An
answer given again is compared by what it took to make it: without the cache it would have been made again. What a
provider's bill adds beyond attempts has no baseline, and is left out.
"""

import sqlite3
from collections import Counter, defaultdict
from itertools import groupby
from operator import itemgetter

import msgspec

from interlock.errors import LocalError
from interlock.ledger import book
from interlock.ledger.pricing import Price
from interlock.ledger.report import Window, nearest
from interlock.ledger.standing import PriceBooks


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Both figures of the attempts that have both, and how many have not."""

    actual_nanousd: int
    baseline_nanousd: int
    saved_nanousd: int
    """baseline - actual; negative if the baseline would have been cheaper."""
    requests: int
    """Distinct ones with an attempt compared."""
    attempts: int
    """Compared. One without usage (the upstream never accepted it) compares as 0 with 0."""
    open: int
    """Left out: nothing is known yet."""
    unpriced: int
    """Left out: no actual amount."""
    baseline_unpriced: int
    """Left out: the baseline has no price, or none for a kind that was used."""
    no_baseline: int
    """Left out: the attempt's policy names no baseline, or does not hold the deployment named."""


class Baseline(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What was compared with."""

    name: str
    price_source: str
    """Where its price is from, as on entries; empty: a price that does not say."""


class TierSavings(Compared, frozen=True, kw_only=True):
    """Of one tier."""

    tier: str


class Savings(Compared, frozen=True, kw_only=True):
    """Of everything asked for."""

    baselines: tuple[Baseline, ...]
    """Compared with, sorted: more than one if the baseline or its price's source changed in between."""
    tiers: tuple[TierSavings, ...]
    """By name. A request with attempts in two tiers counts in both."""


def savings(db: sqlite3.Connection, window: Window, baseline: str | None) -> Savings:
    """Compare the window's entries with `baseline`, or (None) with the baseline of each entry's own policy.

    Raises: LocalError: a time out of range, or no policy ever adopted holds a deployment or baseline of that name.
    """
    prices = PriceBooks(db)
    if baseline is not None:
        _check_baseline(db, prices, baseline)
    where, parameters = window.where()
    rows = db.execute(
        "SELECT request_id, tier, state, policy, iif(source = 'cached', avoided, usage), amount_nanousd FROM entries "  # noqa: S608 - where has no values
        f"WHERE {where} AND state != 'adjusting' ORDER BY request_id",
        parameters,
    )
    total: Counter[str] = Counter()
    tiers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    baselines: set[Baseline] = set()
    for _, request in groupby(rows, key=itemgetter(0)):
        compared: set[str] = set()
        for _, tier, state, policy, usage, actual in request:
            name, price, missing = prices.baseline(policy, baseline)
            verdict, actual, other = _compare(state, price, missing, usage, actual)
            for sums in (total, tiers[tier]):
                sums[verdict] += 1
                sums["actual_nanousd"] += actual
                sums["baseline_nanousd"] += other
            if verdict == "attempts":
                compared.add(tier)
                if price:
                    baselines.add(Baseline(name=name, price_source=price.source))
        total["requests"] += bool(compared)
        for tier in compared:
            tiers[tier]["requests"] += 1
    return Savings(
        **_figures(total),
        baselines=tuple(sorted(baselines)),
        tiers=tuple(TierSavings(tier=tier, **_figures(tiers[tier])) for tier in sorted(tiers)),
    )


def _compare(
    state: str, price: Price | None, missing: book.Unpriced, usage: bytes, actual: int | None
) -> tuple[str, int, int]:
    """The field of Compared that counts one attempt, and both amounts, 0 if it is left out."""
    if state == "open":
        return "open", 0, 0
    other = book.price(msgspec.json.decode(usage, type=dict[str, int]), price, missing=missing)
    if not other.lines:
        return "attempts", 0, 0
    if actual is None:
        return "unpriced", 0, 0
    if other.amount_nanousd is not None:
        return "attempts", actual, other.amount_nanousd
    return "no_baseline" if other.unpriced == "deployment_unknown" else "baseline_unpriced", 0, 0


def _figures(counted: Counter[str]) -> dict[str, int]:
    figures = {field: counted[field] for field in Compared.__struct_fields__}
    return figures | {"saved_nanousd": counted["baseline_nanousd"] - counted["actual_nanousd"]}


def _check_baseline(db: sqlite3.Connection, prices: PriceBooks, baseline: str) -> None:
    versions = [row[0] for row in db.execute("SELECT version FROM policies ORDER BY version")]
    books = [found for version in versions if (found := prices.get(version))]
    known = sorted({name for found in books for name in (*found.deployments, found.baseline) if name})
    if baseline not in known:
        raise LocalError(f"no deployment or baseline named {baseline!r}{nearest(baseline, known)}", field="baseline")
