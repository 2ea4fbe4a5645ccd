"""Worked cases of grants and credits, as `{id, source, model, params, usage, expected}`, answered by the engine.

`CASES` has a function for each model: it takes a whole case and returns all that it knows of what the case may expect.
Amounts are decimal strings; moments are ISO 8601 durations after the start, added up (`P1D-PT1S`), or days after it
(`T10`). A key of a case that nobody reads is an error.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from msgspec.structs import replace
from tests.rating.keys import NOTES, Keys, Unread

from interlock.credits.burning import (
    NEVER_NS,
    Grant,
    Recurrence,
    ResetAt,
    Taken,
    Usage,
    begin,
    collect,
    ranked,
    reopened,
    run,
)
from interlock.credits.schedule import DAY_NS, Every, nth_ns, read_every

START_NS = 1_704_067_200_000_000_000
"""2024-01-01T00:00:00Z: what durations are counted from."""
NANO = 10**9
_PART = re.compile(
    r"([+-]?)(?:P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?|T(\d+))"
)
_NEVER = (None, "", "never", "none")
_NAMED = {"daily": "day", "weekly": "week", "monthly": "month", "yearly": "year"}
_ORDERS = ("priority asc, expiry asc", "priority asc, expiry asc, created asc", "reverse of collection", None)
Case = Mapping[str, Any]
Answers = dict[str, Any]


def moment_ns(text: str) -> int:
    """Of a moment as cases write it."""
    at_ns, place = START_NS, 0
    while place < len(text):
        part = _PART.match(text, place)
        if part is None or part.end() == place:
            raise Unread(f"{text!r} is not a moment")
        years, months, weeks, days, hours, minutes, seconds, label = (int(one or 0) for one in part.groups()[1:])
        sign = -1 if part[1] == "-" else 1
        length_s = ((7 * weeks + days + label) * 24 + hours) * 3600 + minutes * 60 + seconds
        if years or months:
            at_ns = nth_ns(Every(months=1), at_ns, sign * (12 * years + months))
        at_ns += sign * length_s * NANO
        place = part.end()
    return at_ns


def nano(text: str | int) -> int:
    """A decimal as an integer of billionths."""
    scaled = Decimal(text) * NANO
    assert scaled == scaled.to_integral_value(), text
    return int(scaled)


def plain(amount: int) -> Fraction:
    """The other way round."""
    return Fraction(amount, NANO)


def _when(table: Keys, *names: str, default: int) -> int:
    text = table.take(*names)
    return default if text in _NEVER else moment_ns(str(text))


def _recurrence(table: Keys, effective_ns: int) -> Recurrence | None:
    text, anchor = table.take("recurs", "recurrence", "recurring", "interval"), table.take("anchor")
    if isinstance(text, Mapping):
        inner = Keys(text, "recurrence")
        text, anchor = inner.take("interval", "every", "recurs", "period"), inner.take("anchor", default=anchor)
        inner.done()
    if text in _NEVER:
        return None
    text = str(text)
    if text.startswith("PT"):
        every = Every(length_ns=moment_ns(text) - START_NS)
    else:
        every = read_every(text if text.startswith("P") else _NAMED.get(text.lower(), text.lower()))
    return Recurrence(every, effective_ns if anchor in _NEVER else moment_ns(str(anchor)))


def grant_of(values: Case, number: int, rollover: tuple[str, str] = ("0", "0")) -> Grant:
    """A grant as cases write it; what rolls over may stand among the case's own parameters."""
    table = Keys(values, "grant")
    effective = _when(table, "effective_at", "effective", "from", default=START_NS)
    expires = _when(table, "expires_at", "expires", "expiry", default=NEVER_NS)
    if after := table.take("expires_after", "expiration"):
        expires = effective + moment_ns(str(after)) - START_NS
    if (days := table.take("expires_days", "expires_after_days", "expires_in_days")) is not None:
        expires = effective + int(days) * DAY_NS
    low = table.take("min_rollover", "rollover_min", "reset_min_rollover", default=rollover[0])
    high = table.take("max_rollover", "rollover_max", "reset_max_rollover", default=rollover[1])
    balance = table.take("balance", default="0")
    found = Grant(
        id=str(table.take("id", default=f"g{number + 1}")),
        amount=nano(table.take("amount", default=balance)),
        priority=int(table.take("priority", default=0)),
        effective_at_ns=effective,
        expires_at_ns=expires,
        voided_at_ns=_when(table, "voided_at", "voided", "deleted_at", "deleted", default=NEVER_NS),
        created=int(table.take("created", "created_order", default=number)),
        recurrence=_recurrence(table, effective),
        rollover_min=nano(low),
        rollover_max=nano(high),
    )
    table.done()
    return found


