"""The way of one call in: who calls, what is asked, where it may go; then its exchange, or why there is none.

A call that nobody may serve is written down as refused. What happens to one that is sent is exchange.py.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from interlock.errors import InterlockError, LocalError
from interlock.gateway import answer
from interlock.gateway.affinity import Held
from interlock.gateway.conversations import Conversation, conversation_key
from interlock.gateway.exchange import Exchange
from interlock.gateway.http import Head, Running, ServerConnection
from interlock.gateway.ports import Client
from interlock.gateway.routing import Route
from interlock.gateway.scanning import INLINE_BYTES_MAX
from interlock.gateway.sharing import Guest
from interlock.gateway.translate import CARRIER, TRANSLATED
from interlock.gateway.way import Caller, Way
from interlock.gateway.wire import ESTIMATE_RULE, Call, parse, read_document
from interlock.ledger import Format

if TYPE_CHECKING:
    from interlock.gateway.service import Gateway

_log = logging.getLogger(__name__)


class Entry:
    """One call, until it is an exchange. An http.Running while it waits to be one."""

    def __init__(
        self,
        gateway: "Gateway",
        connection: ServerConnection,
        head: Head,
        body: bytes,
        format: Format,
        request_id: str,
    ) -> None:
        self.gateway = gateway
        self.connection = connection
        self.head = head
        self.body = body
        self._format = format
        self._conversation: Conversation | None = None
        self._running: Running | None = None  # what it became, if it had to wait
        self._gone = self._paused = False
        self.request_id = request_id

    def begin(self) -> Running | None:
        """Begin its exchange; None: it was answered.

        Raises: InterlockError: it is not a call, or not one of somebody who may call.
        """
        gateway = self.gateway
        caller = self._caller()
        gateway.catch_up()
        if not gateway.has_policy:
            raise LocalError("no policy has been adopted yet; retry", code="not_ready")
        if gateway.draining:
            raise LocalError("the server is stopping; retry", code="draining")
        document = parse(self.body)
        call = read_document(self._format, document, len(self.body))
        if not gateway.scanner.asks(caller.boundaries):
            return self._decide(call, caller, ())
        if len(self.body) <= INLINE_BYTES_MAX:
            return self._decide(call, caller, gateway.scanner.scan(document))
        gateway.spawn(self._wait(self._scan(document, call, caller)))
        return self

    async def _scan(self, document: object, call: Call, caller: Caller) -> Running | None:
        """A long request, on another thread; then it goes on as any other."""
        found = await self.gateway.scanner.scan_aside(document)
        return None if self._gone else self._decide(call, caller, found)

    async def _wait(self, step: Awaitable[Running | None]) -> None:
        """What cannot be done at once; nobody above us answers what it raises."""
        try:
            self._running = await step
        except InterlockError as error:
            self._respond(error)
        except Exception:
            _log.exception("a call could not be begun")
            self._respond(InterlockError("a defect in Interlock; its log has more", code="internal"))
        if self._paused and self._running is not None:
            self._running.pause()

    def _respond(self, error: InterlockError) -> None:
        if self._gone:
            return
        lines = answer.own_headers(self.request_id)
        self.connection.respond(*self.gateway.error_for(self._format, error, self.request_id, lines))

    # http.Running

    def cancel(self) -> None:
        """The client hung up."""
        self._gone = True
        if self._running is not None:
            self._running.cancel()

    def pause(self) -> None:
        """The client reads slowly."""
        self._paused = True
        if self._running is not None:
            self._running.pause()

    def resume(self) -> None:
        """It reads on."""
        self._paused = False
        if self._running is not None:
            self._running.resume()

    # the decision

    def _decide(self, call: Call, caller: Caller, sensitive: tuple[str, ...]) -> Running | None:
        """Begin its exchange, by what was found in it; None: it was answered."""
        gateway = self.gateway
        way = caller.way(call, gateway.router, sensitive)
        conversation = self._conversation = self._goes_on(call, way)
        if conversation is not None and conversation.held is not None:
            way = self._kept(call, way, conversation.held, caller)
        error = self._unserved(way.routed.route, call.model)
        if error is None and self._format == "count_tokens" and not self._counts(way.routed.route.winner, call):
            self._estimate(call)
            return None
        try:
            if error is not None:
                raise error
            reuse = way.routed.reuse
            if reuse is None or self._format == "count_tokens":
                return self.send(self.connection, call, way)
            return Guest(self, call, way).begin(reuse)
        except LocalError as error:
            self.refuse(self.connection, call, way, error)
            return None

    def send(self, client: Client, call: Call, way: Way, made: Callable[[Exchange], None] | None = None) -> Exchange:
        """Begin the exchange; `made` is handed it before it begins.

        Raises: LocalError: nobody can say the call.
        """
        conversation = self._conversation
        exchange = Exchange(self.gateway, client, self.head, self.body, call, way, conversation, self.request_id)
        if made is not None:
            made(exchange)
        self.gateway.exchanges.add(exchange)
        try:
            exchange.next()
        except Exception:
            self.gateway.exchanges.discard(exchange)
            raise
        return exchange

    def _caller(self) -> Caller:
        """Who calls: as remembered, if the headers are those of the call before and nothing else has changed since."""
        caller, directory = self.connection.known, self.gateway.directory
        if isinstance(caller, Caller) and caller.headers == self.head.headers:
            if directory.stands(caller.key, caller.seq, self.gateway.clock.now_ns()):
                return caller
            self.connection.known = None
        admitted = self.gateway.admission.admit(self.head)
        if isinstance(admitted, LocalError):
            raise admitted
        key = admitted.key
        caller = Caller(
            self.head.headers,
            key,
            directory.seq,
            directory.boundaries(key),
            directory.agreements(key),
            self.gateway.region,
            admitted.session,
        )
        self.connection.known = caller
        return caller

    def _goes_on(self, call: Call, way: Way) -> Conversation | None:
        """The conversation that the call goes on with; None: it is none that an answer moves."""
        if not call.opening or call.format not in TRANSLATED:
            return None
        key = conversation_key(way.key.tenant, way.session(call), call.opening)
        return Conversation(key, self.gateway.conversations.find(key))

    def _kept(self, call: Call, way: Way, held: Held, caller: Caller) -> Way:
        """The way of a conversation that `held` says where it is."""
        if held.deployment == way.routed.route.winner:
            return way
        now_s = self.gateway.clock.now_ns() // 1_000_000_000
        routed = self.gateway.router.kept(way.routed, way.signals(call), held, now_s, caller.accepted)
        return way if routed is way.routed else way.rerouted(routed)

    def _unserved(self, route: Route, model: str) -> LocalError | None:
        """Why nobody may serve a call that takes this route."""
        if not route.winner:
            return LocalError(_why(route, model), code=route.code, field="model")
        resting, lets = self.gateway.resting, self.gateway.lets
        if route.winner in resting and not any(lets(name) for name in route.ranked):
            return LocalError(f"{route.winner}: {resting[route.winner]}", code="not_ready")
        return None

    def _counts(self, deployment: str, call: Call) -> bool:
        """Whether a deployment can count a body's tokens: not those of reasoning that only other families read."""
        return self.gateway.upstreams[deployment].counts_tokens and not (call.sealed and CARRIER in self.body)

    def _estimate(self, call: Call) -> None:
        """Tokens of a Messages request for a deployment that cannot count them: our own estimate, named as such."""
        lines = answer.own_headers(self.request_id) + f"x-interlock-estimate: {ESTIMATE_RULE}\r\n".encode()
        body = msgspec.json.encode({"input_tokens": call.input_estimate})
        self.connection.respond(200, answer.JSON + lines, body)
        self.gateway.requests["count_tokens", "ok"] += 1

    def refuse(self, client: Client, call: Call, way: Way, error: LocalError) -> None:
        """Nobody may serve it, or can: say why, to the client and in the log."""
        gateway, request_id = self.gateway, self.request_id
        gateway.refused(request_id, call, way, error)
        lines = answer.own_headers(request_id, way.routed.route.tier)
        client.respond(*gateway.error_for(call.format, error, request_id, lines))


def _why(route: Route, model: str) -> str:
    if route.code == "model_unknown":
        return f"no deployment or tier is called {model!r}, and the policy refuses unknown names"
    where = f"tier {route.tier!r}" if route.tier else f"deployment {model!r}"
    refusals = "; ".join(f"{c.deployment}: {c.refused}" for c in route.candidates)
    return f"{where} (rule {route.rule!r}) has nobody for this call: {refusals}"
