"""The audit trail: one line for each attempt, read from the log of this machine as it stands.

Nothing is written for it: `usage.opened` says who, what, from where and by which decision before the upstream sees a
byte, and `usage.settled` what was seen. The trail therefore stays where the log is: in the region that it came from.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from interlock.audit.judge import Crossing, Decided, Verdict, outside, was_unsent
from interlock.datadir import DataDir
from interlock.gateway import Policy
from interlock.identity.value import Accepted, Left, Tenant
from interlock.ledger import Opened, Refused, Settled
from interlock.ledger.reading import USAGE_TYPES, Event, decode
from interlock.log import LogCorrupt, Stored
from interlock.log.reader import JournalReader, journal_names
from interlock.log.sqlite import SqliteLog

_decided = msgspec.json.Decoder(Decided).decode


class Window(NamedTuple):
    """Calls opened or refused in [since_ns, until_ns), of one tenant; None does not restrict."""

    since_ns: int | None = None
    until_ns: int | None = None
    tenant: str | None = None

    def holds(self, at_ns: int, tenant: str) -> bool:
        """Whether a call is asked for."""
        return (
            (self.since_ns is None or at_ns >= self.since_ns)
            and (self.until_ns is None or at_ns < self.until_ns)
            and self.tenant in (None, tenant)
        )


class Trail:
    """Of one data directory. Blocking; a server may run on it."""

    def __init__(self, places: DataDir, log: SqliteLog) -> None:
        self._places = places
        self._policies: dict[str, Policy] = {}
        self._accepted: dict[tuple[str, str], tuple[list[int], list[bool]]] = {}
        for stored in log.read_after("config", 0):
            if stored.record.type == "policy.adopted":
                policy = msgspec.json.decode(stored.record.payload, type=Policy)
                self._policies.setdefault(policy.version, policy)
        self.tenants: set[str] = set()
        for stored in log.read_after("identity", 0):
            self._take_agreement(stored)
            if stored.record.type == "tenant.created":
                self.tenants.add(msgspec.json.decode(stored.record.payload, type=Tenant).name)
        self.unread = 0
        """Records of calls that this version cannot read."""
        self.broken: list[str] = []
        """Where a stream does not hold: what stands after it is not read."""

    def lines(self, window: Window) -> Iterator[Crossing]:
        """All that the window asks for, stream by stream, each when it is settled; what is open last."""
        for stream in journal_names(self._places.journal):
            if stream.startswith("usage/"):
                try:
                    yield from self._stream(stream, window)
                except LogCorrupt as error:
                    self.broken.append(error.message)

    def _stream(self, stream: str, window: Window) -> Iterator[Crossing]:
        opened: dict[tuple[str, int], tuple[int, Opened]] = {}
        for stored in JournalReader(self._places.journal).scan(stream):
            event = self._event(stored)
            at_ns = stored.record.at_ns
            if isinstance(event, Opened):
                if window.holds(at_ns, event.tenant):
                    opened.setdefault((event.request_id, event.attempt), (at_ns, event))
            elif isinstance(event, Refused):
                if window.holds(at_ns, event.tenant):
                    yield from self._refused(at_ns, event)
            elif event is not None and (found := opened.pop((event.request_id, event.attempt), None)):
                yield from self._crossed(*found, event)
        for found in opened.values():
            yield from self._crossed(*found, None)

    def _event(self, stored: Stored) -> Event | None:
        if not stored.record.type.startswith(USAGE_TYPES):
            return None
        event = decode(stored.record)
        self.unread += event is None
        return event

    def _take_agreement(self, stored: Stored) -> None:
        kind: type[Accepted] | type[Left]
        if stored.record.type == "agreement.accepted":
            kind = Accepted
        elif stored.record.type == "agreement.left":
            kind = Left
        else:
            return
        told = msgspec.json.decode(stored.record.payload, type=kind)
        times, states = self._accepted.setdefault((told.tenant, told.agreement), ([], []))
        times.append(stored.record.at_ns)
        states.append(kind is Accepted)

    def _accepted_at(self, tenant: str, agreements: tuple[str, ...], at_ns: int) -> list[str]:
        """Which of the agreements the tenant was under at that time."""
        found = []
        for agreement in agreements:
            times, states = self._accepted.get((tenant, agreement), ([], []))
            place = bisect_right(times, at_ns)
            if place and states[place - 1]:
                found.append(agreement)
        return found

    def _refused(self, at_ns: int, event: Refused) -> Iterator[Crossing]:
        decided = self._read(event.decision)
        if decided is not None:
            yield Crossing(
                at_ns=at_ns,
                request_id=event.request_id,
                attempt=0,
                tenant=event.tenant,
                principal=event.principal,
                key_id=event.key_id,
                deployment="",
                provider="",
                model=event.model_requested,
                policy=event.policy,
                source=decided.signals.source,
                boundary=decided.boundary,
                declared=(),
                peer="",
                region="",
                outcome="",
                verdict="refused" if event.code == "boundary_refused" else "unsent",
                clause="; ".join(f"{c.deployment}: {c.refused}" for c in decided.candidates if c.refused)
                or event.message,
                observed=False,
            )

    def _crossed(self, at_ns: int, event: Opened, settled: Settled | None) -> Iterator[Crossing]:
        decided = self._read(event.decision)
        if decided is None:
            return
        policy = self._policies.get(event.policy)
        place = policy.deployments.get(event.deployment) if policy is not None else None
        facts = place.facts if place is not None else None
        peer, region = _seen(settled)
        verdict: Verdict
        clause, observed = "", False
        if event.answer_of or (settled is not None and was_unsent(settled.outcome, settled.error, peer)):
            verdict = "unsent"
        elif not decided.boundary and not (facts is not None and facts.agreements):
            verdict = "unbounded"
        else:
            accepted = self._accepted_at(event.tenant, facts.agreements if facts is not None else (), at_ns)
            clause, observed = outside(decided, policy, event.deployment, accepted, peer, region)
            verdict = "outside" if clause else "inside"
        yield Crossing(
            at_ns=at_ns,
            request_id=event.request_id,
            attempt=event.attempt,
            tenant=event.tenant,
            principal=event.principal,
            key_id=event.key_id,
            deployment=event.deployment,
            provider=event.provider,
            model=event.model,
            policy=event.policy,
            source=decided.signals.source,
            boundary=decided.boundary,
            declared=() if facts is None else (("local",) if facts.local else ()) + facts.geographies,
            peer=peer,
            region=region,
            outcome=settled.outcome if settled is not None else "open",
            verdict=verdict,
            clause=clause,
            observed=observed,
        )

    def _read(self, decision: msgspec.Raw) -> Decided | None:
        try:
            return _decided(decision)
        except msgspec.DecodeError:
            self.unread += 1
            return None


def _seen(settled: Settled | None) -> tuple[str, str]:
    """The address without its port, and the place; empty where nothing was seen."""
    if settled is None:
        return "", ""
    host = settled.upstream_peer.rpartition(":")[0].strip("[]")
    return host, settled.upstream_region