def _read(case: Case) -> tuple[Keys, Keys]:
    return Keys(case["params"], "params"), Keys(case["usage"], "usage")


def _done(params: Keys, usage: Keys) -> None:
    if params.take("order") not in _ORDERS:
        raise Unread(f"params: order {params.take('order')!r}")
    params.done()
    usage.done()


def credit_burn(case: Case) -> Answers:
    """What each collection takes of each source."""
    params, usage = _read(case)
    sources = [grant_of(one, n) for n, one in enumerate(params.take("sources", "grants"))]
    collections = usage.take("collect", "consume", "use", "usage", "receivable", "amount")
    _done(params, usage)
    balances = {one.id: one.amount for one in sources}
    order = [one.id for one in ranked(sources)]
    taken, short = [], []
    for amount in collections if isinstance(collections, list) else [collections]:
        parts, rest = collect(balances, order, nano(amount))
        taken.append({part.grant: plain(part.amount) for part in parts})
        short.append(plain(rest))
    left = {name: plain(balance) for name, balance in balances.items()}
    covered = [sum(parts.values(), Fraction(0)) for parts in taken]
    return {
        "taken": taken,
        **dict.fromkeys(("balances", "remaining", "left"), left),
        **dict.fromkeys(("uncovered", "shortfall", "advance", "remaining_receivable"), short),
        **dict.fromkeys(("covered", "collected"), covered),
    }


def credit_correction_reopen(case: Case) -> Answers:
    """What a correction gives back, and to which expiry."""
    params, usage = _read(case)
    released, amount = params.take("released", "collected"), nano(usage.take("restore", "correct"))
    _done(params, usage)
    taken = [Taken(str(n), nano(one["amount"])) for n, one in enumerate(released)]
    back = reopened(taken, amount)
    parts = [{**released[int(part.grant)], "amount": plain(part.amount)} for part in back]
    return {"reopened": parts, "unrestored": plain(amount - sum(part.amount for part in back))}


def credit_breakage(case: Case) -> Answers:
    """What is planned to expire: use releases it, a correction opens it again; alone, or by expiry."""
    params, usage = _read(case)
    alone, many = params.take("plan"), params.take("plans")
    plans = [{"amount": alone, "expires": params.take("expires", default="T1")}] if many is None else many
    grants = [grant_of(one, n) for n, one in enumerate(plans)]
    used = sum(map(nano, _list(usage.take("release", "use", "usage"))))
    used -= sum(map(nano, _list(usage.take("reopen", "restore"))))
    _done(params, usage)
    end = max(one.expires_at_ns for one in grants)
    state = run(grants, begin(grants, START_NS), [Usage(START_NS, used)], end)
    expired = {one.grant: one.forfeited for one in state.ends}
    by_expiry = {str(plan["expires"]): plain(-expired[one.id]) for plan, one in zip(plans, grants, strict=True)}
    impact = plain(-state.forfeited) if many is None else by_expiry
    return {"breakage_impact": impact, "breakage": plain(state.forfeited), "total_breakage": plain(state.forfeited)}


