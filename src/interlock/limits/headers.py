"""What an answer says of limits, in the client's own spelling. Pure.

Of several limits on the same thing the one with the least left is told: it is the one that will refuse first.
Sources: OpenAI, "Rate limits in headers"; Anthropic, "Rate limits: response headers"; RFC 9110, Retry-After.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from interlock.limits.call import Denied, Held, Standing
from interlock.limits.limit import NEVER_NS, Measure
from interlock.units import usd

Style = Literal["openai", "anthropic"]
LIMIT_HEADER = "x-interlock-limit"
CREDIT_HEADER = "x-interlock-credit-remaining"
"""USD of the prepaid account with the least left, what calls that run may cost taken off."""
_SECOND_NS = 1_000_000_000

_OPENAI: tuple[tuple[str, tuple[Measure, ...]], ...] = (
    ("requests", ("requests",)),
    ("tokens", ("tokens", "input_tokens", "output_tokens")),
)
_ANTHROPIC: tuple[tuple[str, tuple[Measure, ...]], ...] = (
    ("requests", ("requests",)),
    ("tokens", ("tokens",)),
    ("input-tokens", ("input_tokens",)),
    ("output-tokens", ("output_tokens",)),
)

Headers = list[tuple[str, str]]


def headers(style: Style, outcome: Held | Denied, now_ns: int) -> Headers:
    """What stands on an answer. A call that no limit applies to gets none.

    Args:
        style: `anthropic` for the Messages format, `openai` for all others.
    """
    found: Headers = []
    kinds = _ANTHROPIC if style == "anthropic" else _OPENAI
    counted = isinstance(outcome, Held)
    for name, measures in kinds:
        standing = tightest(outcome.standings, measures, counted=counted)
        if standing is None:
            continue
        limit, left = str(standing.limit.amount), str(left_of(standing, counted=counted))
        if style == "anthropic":
            prefix = f"anthropic-ratelimit-{name}"
            reset = rfc3339(max(standing.ends_ns, now_ns))
            found += [(f"{prefix}-limit", limit), (f"{prefix}-remaining", left), (f"{prefix}-reset", reset)]
        else:
            reset = duration(max(standing.ends_ns - now_ns, 0))
            found += [(f"x-ratelimit-limit-{name}", limit), (f"x-ratelimit-remaining-{name}", left)]
            found.append((f"x-ratelimit-reset-{name}", reset))
    credit = [left_of(one, counted=counted) for one in outcome.standings if one.limit.window == "ever"]
    if credit:
        found.append((CREDIT_HEADER, usd(min(credit))))
    if isinstance(outcome, Denied):
        if outcome.retry_after_ns is not None:
            found.append(("retry-after", str(-(-outcome.retry_after_ns // _SECOND_NS))))
        if outcome.limit:
            found.append((LIMIT_HEADER, outcome.limit))
    return found


def tightest(standings: Sequence[Standing], measures: Iterable[Measure], *, counted: bool) -> Standing | None:
    """Of those of a measure that have a window, the one with the least left; of equals the one that lasts longest."""
    wanted = frozenset(measures)
    some = [one for one in standings if one.limit.measure in wanted and one.ends_ns != NEVER_NS]
    return min(some, key=lambda one: (left_of(one, counted=counted), -one.ends_ns), default=None)


def left_of(one: Standing, *, counted: bool) -> int:
    """What a limit still allows; `counted`: after the call, which was admitted."""
    return one.left_after if counted else one.left


def duration(ns: int) -> str:
    """As OpenAI writes it, which is Go's way, rounded up: `0s`, `17ms`, `59s`, `6m0s`, `26h3m0s`.

    >>> [duration(ns) for ns in (0, 1, 17_000_000, 999_000_001, 360_000_000_000, 93_780_000_000_000)]
    ['0s', '1ms', '17ms', '1s', '6m0s', '26h3m0s']
    """
    if 0 < ns <= 999_000_000:
        return f"{-(-ns // 1_000_000)}ms"
    seconds = -(-ns // _SECOND_NS)
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def rfc3339(at_ns: int) -> str:
    """In UTC, whole seconds, rounded up.

    >>> rfc3339(1_700_000_000_000_000_001)
    '2023-11-14T22:13:21Z'
    """
    return datetime.fromtimestamp(-(-at_ns // _SECOND_NS), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
