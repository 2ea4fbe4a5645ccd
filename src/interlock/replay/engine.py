"""Past attempts decided again, one after the other. Pure: rows, a policy and who the keys are go in, sums come out.

An attempt is decided by the signals on its record, with what was not ready or resting then, under the boundaries that
its tenant and key have now. Where the policy gives the same winner, it stays where it went (a failover is no change).
Otherwise its tokens go to the new winner: the same kinds at that deployment's prices, as `savings` compares.

What prompt caches change is reckoned apart, because no record can say it: each conversation is followed through the
replayed routes as the gateway would (affinity.py), and from its first change on a call reads from a cache what its
deployment would have had of it.
"""

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from interlock.gateway import Candidate, Deployment, Policy, Signals
from interlock.gateway.affinity import Held, cached_tokens
from interlock.gateway.router import Router
from interlock.gateway.routing import Route, kept
from interlock.ledger import Past, amount
from interlock.replay.sums import Sums

READIES_MAX = 64
"""States of readiness at once; there is one as long as nothing goes wrong."""
CONVERSATIONS_MAX = 1 << 20
_UNTOUCHED = frozenset({"embeddings", "count_tokens"})
"""Formats that no conversation is in."""
_UNREADY = (b'"ready"', b'"resting"', b'"withdrawn"')
_NOTHING: Mapping[str, str] = MappingProxyType({})
_usage = msgspec.json.Decoder(dict[str, int]).decode


class _Decided(msgspec.Struct, gc=False):
    """What is read of a recorded decision."""

    signals: Signals
    winner: str = ""


class _Opened(msgspec.Struct, gc=False):
    decision: _Decided
    answer_of: str = ""


class _Seen(msgspec.Struct):
    candidates: list[Candidate] = []


class _OpenedSeen(msgspec.Struct):
    decision: _Seen


_opened = msgspec.json.Decoder(_Opened).decode
_seen = msgspec.json.Decoder(_OpenedSeen).decode


class Talk:
    """A conversation under the replayed policy."""

    __slots__ = ("diverged", "held")

    def __init__(self) -> None:
        self.held: Held | None = None
        self.diverged = False
        """A call of it has gone elsewhere than it did: what it read from caches is no guide any more."""


class Settling(NamedTuple):
    """An answer that a conversation is still to learn of."""

    at_ns: int
    number: int
    talk: Talk
    held: Held


class Ready(NamedTuple):
    """A state of readiness, and who decides in it."""

    router: Router
    not_ready: Mapping[str, str]
    resting: Mapping[str, str]
    withdrawn: Mapping[str, str]