def grant_run(case: Case) -> Answers:
    """Balances of grants after dated usage, with recurrences, expiries and resets."""
    params, usage = _read(case)
    low = params.take("min_rollover", "rollover_min", "reset_min_rollover", default="0")
    rollover = (low, params.take("max_rollover", "rollover_max", "reset_max_rollover", default="0"))
    alone = params.take("amount")
    tables: list[Case] = params.take("grants", default=[]) if alone is None else [{"amount": alone}]
    grants = [grant_of(one, n, rollover) for n, one in enumerate(tables)]
    given = {one.id: nano(table["balance"]) for one, table in zip(grants, tables, strict=True) if "balance" in table}
    stands = params.take("balances", "starting_balances", default={})
    given |= {name: nano(balance) for name, balance in stands.items()}
    start_ns = _when(usage, "from", "start", "since", default=START_NS)
    events = [_event(one) for one in usage.take("events", default=[])]
    events += [Usage(start_ns + 1, nano(one)) for one in _list(usage.take("usage", "used", "burn"))]
    resets = [moment_ns(one) for one in _list(usage.take("resets", "reset_at", default=params.take("resets")))]
    if (before := usage.take("used_before_reset")) is not None:
        resets = resets or [start_ns + DAY_NS]
        events += [Usage(start_ns + 1, nano(one)) for one in _list(before)]
    if (after := usage.take("used_after_reset")) is not None:
        events += [Usage(resets[-1] + 1, nano(one)) for one in _list(after)]
    last = max([one.at_ns + 1 for one in events] + resets + [start_ns])
    until = _when(usage, "until", "at", default=last)
    owed = usage.take("overage", "starting_overage", default=params.take("overage", "starting_overage", default="0"))
    preserve = bool(usage.take("preserve_overage", default=params.take("preserve_overage", default=False)))
    _done(params, usage)
    events.append(Usage(start_ns, nano(owed)))
    # in the sources a run until a grant's expiry still shows it, though what comes again or is reset then has done so
    grants = [replace(one, expires_at_ns=until + 1) if one.expires_at_ns == until else one for one in grants]
    turns = [ResetAt(id=f"r{at_ns}", at_ns=at_ns, keep_overage=preserve) for at_ns in resets]
    state = run(grants, begin(grants, start_ns, given), events, until, resets=turns)
    balances = {one.id: plain(state.balances.get(one.id, 0)) for one in grants}
    asked = case["expected"].get("balances", balances)  # a case names the grants that it is about
    total, overage = plain(sum(state.balances.values())), plain(state.overage)
    expired: dict[str, int] = {}
    for end in state.ends:
        expired[end.grant] = expired.get(end.grant, 0) + end.forfeited
    breakage = plain(sum(expired.values()))
    return {
        "balances": {name: balances.get(name) for name in asked},
        **dict.fromkeys(("balance", "balance_after_reset", "total", "total_balance"), total),
        **dict.fromkeys(("overage", "overage_after_reset"), overage),
        "expired": {name: plain(amount) for name, amount in expired.items()},
        "breakage": breakage,
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value is not None else []


def _event(one: Any) -> Usage:
    if isinstance(one, Mapping):
        table = Keys(one, "event")
        found = Usage(_when(table, "at", "time", default=START_NS), nano(table.take("amount", "usage", "value")))
        table.done()
        return found
    return Usage(moment_ns(one[0]), nano(one[1]))


_RUNS = (
    *("grant_burn", "grant_burn_down", "grant_burn_recurring", "grant_burn_order", "grant_burn_expiring"),
    *("grant_priority", "grant_expiry", "grant_overage", "grant_effective_late", "grant_void", "grant_recurrence"),
    *("grant_reset", "grant_reset_rollover", "grant_rollover", "grant_reset_overage"),
)
CASES: dict[str, Callable[[Case], Answers]] = {
    "credit_burn": credit_burn,
    "credit_correction_reopen": credit_correction_reopen,
    "credit_breakage": credit_breakage,
    **dict.fromkeys(_RUNS, grant_run),
}


def wrong(case: Case) -> list[str]:
    """What is not as the case expects it, a line each; what nobody answers is wrong, too."""
    found = CASES[case["model"]](case)
    asked = {name: value for name, value in case["expected"].items() if name not in NOTES}
    return [
        f"{name}: {value}, not {found.get(name)}" for name, value in asked.items() if not same(value, found.get(name))
    ]


def same(expected: Any, found: Any) -> bool:
    """To the last digit, whatever the writing."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(same(value, found[name]) for name, value in expected.items())
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(same, expected, found))
    return Fraction(expected) == found if isinstance(found, Fraction) else bool(expected == found)
