"""A call held to the limits: the most that an attempt may use is claimed before it is opened, what it used is settled
once that is written down. What limits are, and how they are counted, is interlock.limits.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.clock import Clock
from interlock.errors import LocalError, TransientError
from interlock.gateway.policy import Deployment, Policy
from interlock.gateway.signals import DERIVED
from interlock.gateway.wire import Call
from interlock.ledger import PARENTS, Format, Price, Settled, amount, rates
from interlock.limits import Actual, Claim, Denied, Held, Limiter, NeedsLease, headers
from interlock.limits.headers import Style
from interlock.units import TOKENS_PER_PRICE, usd

if TYPE_CHECKING:
    from interlock.gateway.way import Way

ACCOUNT_PREFIX = "credit/"
"""Of the limit that a prepaid account is."""
NOTHING = Actual(input_tokens=0, output_tokens=0, nanousd=0)
_THEIRS = (b"x-ratelimit-", b"anthropic-ratelimit-")
_SAYS = {
    "exceeded": "limit {limit} is reached ({left} of {measure} left, {asked} asked)",
    "too_large": "the call alone asks for {asked} of {measure}, more than limit {limit} allows",
    "exhausted": "account {account} has {left} USD of prepaid credit left, and the call may cost up to {asked} USD",
    "unpriced": "limit {limit} is of money, and the deployment has no price",
    "away": "the share of limit {limit} in hand is spent, and the authority cannot be reached",
    "full": "there is no room to count another call (limit {limit})",
    "unknown": "what prepaid accounts have left, and what plans entitle to, cannot be read now; retry",
    "not_entitled": "{says}",
}


class Limiting:
    """Of one gateway."""

    def __init__(
        self,
        limiter: Limiter,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._limiter = limiter
        self._loop = loop
        self._clock = clock
        self._spawn = spawn
        self._reserve: Mapping[str, int] = {}
        self._quotas = False

    def adopt(self, policy: Policy) -> None:
        """Hold calls to this policy's limits from now on."""
        self._reserve = policy.reserve
        self._quotas = bool(policy.quotas)
        if policy.quotas != self._limiter.limits:
            self._limiter.adopt(policy.quotas)

    @property
    def active(self) -> bool:
        """Whether anything may limit a call now."""
        return self._quotas or self._limiter.funded

    def entitled(self, tenant: str) -> Callable[[str], bool] | None:
        """Whether the tenant's plan lets it call a model, remembered; None: any. Raises: LocalError: nobody knows."""
        found = self._limiter.entitled(tenant)
        return partial(self._limiter.lets, tenant) if found is not None and found.models is not None else None

    def lets(self, tenant: str, model: str) -> bool:
        """Whether the tenant's plan lets it call the model, as of the last admission."""
        return self._limiter.lets(tenant, model)

    def models(self, tenant: str) -> bytes:
        """What the tenant's plan says of models, to be told from what another says. Raises: as `entitled`."""
        found = self._limiter.entitled(tenant)
        return b"" if found is None or found.models is None else msgspec.json.encode(found.models)

    def claim(self, id: str, first: bool, call: Call, way: "Way", deployment: Deployment) -> Claim:
        """The most that an attempt may use.

        Args:
            id: `REQUEST_ID/ATTEMPT`.
            first: of its request; another one is not another request.
        """
        output = call.max_output
        if output is None:
            output = self._reserve.get(way.routed.route.tier, self._reserve.get("", 0))
        if deployment.max_output is not None:
            output = min(output, deployment.max_output)
        output *= call.choices
        return Claim(
            id=id,
            key=way.key.id,
            principal=way.key.principal,
            tenant=way.key.tenant,
            session=named(way.session(call)),
            deployment=deployment.name,
            model=deployment.model,
            requests=int(first),
            input_tokens=call.input_estimate,
            output_tokens=output,
            nanousd=most(deployment.price, call.input_estimate, output),
        )

    def admit(self, claim: Claim, then: Callable[[Held | Denied], None]) -> None:
        """Reserve, and call `then`: at once; in the loop's next turn, if it is denied; or when the authority of several
        machines has answered."""
        try:
            outcome = self._limiter.reserve(claim)
        except TransientError:
            outcome = Denied(reason="full", limit="", retry_after_ns=1_000_000_000)
        if isinstance(outcome, NeedsLease):
            self._spawn(self._lease(outcome, then))
        elif isinstance(outcome, Denied):
            self._loop.call_soon(then, outcome)  # not at once: a tier's candidates would be denied one within the other
        else:
            then(outcome)

    async def _lease(self, needs: NeedsLease, then: Callable[[Held | Denied], None]) -> None:
        try:
            outcome = await self._limiter.lease(needs)
        except TransientError:
            outcome = Denied(reason="away", limit="", retry_after_ns=1_000_000_000)
        then(outcome)

    def release(self, held: Held) -> None:
        """It reached nobody, and is not written down."""
        self._limiter.release(held)

    def settled(
        self, held: Held, settled: Settled, price: Price | None, then: Callable[[], None] | None = None
    ) -> None:
        """It is over (and written down, if another attempt cannot follow): count what it used, then call `then`."""
        self._limiter.settle(held, actual_of(settled, price))
        if then is not None:
            then()

    def lines(self, format: Format, outcome: Held | Denied | None) -> bytes:
        """Header lines of an answer to a call of that format; None: no limit was asked."""
        if outcome is None or not (outcome.standings or isinstance(outcome, Denied)):
            return b""
        style: Style = "anthropic" if format in ("messages", "count_tokens") else "openai"
        told = headers(style, outcome, self._clock.now_ns())
        return "".join(f"{name}: {value}\r\n" for name, value in told).encode()

    def error(self, format: Format, denied: Denied) -> tuple[LocalError, bytes]:
        """What a client is told who is not let through, and the header lines that say when to come again."""
        money = denied.measure == "nanousd"
        told = {
            "limit": denied.limit or "-",
            "account": denied.limit.removeprefix(ACCOUNT_PREFIX),
            "measure": "usd" if money else denied.measure,
            "asked": usd(denied.asked) if money else denied.asked,
            "left": usd(denied.left) if money else denied.left,
            "says": denied.says,
        }
        error = LocalError(_SAYS[denied.reason].format(**told), code=denied.code)
        return error, self.lines(format, denied)


def named(session: str) -> str:
    """A session as limits know it; none where it is only a conversation's beginning: all of those share one."""
    return "" if session.startswith(DERIVED) else session


def most(price: Price | None, input_tokens: int, output_tokens: int) -> int | None:
    """The most that so many tokens cost, in nano-USD, rounded up; None: there is no price.

    Each is taken at the dearest price of its kinds: nobody knows yet what is cached and what is thought.
    """
    if price is None:
        return None
    each, _ = rates(price, input_tokens)
    if "input" not in each or "output" not in each:
        return None
    into = max(each[kind] for kind in each if PARENTS.get(kind, kind) == "input")
    out = max(each[kind] for kind in each if PARENTS.get(kind, kind) == "output")
    return -(-(input_tokens * into + output_tokens * out) // TOKENS_PER_PRICE)


def actual_of(settled: Settled, price: Price | None) -> Actual:
    """What an attempt used. What nobody priced counts as it was reserved."""
    usage = settled.usage
    if not usage:
        return NOTHING
    cost = amount(usage, price)
    return Actual(
        input_tokens=max(usage.get("input", 0), 0), output_tokens=max(usage.get("output", 0), 0), nanousd=cost
    )


def without_theirs(upstream: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    """An upstream's headers without its own limits: a client is told of ours."""
    return {name: value for name, value in upstream.items() if not name.startswith(_THEIRS)}
