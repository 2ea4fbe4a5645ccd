"""The hot path's way to `decide`: the same answers, remembered.

Calls of one kind take one route, so it is worked out once and kept until policy or readiness change. What makes two
calls of a kind is exactly what `decide` reads: tests hold the two against each other.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from interlock.gateway.affinity import Held
from interlock.gateway.policy import Policy
from interlock.gateway.reuse import Reuse, reuse_of
from interlock.gateway.routing import Route, decide, kept, order
from interlock.gateway.signals import Signals

KINDS_MAX = 4096
"""Clients choose model names and modes; a memory of them must not grow with what they make up."""
CANDIDATES_MAX = 1 << 16
"""Of all routes remembered, some 100 bytes each: many equals have more orders than there are conversations."""

_encode = msgspec.json.Encoder().encode


class Routed(msgspec.Struct, frozen=True):
    """A route, and the part of the decision's JSON that is the same for every call that takes it."""

    route: Route
    tail: bytes
    ranked: tuple[str, ...]
    """Deployments that may serve it, the first to be tried first."""
    reuse: Reuse | None = None
    """How answers are given again; None: they are not."""

    def decision(self, signals: Signals, splices: tuple[str, ...]) -> bytes:
        """`Decision` as JSON."""
        return b'{"signals":%b,"splices":%b,%b' % (_encode(signals), _encode(splices), self.tail)


class Router:
    """For one policy and one state of readiness."""

    def __init__(
        self,
        policy: Policy,
        not_ready: Mapping[str, str],
        resting: Mapping[str, str] = MappingProxyType({}),
        withdrawn: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._policy = policy
        self._not_ready = not_ready
        self._resting = resting
        self._withdrawn = withdrawn
        self._known: dict[Any, Routed] = {}
        self._candidates = 0  # of what is known
        self.edges = _edges(policy)
        """Input sizes at which a route may change."""
        self.era = object()
        """This router, for who remembers its routes and must not keep it alive."""
        self._spread = {name: tier for name, tier in policy.tiers.items() if tier.spread}
        self.spreads = bool(self._spread)
        """Whether a route depends on which conversation it is."""
        whens = [rule.when for rule in policy.rules]
        self._by_who = any(w.tenant is not None or w.principal is not None or w.labels is not None for w in whens)

    def route(self, signals: Signals, boundaries: Sequence[str], accepted: Sequence[str] = ()) -> Routed:
        """As `decide`."""
        kind: Any = (
            signals.format,
            signals.model,
            signals.mode,
            signals.stream,
            signals.tools,
            signals.tool_result,
            signals.images,
            signals.reasoning,
            signals.schema,
            signals.chore,
            bisect_right(self.edges, signals.input_tokens),
            boundaries,
            accepted,
            signals.source,
            signals.sensitive,
            (signals.tenant, signals.principal, *sorted(signals.labels.items())) if self._by_who else None,
        )
        routed = self._known.get(kind)
        if routed is not None and routed.route.tier in self._spread:
            # Perhaps another conversation's. All that is its own is the order; few equals have few.
            kind = (kind, order(self._spread[routed.route.tier], signals))
            routed = self._known.get(kind)
        if routed is None:
            if len(self._known) >= KINDS_MAX or self._candidates >= CANDIDATES_MAX:
                self._known.clear()
                self._candidates = 0
            route = decide(signals, self._policy, boundaries, self._not_ready, self._resting, accepted, self._withdrawn)
            routed = self._known[kind] = self._routed(route, signals, accepted)
            self._candidates += len(route.candidates)
        return routed

    def kept(self, routed: Routed, signals: Signals, held: Held, now_s: int, accepted: Sequence[str] = ()) -> Routed:
        """As `routing.kept`; the same value if it changes nothing."""
        route = kept(
            routed.route,
            signals,
            self._policy,
            held,
            now_s,
            self._not_ready,
            self._resting,
            accepted,
            self._withdrawn,
        )
        return routed if route is routed.route else self._routed(route, signals, accepted)

    def _routed(self, route: Route, signals: Signals, accepted: Sequence[str]) -> Routed:
        reuse = reuse_of(route, signals, self._policy, accepted)
        return Routed(route, _encode(route)[1:], tuple(route.ranked), reuse)


def _edges(policy: Policy) -> list[int]:
    """Every input size at which some answer of `decide` may change: it is the same from one edge up to the next."""
    windows = {d.context_window for d in policy.deployments.values() if d.context_window is not None}
    lows = {r.when.input_tokens_min for r in policy.rules if r.when.input_tokens_min is not None}
    highs = {r.when.input_tokens_max + 1 for r in policy.rules if r.when.input_tokens_max is not None}
    return sorted(windows | lows | highs)
