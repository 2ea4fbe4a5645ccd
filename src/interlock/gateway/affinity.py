"""Affinity: whether a conversation stays with the deployment that holds its prompt in a cache. Pure, exact, recorded.

Providers ask a fraction of the price for the part of a prompt that they have cached. Whoever goes elsewhere pays the
whole prompt once more. So a conversation moves only where the rule demands it, where its deployment cannot serve, where
the cache has gone cold, or where moving costs less than staying: both sides are reckoned from the policy's prices.

    cached x cache_read + (size - cached) x write + (n - 1) x size x cache_read + n x answer x output

`stay` is that at the prices of the deployment that holds it, `switch` at the other's, with nothing cached.
`size` is the prompt: the larger of the call's estimate and what is cached. `answer` is how long the last answer was; n
is `affinity.calls`. `write` is the price of a cache write, `cache_read` of a cached token, for who has none both are
those of input. The sums are compared whole; what is shown is divided once, half to even.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from interlock.gateway.policy import Deployment, Policy
from interlock.ledger import Price, rates
from interlock.units import TOKENS_PER_PRICE, divide_half_even

AUTOMATIC_TOKENS_MIN = 1024
"""Shorter prompts are not cached by those who cache without being asked (OpenAI's rule)."""

Verdict = Literal["kept", "saving", "rule", "unserved", "cold"]
"""kept: it stays. saving: moving costs less. rule: the rule wants a tier without it. unserved: it is in the tier, but
may not or cannot serve this call. cold: nobody keeps a prompt for so long."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """Where a conversation is, by its last answer."""

    deployment: str
    """Empty: the policy does not have it any more."""
    family: str
    """Whose reasoning the conversation holds; empty: of a family that the policy does not have any more."""
    since: int
    """How many messages it had when that family took over: what reasoning stands before is another's."""
    cached_tokens: int
    output_tokens: int
    at_s: int
    """Unix seconds."""


class Affinity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a conversation stayed with the deployment that held it, or did not. On the decision."""

    held_by: str
    verdict: Verdict
    over: str = ""
    """Who would serve it, or does, in its place."""
    cached_tokens: int = 0
    output_tokens: int = 0
    calls: int = 1
    stay_nanousd: int | None = None
    """None: not reckoned, or unpriced."""
    switch_nanousd: int | None = None


def cached_tokens(usage: Mapping[str, int], price: Price | None) -> int:
    """How much of the next prompt a deployment will have cached, by what it reported of this one.

    One that is told what to cache (it has a price for cache writes) says what it read and wrote; one that caches by
    itself (it has a price for cached tokens, or read some) has the whole prompt, if it is long enough.
    """
    wrote = usage.get("cache_write", 0) + usage.get("cache_write_5m", 0) + usage.get("cache_write_1h", 0)
    if wrote or (price is not None and "cache_write" in price.per_mtok):
        return wrote + usage.get("cache_read", 0)
    whole, read = usage.get("input", 0), usage.get("cache_read", 0)
    caches = read > 0 or (price is not None and "cache_read" in price.per_mtok)
    return whole if caches and whole >= AUTOMATIC_TOKENS_MIN else 0


def moved(before: Held | None, deployment: Deployment, messages: int, usage: Mapping[str, int], at_s: int) -> Held:
    """Where a conversation is after an answer.

    Args:
        messages: how many the request had. A history shorter than before was written anew.
    """
    since = 0 if before is None else before.since if before.family == deployment.family else messages
    return Held(
        deployment.name,
        deployment.family,
        min(since, messages),
        cached_tokens(usage, deployment.price),
        usage.get("output", 0),
        at_s,
    )


def unreadable(held: Held | None, family: str, messages: int) -> int:
    """How many of a conversation's first `messages` may hold reasoning that `family` cannot read."""
    if held is None:
        return 0
    return min(held.since, messages) if held.family == family else messages


def weigh(held: Held, input_tokens: int, fresh: Deployment, policy: Policy) -> Affinity:
    """Whether a warm conversation that `held.deployment` could go on serving moves to `fresh`: `kept` or `saving`.

    Where a price is missing nothing shows that moving saves, so it stays.
    """
    size, calls = max(input_tokens, held.cached_tokens), policy.affinity.calls
    stay = _cost(policy.deployments[held.deployment].price, size, held.cached_tokens, held.output_tokens, calls)
    switch = _cost(fresh.price, size, 0, held.output_tokens, calls)
    saves = stay is not None and switch is not None and switch < stay
    return Affinity(
        held_by=held.deployment,
        verdict="saving" if saves else "kept",
        over=fresh.name,
        cached_tokens=held.cached_tokens,
        output_tokens=held.output_tokens,
        calls=calls,
        stay_nanousd=None if stay is None else divide_half_even(stay, TOKENS_PER_PRICE),
        switch_nanousd=None if switch is None else divide_half_even(switch, TOKENS_PER_PRICE),
    )


def _cost(price: Price | None, size: int, cached: int, output: int, calls: int) -> int | None:
    """Of `calls` calls with prompts of `size`: the first finds `cached` of it cached, the others all. Not divided."""
    if price is None:
        return None
    each, _ = rates(price, size)
    input = each["input"]
    read, write = each.get("cache_read", input), each.get("cache_write", input)
    first = cached * read + (size - cached) * write
    return first + (calls - 1) * size * read + calls * output * each["output"]
