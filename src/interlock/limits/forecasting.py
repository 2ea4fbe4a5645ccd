"""How long an amount lasts: the rate at which it is used, what will be used at the end, and when it is used up. Pure.

Two rates are looked at: that of the window so far, and that of lately. One alone misleads: the first forgets a burst
too slowly, the second takes every burst, and every quiet hour, for the rest of the window. Where they disagree it is
said. It knows no calendar: a window is from one moment to another, so a day of 23 hours is one.
"""

from fractions import Fraction
from typing import Literal

import msgspec

from interlock.units import INT64_MAX

HOUR_NS = 3_600_000_000_000
BEGUN_PARTS = 50
"""A window's own rate says something once a fiftieth of it is over: half an hour of a day, 14 hours of a month."""
CALLS_MIN = 5
"""Fewer calls than this, and at least one, are no rate."""

State = Literal["exhausted", "ended", "unused", "unknown", "short", "uncertain", "enough"]
"""exhausted: nothing is left. ended: the window is over. unused: nothing was used, nor lately. unknown: too few data.
short, enough: used up before the end, or not, at every known rate. uncertain: at one of them."""


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """What was used in the time just before now; it may reach behind the window's beginning."""

    length_ns: int
    """No longer than usage has been looked at."""
    used: int
    calls: int | None = None
    """In how many calls; None: not known, and no reason for doubt."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How it goes on at one rate."""

    per_hour: int
    """Rounded half to even; the two below are reckoned from the exact rate."""
    at_end: int | None
    """Used at the end; None: there is no end."""
    exhausted_at_ns: int | None
    """The first moment at which the amount is used up; None: not before the end, or never."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be expected."""

    state: State
    left: int
    """Of the amount; below 0: more was used than allowed."""
    average: Course | None
    """At the rate of the window so far; None: too little of it is over."""
    recent: Course | None
    """At that of lately; None: nothing is known of it, or too few calls."""
    exhausted_at_ns: int | None
    """At the present rate: that of lately, else the window's own. `now_ns` if nothing is left."""
    says: str
    """The same in a sentence."""


def forecast(
    *,
    used: int,
    amount: int,
    since_ns: int,
    ends_ns: int | None,
    now_ns: int,
    recent: Recent | None = None,
) -> Forecast:
    """What becomes of an amount.

    Args:
        used: since `since_ns`, in any unit; below 0 where more was given back than used.
        amount: how much may be used, in the same unit.
        since_ns, ends_ns: of the window, the end exclusive; `ends_ns` None: it ends when it is used up (a prepaid
            balance). Nanoseconds, Unix epoch, as `now_ns`.
    A clock behind `since_ns` is taken to stand there.
    Raises: ValueError: an amount below 0, or an end that is not after the beginning.
    """
    if amount < 0 or (ends_ns is not None and ends_ns <= since_ns):
        raise ValueError("an amount is 0 or more, and a window ends after it begins")
    now_ns = max(now_ns, since_ns)
    average = lately = None
    if now_ns - since_ns >= _begun_ns(since_ns, ends_ns):
        average = _course(Fraction(max(used, 0), now_ns - since_ns), used, amount, now_ns, ends_ns)
    if recent is not None and recent.length_ns > 0 and not 0 < (recent.calls or 0) < CALLS_MIN:
        lately = _course(Fraction(max(recent.used, 0), recent.length_ns), used, amount, now_ns, ends_ns)
    state = _state(used, amount, ends_ns, now_ns, average, lately)
    present = lately or average
    at_ns = present.exhausted_at_ns if present is not None else None
    if state in ("exhausted", "ended"):
        at_ns = now_ns if state == "exhausted" else None
    return Forecast(
        state=state,
        left=amount - used,
        average=average,
        recent=lately,
        exhausted_at_ns=at_ns,
        says=_says(state, now_ns, ends_ns, recent, average, lately),
    )


def _begun_ns(since_ns: int, ends_ns: int | None) -> int:
    return HOUR_NS if ends_ns is None else max((ends_ns - since_ns) // BEGUN_PARTS, 1)


def _course(rate: Fraction, used: int, amount: int, now_ns: int, ends_ns: int | None) -> Course:
    """`rate`: a nanosecond."""
    left = amount - used
    at_ns = None
    if left <= 0:
        at_ns = now_ns
    elif rate:
        at_ns = now_ns + -(-left * rate.denominator // rate.numerator)
    if at_ns is not None and at_ns >= (INT64_MAX if ends_ns is None else ends_ns):
        at_ns = None
    at_end = None if ends_ns is None else used + round(rate * max(ends_ns - now_ns, 0))
    return Course(per_hour=round(rate * HOUR_NS), at_end=at_end, exhausted_at_ns=at_ns)


def _state(
    used: int, amount: int, ends_ns: int | None, now_ns: int, average: Course | None, lately: Course | None
) -> State:
    if ends_ns is not None and now_ns >= ends_ns:
        return "ended"
    if used >= amount:
        return "exhausted"
    known = [one for one in (average, lately) if one is not None]
    if not known:
        return "unknown"
    if used <= 0 and not any(one.per_hour for one in known):
        return "unused"
    short = [one.exhausted_at_ns is not None for one in known]
    return "short" if all(short) else "uncertain" if any(short) else "enough"


def _says(
    state: State,
    now_ns: int,
    ends_ns: int | None,
    recent: Recent | None,
    average: Course | None,
    lately: Course | None,
) -> str:
    last = f"the rate of the last {span(recent.length_ns)}" if recent is not None else ""
    match state:
        case "exhausted":
            return "nothing is left" + (f"; the window ends in {span(ends_ns - now_ns)}" if ends_ns else "")
        case "ended":
            return "the window is over"
        case "unused":
            return "nothing was used"
        case "unknown":
            return "too few data to say when it is used up"
    so_far = "the window's average" if ends_ns is not None else "the average so far"
    rates = [
        f"at {name} {_fate(course, now_ns)}"
        for name, course in ((last, lately), (so_far, average))
        if course is not None
    ]
    return "; ".join(rates)


def _fate(course: Course, now_ns: int) -> str:
    at_ns = course.exhausted_at_ns
    return "it lasts" if at_ns is None else f"it is used up in {span(at_ns - now_ns)}"


def span(length_ns: int) -> str:
    """A length of time in its two largest units.

    >>> span(90_000_000_000), span(3 * 86_400 * 10**9 + 7_200 * 10**9), span(5)
    ('1 min 30 s', '3 d 2 h', '0 s')
    """
    seconds, parts = length_ns // 1_000_000_000, list[str]()
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts) or "0 s"
