"""The life of one request, from the decision to the last byte, in the order of docs/design.md. It holds this order and
nothing else: choosing is routing.py, one attempt is attempt.py, what a fault leads to is failure/. Nothing here waits.

    open    usage.opened goes to the journal
    send    only then do bytes go upstream
    relay   bytes come back, tapped for usage as they pass
    settle  usage.settled, exactly once an attempt, whatever happened
    next    before the client has heard a word, a failed attempt is followed by the next candidate, then by another
            round of them; after it, only where the rule says `on_cut = "continue"`
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from interlock.errors import LocalError, LogUnavailable
from interlock.gateway import answer
from interlock.gateway.attempt import Attempt
from interlock.gateway.conversations import Conversation
from interlock.gateway.deadlines import Deadlines
from interlock.gateway.failure import Action, judge, retry_after_s, should_retry, wait_s
from interlock.gateway.http import Head
from interlock.gateway.plan import make_plan, needs_of
from interlock.gateway.ports import Client
from interlock.gateway.relay import Relay
from interlock.gateway.translate import Voice
from interlock.gateway.way import Way
from interlock.gateway.wire import Call, error_event, in_format
from interlock.ledger import Settled
from interlock.limits import Denied

if TYPE_CHECKING:
    from interlock.gateway.service import Gateway

HELD_BYTES_MAX = 256 * 1024
"""Of a stream that has not said a word yet; beyond, it is let through as it is."""
_log = logging.getLogger(__name__)
_COMMENT = b": keep-alive\n\n"


class Exchange:
    """One request and its attempts. An http.Running towards the client."""

    def __init__(
        self,
        gateway: "Gateway",
        client: Client,
        head: Head,
        body: bytes,
        call: Call,
        way: Way,
        conversation: Conversation | None,
        request_id: str,
    ) -> None:
        self.gateway = gateway
        self.policy = gateway.policy  # a newer one does not change a call that has begun
        self.head = head
        self.call, self.format = call, call.format
        self.way = way
        self.conversation = conversation
        self.request_id = request_id
        self._upstreams, self.circuits = gateway.upstreams, gateway.circuits
        self._client: Client | None = client
        self._body = body
        self._ranked = [name for name in way.routed.ranked if gateway.lets(name)]
        self._later: list[str] = []  # those whose fault may pass: for the next round
        self._pause_s: float | None = None  # the shortest that any of those asked for
        self._keys_tried: set[int] = set()
        self._round = 0
        self.attempts = 0  # so many were opened
        self._attempt: Attempt
        self.deployment = ""  # that of the last attempt
        self.settled: Settled | None = None  # what became of the last that is over
        self.limits = b""  # what is said of a limit that refused
        self._refusal: Denied | None = None  # the word of one
        self._voice: Voice | None = None
        self._joins = call.stream and way.routed.route.on_cut == "continue"
        self.begun = False  # the client has the head of a stream
        self._spoken = False  # … and a word of the answer
        self._final: Callable[[], None] | None = None  # what ends the call if nobody does better
        self.deadlines = Deadlines(self.policy.timeouts, gateway.loop.time(), stream=call.stream)
        """When `expire` is due."""

    @property
    def hung_up(self) -> bool:
        """Nobody waits for the answer any more."""
        return self._client is None

    def next(self, *, fresh: bool = False) -> None:
        """Open the next attempt. The caller has seen that a candidate is left.

        Raises: LocalError: none of those left can say the request; nothing was opened.
        """
        voice = self._voice if self._spoken else None
        while True:
            deployment = self.policy.deployments[self._ranked[0]]
            upstream = self._upstreams[deployment.name]
            needs = needs_of(self.call, deployment, self.policy, self.conversation, joins=self._joins)
            try:
                plan = make_plan(self.call, self._body, deployment, upstream.formats, needs, voice)
                request, left_out = upstream.encoded(plan.body, self.head.headers, self.call.stream)
                break
            except LocalError:
                self._ranked.pop(0)
                if not self._ranked:
                    raise
        if left_out:
            plan = plan.without(left_out)
        self.deployment = deployment.name
        self._attempt = Attempt(self, self.attempts + 1, deployment, upstream, plan, request, self._keys_tried)
        self._voice = None
        if plan.ask is not None and self.call.stream:
            self._voice = self._attempt.voice = voice or Voice(self._attempt.envelope(), joins=self._joins)
        self._attempt.open(fresh=fresh)

    def denied(self, denied: Denied) -> None:
        """A limit does not let the attempt through, so nothing was opened: somebody else may be under another."""
        if self._refusal is None or denied.reason != "not_entitled":  # what any other says may pass
            self._refusal = denied
        if self._another() or (self._final is not None and self._wait_for_round(self._final)):
            return
        if self._final is not None:  # what came before is the answer
            self._final()
            return
        error, self.limits = self.gateway.denied(self, self._refusal)
        self.gateway.refused(self.request_id, self.call, self.way, error)
        self._refuse(error)

    def not_opened(self, error: LogUnavailable) -> None:
        """The attempt could not be written down, so it was not sent."""
        self._refuse(LocalError(error.message, code=error.code))

    # what the attempt tells

    def sending(self) -> None:
        """The request is on its way."""
        self.deadlines.sent(self.gateway.loop.time())

    def heard(self) -> None:
        """The upstream is alive."""
        self.deadlines.heard(self.gateway.loop.time())
        if self.deadlines.paused and self._attempt.ticket is not None and self._attempt.ticket.connection is not None:
            self._attempt.ticket.connection.pause()  # it took over while the client did not read

    def pass_on(self, attempt: Attempt, relay: Relay, data: bytes) -> None:
        """A part of a stream. Until the first word it is held: so long another candidate may take the call."""
        if self._spoken:
            if data and self._client is not None:
                self._client.send(data)
        else:
            attempt.held += data
            tap = relay.tap
            if not tap.errored and (tap.spoken or tap.complete or len(attempt.held) > HELD_BYTES_MAX):
                self._let_go(attempt)
        self.deadlines.came(self.gateway.loop.time())

    def _let_go(self, attempt: Attempt) -> None:
        attempt.lesson.spoke()
        self._spoken = True
        self.deadlines.spoke()
        held, attempt.held = bytes(attempt.held), bytearray()
        if self._client is not None:
            if not self.begun:
                self._begin(self._client, answer.stream_headers(attempt.headers, attempt.translated))
            if held:
                self._client.send(held)

    def _begin(self, client: Client, lines: bytes) -> None:
        self.begun = True
        client.start(200, lines + self._own_lines())

    def _own_lines(self, dropped: tuple[str, ...] = ()) -> bytes:
        lines = answer.own_headers(self.request_id, self.way.routed.route.tier, self._attempt.deployment.name)
        lines += self.limits or self.gateway.limiting.lines(self.format, self._attempt.held_to)
        dropped = self._attempt.plan.dropped + dropped
        return lines + answer.dropped_header(dropped) if dropped else lines

    def stream_ended(self, attempt: Attempt) -> None:
        """The stream is complete."""
        attempt.lesson.worked()
        if self._client is not None:
            self._client.end()
        self.ended("ok")

    def stream_erred(self, attempt: Attempt, relay: Relay) -> None:
        """The stream, which passes as it is, ended with an error of the upstream's own."""
        status = answer.status_of(relay.tap.error_type)

        def say() -> None:
            if not self._spoken:
                self._let_go(attempt)
            if self._client is not None:
                self._client.end()
            self.ended("upstream_error")

        if self._spoken:
            attempt.lesson.judged(judge("upstream_error", status), "upstream_error", attempt.status, None)
            say()
        else:
            self._after(attempt, "upstream_error", status, say)

    def answer(self, attempt: Attempt, body: bytes, dropped: tuple[str, ...]) -> None:
        """A whole answer, settled."""
        attempt.lesson.worked()
        if self._client is not None:
            if attempt.plan.ask is None:
                lines = answer.passed_headers(attempt.headers)
            else:
                lines = answer.JSON + answer.passed_headers(attempt.headers, b"content-type")
            self._client.respond(attempt.status, lines + self._own_lines(dropped), body)
        self.ended("ok")

    def failed(
        self, attempt: Attempt, code: str, message: str, *, status: int = 0, again: bool = False, body: bytes = b""
    ) -> None:
        """The attempt failed and is settled.

        Args:
            status: HTTP's, or what an error within a stream stands for; 0: there was none.
            again: it never reached the upstream.
            body: of an error answer, in the format the upstream was spoken to in.
        """
        if again:
            attempt.lesson.unlearnt()
            if self._another(again=True):
                return
        if not self._spoken:
            self._after(attempt, code, status, lambda: self._say(attempt, code, message, body))
            return
        attempt.lesson.judged(fault := judge(code, status), code, attempt.status, None)
        self._final = lambda: self._break_off(attempt, code, message)  # also if limits let nobody go on
        if fault.action is Action.NEVER or not (self._joins and self._hand_over(attempt)):
            self._final()

    def _hand_over(self, attempt: Attempt) -> bool:
        """The client has heard a part: let the next candidate go on with it."""
        voice = self._voice
        if voice is None or not voice.can_go_on:
            return False
        voice.go_on(attempt.cost)
        return self._another()

    # who is next

    def _after(self, attempt: Attempt, code: str, status: int, final: Callable[[], None]) -> None:
        """The client has heard nothing of a failed attempt: go on, or end with `final`."""
        headers = attempt.headers
        pause_s = retry_after_s(headers, self.gateway.clock.now_ns() / 1e9) if status else None
        fault = judge(code, status, again=should_retry(headers) if status else None)
        attempt.lesson.judged(fault, code, attempt.status, pause_s)
        if fault.action is not Action.NEVER:
            if fault.key and self._another_key(attempt):
                return
            if fault.action is Action.AGAIN:
                self._later.append(attempt.deployment.name)
                self._pause_s = (pause_s or 0.0) if self._pause_s is None else min(self._pause_s, pause_s or 0.0)
            self._final = final
            if self._another() or self._wait_for_round(final):
                return
        final()

    def _another_key(self, attempt: Attempt) -> bool:
        """The credential was limited or refused: the deployment may have another."""
        self._keys_tried.add(attempt.key)
        return attempt.upstream.has_key(self.gateway.loop.time(), self._keys_tried) and self._another(again=True)

    def _another(self, *, again: bool = False) -> bool:
        """Go on with the next candidate (`again`: with the same), if there is one and somebody still waits."""
        if not again:
            self._ranked.pop(0)
            self._keys_tried.clear()
            while self._ranked and not self.gateway.lets(self._ranked[0]):
                self._ranked.pop(0)
        if self._client is None or not self._ranked or self.gateway.loop.time() >= self.deadlines.total_s:
            return False
        return self._opens(fresh=again)

    def _opens(self, *, fresh: bool = False) -> bool:
        try:
            self.next(fresh=fresh)
        except LocalError:  # nobody left can say it: what the others answered stands
            return False
        except Exception:  # a defect of ours, and nobody above us would end the call
            _log.exception("an attempt could not be made")
            return False
        return True

    def _wait_for_round(self, final: Callable[[], None]) -> bool:
        """All failed, and some of them in a way that may pass: try those again a little later, if that is allowed."""
        now_s = self.gateway.loop.time()
        left_s = self.deadlines.total_s - now_s
        wait = wait_s(self._round + 1, self._pause_s, self.request_id, self.policy.retries, left_s=left_s)
        if wait is None or self._client is None or not self._later:
            return False
        self._round += 1
        self._final = final
        self.deadlines.wait_for_round(now_s + wait)
        return True

    def _begin_round(self) -> None:
        self.deadlines.begin_round()
        self._ranked = [name for name in self._later if self.gateway.lets(name)]
        self._later, self._pause_s = [], None
        final = self._final
        assert final is not None
        if not (self._ranked and self._opens()):
            final()

    # the last word

    def _say(self, attempt: Attempt, code: str, message: str, body: bytes) -> None:
        """Nobody did better: the last failure is the answer."""
        if body and code != "upstream_auth" and not self.begun and self._client is not None:
            status = answer.client_status(attempt.status, self.format) if attempt.translated else attempt.status
            said = in_format(self.format, status, body, self.request_id, anew=attempt.translated)
            lines = answer.JSON + answer.passed_headers(attempt.headers, b"content-type")
            self._client.respond(status, lines + self._own_lines(), said)
            self.ended(code)
            return
        if code == "upstream_auth" and body:  # passed on, it would tell the client that its own key is wrong
            message = f"refused the gateway's credential ({attempt.status})"
        self._refuse(LocalError(f"{attempt.deployment.name}: {message}", code=code))

    def _refuse(self, error: LocalError) -> None:
        if self.begun:
            self._break_off(self._attempt, error.code, error.message)
            return
        if self._client is not None:
            self._client.respond(*self.gateway.error_for(self.format, error, self.request_id, self._own_lines()))
        self.ended("")

    def _break_off(self, attempt: Attempt, code: str, message: str) -> None:
        """The client has a part: end with the format's own error event, so that it cannot pass for complete."""
        status = LocalError(message, code=code).status
        if self._client is not None:
            if self._voice is not None:
                event = self._voice.fail(code, message, status)
            else:
                tap = attempt.relay.tap if attempt.relay is not None and self._spoken else None
                event = error_event(
                    self.format, status=status, code=code, message=message, request_id=self.request_id, tap=tap
                )
            if event:  # a writer that ended in an error of its own has nothing to add
                self._client.send(event)
            self._client.end()
        self.ended(code)

    def ended(self, code: str) -> None:
        """The exchange is over; `code` is empty if it was counted where the error was made."""
        self.gateway.closed(self, code)
        self._final = None
        vars(self).pop("_attempt", None)  # which knows its exchange: a ring would hold both bodies until a collection

    # what may happen at any time: http.Running, and the sweep

    def cancel(self) -> None:
        """The client hung up: stop the upstream now, keep what was consumed."""
        self._client = None
        if self._attempt.ticket is not None:
            self.ended(self._attempt.cancel())
        elif self.deadlines.waits_for_round:
            self.ended("cancelled")

    def pause(self) -> None:
        """The client reads slowly: so do we, and the upstream's silence is not its fault."""
        self.deadlines.pause()
        if self._attempt.ticket is not None and self._attempt.ticket.connection is not None:
            self._attempt.ticket.connection.pause()

    def resume(self) -> None:
        """The client has caught up."""
        self.deadlines.resume(self.gateway.loop.time())
        if self._attempt.ticket is not None and self._attempt.ticket.connection is not None:
            self._attempt.ticket.connection.resume()

    def expire(self) -> None:
        """A deadline may have passed."""
        now_s = self.gateway.loop.time()
        deadlines, attempt = self.deadlines, self._attempt
        if not deadlines.passed(now_s):
            return
        if deadlines.waits_for_round:
            if deadlines.round_due(now_s):
                self._begin_round()
                return
        elif attempt.ticket is None and not attempt.asking:
            return  # between a write of the journal and its `done`, in this tick: the next sweep acts, if need be
        elif attempt.ticket is not None and (overdue := deadlines.overdue(now_s, answering=attempt.status > 0)):
            attempt.time_out(overdue)
            return
        if deadlines.comment_due(now_s):
            self._keep_alive(now_s)

    def _keep_alive(self, now_s: float) -> None:
        """Tell the client, and whatever stands between, that the stream is not dead. Comments are no word."""
        if self._client is not None:
            if not self.begun:
                self._begin(self._client, answer.SSE)
            self._client.send(_COMMENT)
        self.deadlines.commented(now_s)
