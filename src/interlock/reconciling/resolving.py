"""What has to be booked so that the books say what the bill says: figures of lost calls, entries for the rest. Pure.

First the calls whose figures nobody saw: the bill's quantity less what is sure is spread over them by their estimates.
Then, row by row, what still differs becomes adjusting entries, divided by cost among those who used the model then
(`dividing`); what nobody here used goes to the tenant UNATTRIBUTED.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from hashlib import sha256
from typing import NamedTuple

from interlock.identity import UNATTRIBUTED
from interlock.instants import rfc3339
from interlock.ledger import PARENTS, REQUESTS, Adjusted, Metered, price
from interlock.reconciling.books import Bucket, Sum
from interlock.reconciling.dividing import NOBODY, Group, Share, changed, most_of
from interlock.reconciling.figures import half_even
from interlock.reconciling.matching import Comparison
from interlock.reconciling.report import Plan, Row
from interlock.reconciling.sides import Key
from interlock.units import spread

NOT_BOOKED = frozenset(("duplicate", "currency"))
"""A row that stands twice is for the provider to explain, and what is not in USD is not compared."""


class Resolved(NamedTuple):
    """An attempt with the figures that the bill leaves for it."""

    entry: Metered
    usage: dict[str, int]
    """As a settlement has them: inclusive."""
    amount_nanousd: int | None


def plan(found: Comparison, statement: str, head: int) -> Plan:
    """What is to be booked; it changes the comparison's books, so ask once.

    Args:
        statement: id of the statement's record.
        head: of the stream of adjustments: part of the entries' ids, so that a later booking has others.
    """
    resolved = _resolve(found)
    before = sum(one.entry.amount_nanousd or 0 for one in resolved)
    changes = [_attempt(one, found, statement, head) for one in resolved]
    for one in resolved:
        found.sides.books.resolve(one.entry, one.usage, one.amount_nanousd)
    changes += _entries(found, statement, head)
    return Plan(
        changes=tuple(changes),
        attempts_nanousd=sum(one.amount_nanousd or 0 for one in resolved) - before,
    )


# the calls whose figures nobody saw


def _resolve(found: Comparison) -> list[Resolved]:
    """True figures for the calls of each bucket and model whose quantities differ because of them."""
    places: dict[tuple[Bucket, str], list[Row]] = {}
    for row in found.rows:
        if {"lost", "estimated"} & set(row.classes) and row.kind and row.theirs_quantity is not None:
            places.setdefault(((row.starts_ns, row.ends_ns), row.model), []).append(row)
    kinds: dict[tuple[Bucket, str], set[str]] = {}
    for bucket, model, kind in (*found.sides.theirs_quantities, *found.sides.ours_quantities):
        if kind not in ("", REQUESTS):
            kinds.setdefault((bucket, model), set()).add(kind)
    resolved: list[Resolved] = []
    for (bucket, model), rows in sorted(places.items()):
        unsure = found.unsure(bucket, model)
        if unsure and any(row.kind != REQUESTS for row in rows):
            resolved += _true_figures(found, bucket, model, unsure, sorted(kinds.get((bucket, model), ())))
    return resolved


def _true_figures(
    found: Comparison, bucket: Bucket, model: str, unsure: Sequence[Metered], kinds: Sequence[str]
) -> list[Resolved]:
    """The bill's quantity of each kind that is told less what is sure, over these attempts by their estimates.

    A kind that the export does not tell at all stays as it was estimated.
    """
    sides = found.sides
    estimates, used = [], []
    for entry in unsure:
        estimate, untold = _estimate(found, bucket, model, entry)
        estimates.append(estimate)
        used.append(untold)
    for kind in kinds:
        ours = sides.ours_quantities.get((bucket, model, kind), Sum())
        theirs = sides.theirs_quantities.get((bucket, model, kind))
        billed = theirs.quantity if theirs is not None and theirs.quantity is not None else Fraction(0)
        pool = max(half_even(billed) - (ours.quantity - ours.unsure), 0)
        weights = [estimate.get(kind, 0) for estimate in estimates]
        if not any(weights):
            weights = [sum(estimate.values()) for estimate in estimates]
        for usage, part in zip(used, spread(pool, weights), strict=True):
            if part:
                usage[kind] = part
    return [
        Resolved(entry, whole, price(whole, entry.price).amount_nanousd)
        for entry, usage in zip(unsure, used, strict=True)
        if (whole := _inclusive(usage)) != entry.usage
    ]


def _estimate(found: Comparison, bucket: Bucket, model: str, entry: Metered) -> tuple[dict[str, int], dict[str, int]]:
    """An attempt's exclusive quantities: by the kinds that the export tells apart, and those that it does not tell."""
    told: dict[str, int] = {}
    untold: dict[str, int] = {}
    for line in price(entry.usage, entry.price).lines:
        key = found.sides.quantities.key(bucket, model, line.kind)
        sums, kind = (told, key[2]) if key else (untold, line.kind)
        sums[kind] = sums.get(kind, 0) + line.quantity
    return told, untold


def _inclusive(exclusive: Mapping[str, int]) -> dict[str, int]:
    """Quantities as settlements have them: `input` with all that is cached, `output` with all that is reasoning."""
    usage = dict(exclusive)
    for kind, quantity in exclusive.items():
        if parent := PARENTS.get(kind):
            usage[parent] = usage.get(parent, 0) + quantity
    return usage