class Replay:
    """One policy, replayed."""

    def __init__(self, policy: Policy, boundaries: Callable[[str, str], tuple[str, ...]]) -> None:
        """`boundaries`: names of the profiles of a tenant and a key (ids)."""
        self._policy = policy
        self._boundaries = boundaries
        self._all_ready = Ready(Router(policy, _NOTHING), _NOTHING, _NOTHING, _NOTHING)
        self._readies: dict[object, Ready] = {}
        self._talks: dict[tuple[str, str, str], Talk] = {}
        self._settling: list[Settling] = []
        self._number = 0
        self.sums = Sums()

    def feed(self, rows: Iterable[Past]) -> None:
        """Replay rows, in the order in which they were opened."""
        for row in rows:
            self._number += 1
            try:
                opened = _opened(row.opened)
            except msgspec.DecodeError:
                self.sums.unread += 1
                continue
            if opened.answer_of:
                self.sums.given_again += 1
            else:
                self._replay(row, opened.decision)

    def _replay(self, row: Past, decided: _Decided) -> None:
        signals = decided.signals
        ready = self._ready(row.opened)
        routed = ready.router.route(signals, self._boundaries(row.tenant, row.key_id))
        route, talk = routed.route, self._talk(row, signals)
        if talk is not None and talk.held is not None and talk.held.deployment != route.winner:
            now_s = row.opened_at_ns // 1_000_000_000
            route = kept(
                route, signals, self._policy, talk.held, now_s, ready.not_ready, ready.resting, (), ready.withdrawn
            )
        if not route.winner:
            self.sums.refused(route.rule, route.code, _why(route), row.request_id)
            return
        stays = route.winner == decided.winner and (row.deployment == route.winner or row.deployment in route.ranked)
        target = self._policy.deployments[row.deployment if stays else route.winner]
        if row.state == "open":
            self.sums.open += 1
            return
        usage = _usage(row.usage)
        if talk is not None:
            talk.diverged = talk.diverged or target.name != row.deployment
        replayed = amount(usage, target.price) if usage else 0
        actual = row.amount_nanousd if usage else 0
        if actual is None:
            self.sums.unpriced += 1
        elif replayed is None:
            self.sums.replay_unpriced += 1
        else:
            cache = 0
            if talk is not None and talk.diverged and usage:
                found = amount(_as_cached(usage, talk.held, target, self._policy, row), target.price)
                cache = 0 if found is None else found - replayed
            self.sums.compared(
                route.rule, route.tier, row.deployment, target.name, actual, replayed, cache, row.request_id
            )
        if talk is not None and row.outcome == "completed":
            self._learn(row, talk, target, usage)

    def _ready(self, opened: bytes) -> "Ready":
        """By what was ready then, as far as the record says."""
        at = opened.rfind(b'"candidates"')
        if all(opened.find(word, at) < 0 for word in _UNREADY):
            return self._all_ready
        candidates = _seen(opened).decision.candidates
        not_ready = {c.deployment: c.refused for c in candidates if c.stage == "ready"}
        resting = {c.deployment: c.resting for c in candidates if c.resting}
        withdrawn = {c.deployment: c.refused for c in candidates if c.stage == "withdrawn"}
        state = (*not_ready.items(), "", *resting.items(), "", *withdrawn.items())
        ready = self._readies.get(state)
        if ready is None:
            if len(self._readies) >= READIES_MAX:
                self._readies.clear()
            router = Router(self._policy, not_ready, resting, withdrawn)
            ready = self._readies[state] = Ready(router, not_ready, resting, withdrawn)
        return ready

    def _talk(self, row: Past, signals: Signals) -> Talk | None:
        """The conversation, with all that it has been answered until then."""
        settling = self._settling
        while settling and settling[0].at_ns <= row.opened_at_ns:
            done = heappop(settling)
            done.talk.held = done.held
        if not signals.conversation or signals.format in _UNTOUCHED:
            return None
        key = (row.tenant, signals.session, signals.conversation)
        talk = self._talks.get(key)
        if talk is None:
            if len(self._talks) >= CONVERSATIONS_MAX:
                self._talks.clear()
            talk = self._talks[key] = Talk()
        return talk

    def _learn(self, row: Past, talk: Talk, target: Deployment, usage: Mapping[str, int]) -> None:
        if talk.diverged:
            caches = target.price is not None and "cache_read" in target.price.per_mtok
            cached = usage.get("input", 0) if caches else 0
        else:
            cached = cached_tokens(usage, target.price)
        held = Held(target.name, target.family, 0, cached, usage.get("output", 0), row.settled_at_ns // 1_000_000_000)
        heappush(self._settling, Settling(row.settled_at_ns, self._number, talk, held))


def _as_cached(
    usage: Mapping[str, int], held: Held | None, target: Deployment, policy: Policy, row: Past
) -> dict[str, int]:
    """The usage as it would have been with what `target` had cached of the conversation."""
    whole = usage.get("input", 0)
    read = 0
    if held is not None and held.deployment == target.name:
        age_s = row.opened_at_ns // 1_000_000_000 - held.at_s
        read = min(held.cached_tokens, whole) if age_s <= policy.affinity.cache_s else 0
    kinds = {kind: count for kind, count in usage.items() if not kind.startswith("cache_")}
    kinds["cache_read"] = read
    if target.price is not None and "cache_write" in target.price.per_mtok:
        kinds["cache_write"] = max(whole - read - usage.get("audio_input", 0), 0)
    return kinds


def _why(route: Route) -> str:
    return "; ".join(f"{c.deployment}: {c.refused}" for c in route.candidates) or route.code
