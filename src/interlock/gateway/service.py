"""The gateway of one worker: what it holds, and what each path of the data port answers.

It admits, reads, decides and starts an `Exchange`; it owns what exchanges share (policy, upstreams, journal, counts).
It takes its adapters from whoever wires it (interlock.wiring), and does not know of processes.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

import msgspec

from interlock.caching import Cache, open_shelf
from interlock.clock import Clock
from interlock.errors import InterlockError, LocalError
from interlock.gateway import answer, doorway, records
from interlock.gateway.admission import Admission
from interlock.gateway.conversations import Conversations
from interlock.gateway.doorway import Doorway
from interlock.gateway.entry import Entry
from interlock.gateway.exchange import Exchange
from interlock.gateway.failure import Circuit
from interlock.gateway.http import Head, Pool, Running, ServerConnection
from interlock.gateway.limiting import Limiting
from interlock.gateway.listing import answer_models
from interlock.gateway.metering import Metering
from interlock.gateway.policy import Deployment, Limits, Policy
from interlock.gateway.ports import Admits, UsageJournal
from interlock.gateway.router import Router
from interlock.gateway.scanning import Scanner
from interlock.gateway.upstream import Place, Upstream, make_upstreams
from interlock.gateway.way import Way
from interlock.gateway.wire import Call, error_body
from interlock.gateway.withdrawal import Withdrawal, affected
from interlock.identity import Key
from interlock.ids import new_id
from interlock.ledger import Format
from interlock.limits import Denied, Limiter

FORMATS: Mapping[str, Format] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    # the same without the version, for clients whose base URL is given without it
    "/chat/completions": "chat",
    "/responses": "responses",
    "/messages": "messages",
    "/v1/embeddings": "embeddings",
    "/embeddings": "embeddings",
    "/v1/messages/count_tokens": "count_tokens",
    "/messages/count_tokens": "count_tokens",
}
_log = logging.getLogger(__name__)
JUDGED_EARLY_BYTES = 64 * 1024
"""Bodies from this size on are only read for a key that was admitted."""


class Gateway:
    """Everything a worker needs to answer. Attributes are read by exchanges; only methods change them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        directory: Admits,
        journal: UsageJournal,
        policy: Policy | None,
        catch_up: Callable[[], None],
        limiter: Limiter,
        conversations: Conversations | None = None,
        region: str = "",
        session_secret: Callable[[], bytes] | None = None,
        door: str = "",
    ) -> None:
        """
        Args:
            catch_up: called before each decision: it adopts a newer policy if there is one (`adopt`).
            limiter: counts what calls use, on the machine's page.
            conversations: shared with other workers; None: this gateway's own.
            region: where it is; empty: not known.
            session_secret: what tokens of sessions are signed with; None: none is let in.
            door: the socket of the process that serves /mcp; empty: there is none.
        """
        self.loop = loop
        self.clock = clock
        self.region = region
        self.draining = False
        self.connections: set[ServerConnection] = set()
        self.held_bytes = 0
        self.limits = Limits()
        self.policy: Policy
        self.upstreams: dict[str, Upstream] = {}
        self.not_ready: dict[str, str] = {}
        self.requests: Counter[tuple[str, str]] = Counter()
        """Answered, by format and error code (`ok` if there was none)."""
        self.metering = Metering(clock, journal)
        self.conversations = conversations or Conversations()
        """Where they are."""
        self.exchanges: set[Exchange] = set()
        self.cache = Cache(clock, self.spawn)
        self.circuits: dict[str, Circuit] = {}
        """One a deployment, kept from policy to policy."""
        self.resting: dict[str, str] = {}
        """Deployments that are better left alone just now, and why."""
        self.withdrawn: dict[str, str] = {}
        """Deployments of the policy that the operator lets nobody use, and why."""
        self._withdrawals: Collection[Withdrawal] = ()
        self._tasks: set[asyncio.Task[None]] = set()
        self.has_policy = False
        self.directory = directory
        self.admission = Admission(self, session_secret)
        self.doorway = Doorway(loop, self, self.admission, door)
        self.journal = journal
        self.router: Router
        """By the policy and what is ready now."""
        self.catch_up = catch_up
        self.limiting = Limiting(limiter, clock, loop, self.spawn)
        self.scanner: Scanner
        self._pools: dict[Place, Pool] = {}
        self._faults: dict[str, str] = {}
        self._loading: dict[str, str] = {}
        if policy is not None:
            self.adopt(policy)

    # policy and readiness

    def adopt(self, policy: Policy, withdrawals: Collection[Withdrawal] = ()) -> None:
        """Decide by `policy` from now on; what runs goes on under the one it began with, but sends nothing more to who
        is withdrawn."""
        if not self.has_policy or policy.breaker != self.policy.breaker:
            self.circuits = {}
        self.policy = policy
        self._withdrawals = withdrawals
        self.withdrawn = affected(policy.deployments, withdrawals)
        self.limits = policy.limits
        self.upstreams, self._faults = make_upstreams(self.loop, policy, self._pools, self.clock)
        self.circuits = {name: self.circuits.get(name) or Circuit(policy.breaker) for name in policy.deployments}
        self._adopt_cache(policy)
        self.scanner = Scanner(policy)
        self.limiting.adopt(policy)
        self.has_policy = True
        self.conversations.know([*policy.deployments, *(d.family for d in policy.deployments.values())])
        self._update_ready()

    def _adopt_cache(self, policy: Policy) -> None:
        """What no rule keeps any more is let go of at once. A server that cannot be used costs nothing but hits."""
        caches = any(rule.cache for rule in policy.rules)
        settings = policy.cache if caches else msgspec.structs.replace(policy.cache, url="", memory_bytes=0)
        try:
            shelf = (
                self.cache.shelf
                if settings == self.cache.settings and self.cache.shelf
                else open_shelf(settings, self.loop.time)
            )
        except (LocalError, OSError) as error:
            _log.warning("the cache's server is not used: %s", error)
            shelf = None
        self.cache.adopt(settings, shelf)

    def set_loading(self, deployment: str, why: str) -> None:
        """`why` a deployment cannot serve yet; empty: it can."""
        if why == self._loading.get(deployment, ""):
            return
        if why:
            self._loading[deployment] = why
        else:
            del self._loading[deployment]
        self._update_ready()

    def _update_ready(self) -> None:
        self.not_ready = {**self._loading, **self._faults}
        if self.has_policy:
            now_s = self.loop.time()
            self.resting = {name: why for name, circuit in self.circuits.items() if (why := circuit.refusal(now_s))}
            self.router = Router(self.policy, self.not_ready, self.resting, self.withdrawn)

    def circuits_moved(self) -> None:
        """A circuit may have opened or closed: if so, routes change."""
        now_s = self.loop.time()
        resting = {name for name, circuit in self.circuits.items() if circuit.wait_s(now_s) > 0.0}
        if resting != self.resting.keys():
            self._update_ready()

    def lets(self, deployment: str) -> bool:
        """Whether a deployment may be tried where nobody better is left. What merely asked for a pause may."""
        if deployment in self.withdrawn:
            return False
        circuit = self.circuits.get(deployment)  # a newer policy may not have it
        return circuit is None or circuit.state == "closed" or circuit.wait_s(self.loop.time(), alone=True) <= 0.0

    def denied(self, exchange: Exchange, denied: Denied) -> tuple[LocalError, bytes]:
        """What a call is told that limits let no candidate take, and header lines. A candidate of the plan that cannot
        serve just now is told instead of the others, which the plan does not hold: the client may come again."""
        if denied.reason == "not_entitled":
            for one in exchange.way.routed.route.candidates:
                name, why = one.deployment, one.refused if one.stage == "ready" else ""
                if one.rank and not self.lets(name):
                    why = self.resting.get(name, one.resting)
                if why and self.limiting.lets(exchange.way.key.tenant, exchange.policy.deployments[name].model):
                    return LocalError(f"{name}: {why}", code="not_ready"), b"retry-after: 1\r\n"
        return self.limiting.error(exchange.format, denied)

    def stops(self, deployment: Deployment, key: Key) -> str:
        """Why nothing may be sent to a deployment, of any policy, any more; empty: it may. Asked just before a send."""
        accepted = self.directory.agreements(key) if deployment.facts.agreements else ()
        for agreement in deployment.facts.agreements:
            if agreement not in accepted:
                return f"agreement {agreement} is not accepted by the tenant any more"
        if deployment is self.policy.deployments.get(deployment.name):
            return self.withdrawn.get(deployment.name, "")
        return affected({deployment.name: deployment}, self._withdrawals).get(deployment.name, "")

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something beside the loop's callbacks; it is awaited by nobody, and ends by itself."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def unready(self) -> list[str]:
        """Why calls would be refused now; empty: ready."""
        reasons = [] if self.has_policy else ["no policy has been adopted yet"]
        if self.draining:
            reasons.append("draining")
        if not self.journal.writable or self.metering.unwritten:
            reasons.append("the usage journal cannot be written")
        if self.has_policy and not set(self.policy.deployments) - set(self.not_ready):
            reasons.extend(f"deployment {name}: {why}" for name, why in sorted(self.not_ready.items()))
        return reasons

    # http.Handler

    def judge(self, head: Head) -> LocalError | None:
        """Refuse what need not be read. Admission itself is in `begin`: the key may be revoked while a body arrives."""
        format = FORMATS.get(head.path)
        if head.path == doorway.PATH:
            return self.doorway.judge(head)
        if format is None:
            return None if head.length == 0 else _not_here(head)
        if head.method != "POST":
            return LocalError(f"{head.path} takes POST, not {head.method}", code="method_not_allowed")
        kind = head.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            found = kind.decode("latin-1") or "none"
            return LocalError(f"content-type must be application/json, not {found}", code="unsupported_media_type")
        if head.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            return LocalError("a compressed body is not read: send it as it is", code="unsupported_media_type")
        if head.length == 0:
            return LocalError("a JSON body is needed", code="length_required")
        if head.length is None or head.length >= JUDGED_EARLY_BYTES:
            admitted = self.admission.admit(head)
            return admitted if isinstance(admitted, LocalError) else None
        return None

    def begin(self, connection: ServerConnection, head: Head, body: bytes) -> Running | None:
        """Answer a whole request."""
        format = FORMATS.get(head.path)
        request_id = new_id("req", self.clock.now_ns())
        try:
            if format is not None:
                return Entry(self, connection, head, body, format, request_id).begin()
            if head.path == doorway.PATH:
                return self.doorway.begin(connection, head, body)
            self._answer_other(connection, head)
        except InterlockError as error:
            lines = answer.own_headers(request_id)
            connection.respond(
                *(self.error_for(format, error, request_id, lines) if format else self.error(head, error))
            )
        return None

    def error(self, head: Head | None, error: InterlockError) -> tuple[int, bytes, bytes]:
        """An error before a request could be begun."""
        request_id = new_id("req", self.clock.now_ns())
        format = FORMATS.get(head.path, "chat") if head is not None else "chat"
        if head is not None and format == "chat" and b"anthropic-version" in head.headers:
            format = "messages"
        return self.error_for(format, error, request_id, answer.own_headers(request_id))

    def refused(self, request_id: str, call: Call, way: Way, error: LocalError) -> None:
        """Write down a call that nobody may serve, or can."""
        refused = records.refused(request_id, way.key, way.signals(call), way.routed, error)
        self.journal.stage(f"{request_id}/refused", "usage.refused", self.clock.now_ns(), msgspec.json.encode(refused))

    def error_for(
        self, format: Format, error: InterlockError, request_id: str, lines: bytes
    ) -> tuple[int, bytes, bytes]:
        """(status, header lines, body) in the client's format; counted."""
        status = error.status
        self.requests[format, error.code] += 1
        body = error_body(
            format, status=status, code=error.code, message=error.message, request_id=request_id, field=error.field
        )
        retry = b"retry-after: 1\r\n" if status == 503 else b""
        return status, answer.JSON + (b"" if b"retry-after:" in lines else retry) + lines, body

    def _answer_other(self, connection: ServerConnection, head: Head) -> None:
        """Everything but the calls."""
        if head.method not in ("GET", "HEAD"):
            connection.respond(*self.error(head, _not_here(head)))
        elif head.path == "/healthz":
            connection.respond(200, answer.JSON, b'{"status":"ok"}\n')
        elif head.path == "/readyz":
            self.catch_up()
            reasons = self.unready()
            status = "not_ready" if reasons else "degraded" if self.not_ready or self.resting else "ready"
            state = {"status": status, "reasons": reasons, "not_ready": self.not_ready, "resting": self.resting}
            connection.respond(503 if reasons else 200, answer.JSON, msgspec.json.encode(state) + b"\n")
        elif head.path.startswith(("/v1/models", "/models")):
            self._answer_models(connection, head)
        else:
            connection.respond(*self.error(head, _not_here(head)))

    def _answer_models(self, connection: ServerConnection, head: Head) -> None:
        admitted = self.admission.admit(head)
        self.catch_up()
        if isinstance(admitted, LocalError):
            connection.respond(*self.error(head, admitted))
        elif not self.has_policy:
            connection.respond(*self.error(head, LocalError("no policy yet; retry", code="not_ready")))
        else:
            try:
                body = answer_models(self.policy, head, self.limiting.entitled(admitted.key.tenant))
            except LocalError as error:
                connection.respond(*self.error(head, error))
            else:
                connection.respond(200, answer.JSON, body)

    # what exchanges tell

    def closed(self, exchange: Exchange, code: str = "") -> None:
        """The exchange has ended, and its answer was not an error of ours (those are counted where they are made)."""
        self.exchanges.discard(exchange)
        if code:
            self.requests[exchange.format, code] += 1

    def unreachable(self, deployment: str) -> None:
        """A connection could not be made; a deployment that is watched is not ready until it answers again."""
        if deployment in self.policy.deployments and self.policy.deployments[deployment].provider == "local":
            self.set_loading(deployment, "the local model does not answer")

    # time

    def sweep(self) -> None:
        """Act on what is overdue. Called a few times a second: coarse deadlines cost nothing a request."""
        now_s = self.loop.time()
        for connection in [c for c in self.connections if 0.0 < c.deadline_s <= now_s]:
            connection.expire()
        for exchange in [e for e in self.exchanges if e.deadlines.due_s <= now_s]:
            exchange.expire()
        for pool in self._pools.values():
            pool.sweep(now_s)
        self.doorway.sweep(now_s)
        if self.resting:
            self.circuits_moved()
        self.metering.write_rest()
        self.cache.sweep()

    def drain(self) -> None:
        """Take no new work; idle connections close now, others after their answer."""
        self.draining = True
        self.doorway.drain()
        for connection in list(self.connections):
            connection.drain()

    def close(self) -> None:
        """Give up the connections to upstreams."""
        for task in self._tasks:
            task.cancel()
        self.doorway.close()
        for pool in self._pools.values():
            pool.close()

    @property
    def drained(self) -> bool:
        """Nothing is left to answer or to write."""
        return not self.exchanges and not self.connections and not self.metering.unwritten


def _not_here(head: Head) -> LocalError:
    there = ", ".join(path for path in (*FORMATS, "/v1/models") if path.startswith("/v1/"))
    return LocalError(f"{head.method} {head.path[:200]}: no such endpoint; there are {there}", code="not_found")