def _attempt(one: Resolved, found: Comparison, statement: str, head: int) -> Adjusted:
    bucket = found.sides.buckets.of(one.entry.at_ns)
    model = found.sides.names.theirs((one.entry.model, one.entry.upstream_model))
    return Adjusted(
        request_id=one.entry.request_id,
        attempt=one.entry.attempt,
        statement=statement,
        row=shown(bucket, model, ""),
        reason="lost" if one.entry.outcome == "lost" else "estimated",
        period_start_ns=bucket[0],
        period_end_ns=bucket[1],
        usage=one.usage,
    )


# what still differs


def _entries(found: Comparison, statement: str, head: int) -> list[Adjusted]:
    """For each row the entries that make up its difference, as the books stand once calls are resolved."""
    quantities, amounts = found.sides.ours()
    near: dict[tuple[Bucket, str], Sum] = {}
    for (place, name, _), one in (amounts or quantities).items():
        near.setdefault((place, name), Sum()).add(one)
    entries: list[Adjusted] = []
    for row in found.rows:
        if NOT_BOOKED & set(row.classes):
            continue
        bucket = (row.starts_ns, row.ends_ns)
        key: Key = (bucket, row.model, row.kind)
        ours = quantities.get(key, Sum()) if row.theirs_quantity is not None else None
        booked = amounts.get(key, Sum()) if row.theirs_nanousd is not None else None
        quantity = 0 if ours is None else half_even(row.theirs_quantity or Fraction(0)) - ours.quantity
        nanousd: int | None = 0
        if booked is not None:
            nanousd = half_even(row.theirs_nanousd or Fraction(0)) - booked.nanousd
        elif row.kind == REQUESTS:
            nanousd = None
        elif ours is not None and quantity and not found.sides.has_money:
            nanousd = _at_our_price(found, row, ours, quantity)
        if not quantity and not nanousd:
            continue
        weights = _weights(found, key, ours or Sum(), booked or Sum(), near)
        held = _Held(ours or Sum(), booked or ours or Sum())
        for share, part, money in _parts(quantity, nanousd, weights, held, most_of(len(found.rows))):
            entries.append(_entry(found, row, share, part, money, statement, head))
    return entries


def _at_our_price(found: Comparison, row: Row, ours: Sum, quantity: int) -> int | None:
    """What a quantity beyond (below) ours comes to, where the bill has no money; None: there is no price."""
    if quantity == -ours.quantity:  # all of it goes, and what was rounded with it
        return -ours.nanousd
    unit = found.unit_price(row.model, row.kind, ours)
    return None if unit is None else half_even(quantity * unit)


class _Held(NamedTuple):
    """What earlier bills changed of a row, by measure."""

    quantities: Sum
    amounts: Sum


def _weights(
    found: Comparison,
    key: Key,
    ours: Sum,
    booked: Sum,
    near: Mapping[tuple[Bucket, str], Sum],
) -> dict[Share, list[int]]:
    """Who a difference is divided among: those with this kind then, else with this model then (`near`), else
    UNATTRIBUTED."""
    bucket, model, _ = key
    groups = _used(booked) or _used(ours)
    if not groups and model:
        groups = _used(near.get((bucket, model), Sum()))
    return groups or {(Group(UNATTRIBUTED, "", found.statement.providers[0]), NOBODY): [0, 0]}


def _used(one: Sum) -> dict[Share, list[int]]:
    return {share: figures for share, figures in one.groups.items() if any(figures)}


def _parts(
    quantity: int, nanousd: int | None, weights: Mapping[Share, list[int]], held: _Held, most: int
) -> list[tuple[Share, int, int | None]]:
    """The quantity by their quantities, the money by their cost (by quantity, where nothing has a cost)."""
    counts = {share: max(figures[0], 0) for share, figures in weights.items()}
    costs = {share: max(figures[1], 0) for share, figures in weights.items()}
    stands = {share: figures[0] for share, figures in held.quantities.held.items()}
    parts = changed(quantity, counts if any(counts.values()) else costs, stands, most)
    stands = {share: figures[1] for share, figures in held.amounts.held.items()}
    money = changed(nanousd or 0, costs if any(costs.values()) else counts, stands, most)
    shares = sorted(parts.keys() | money.keys())
    return [(share, parts.get(share, 0), None if nanousd is None else money.get(share, 0)) for share in shares]


def _entry(
    found: Comparison, row: Row, share: Share, quantity: int, nanousd: int | None, statement: str, head: int
) -> Adjusted:
    group, whose = share
    bucket = (row.starts_ns, row.ends_ns)
    told = shown(bucket, row.model, row.kind)
    name = "\n".join((statement, str(head), told, str(row.ends_ns), *group, *whose))
    return Adjusted(
        request_id=f"adj_{sha256(name.encode()).hexdigest()[:32]}",
        attempt=1,
        statement=statement,
        row=told,
        reason="+".join(row.classes) or "rounding",
        period_start_ns=row.starts_ns,
        period_end_ns=row.ends_ns,
        usage={row.kind: quantity} if row.kind else {},
        amount_nanousd=nanousd,
        tenant=group.tenant,
        deployment=group.deployment,
        provider=group.provider,
        model=row.model,
        team=whose.team,
        principal=whose.principal,
        session=whose.session,
    )


def shown(bucket: Bucket, model: str, kind: str) -> str:
    """A row as people read it."""
    return " ".join(word for word in (rfc3339(bucket[0]), model, kind) if word)
