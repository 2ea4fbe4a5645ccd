"""One attempt at one deployment: opened, sent, relayed, settled, in this order and each once.

What is put to the upstream is plan.py, what comes back relay.py. It tells its exchange what happened; who is next, and
what the client hears, is decided there.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING

from interlock.errors import CODES, InterlockError, LogUnavailable, RemoteError
from interlock.gateway import records
from interlock.gateway.http import Failure, Ticket
from interlock.gateway.lesson import Lesson
from interlock.gateway.limiting import without_theirs
from interlock.gateway.plan import Plan
from interlock.gateway.policy import Deployment
from interlock.gateway.relay import Relay
from interlock.gateway.signals import ARGUMENTS_HEADER
from interlock.gateway.translate import Voice, translate_whole
from interlock.gateway.translate.neutral import Envelope, Failed
from interlock.gateway.upstream import Upstream
from interlock.gateway.wire import Reading, read_whole
from interlock.ledger import Outcome
from interlock.limits import Denied, Held

if TYPE_CHECKING:
    from interlock.gateway.exchange import Exchange

_log = logging.getLogger(__name__)
_DEFECT = "a defect in Interlock; its log has more"


class Attempt:
    """An http.Sink, and what is known of the answer so far."""

    def __init__(
        self,
        exchange: "Exchange",
        number: int,
        deployment: Deployment,
        upstream: Upstream,
        plan: Plan,
        request: bytes,
        besides: Collection[int],
    ) -> None:
        """`request`: the body as the provider takes it; `besides`: credentials that this call has tried in vain."""
        gateway = exchange.gateway
        self._exchange = exchange
        self._gateway = gateway
        self._id = f"{exchange.request_id}/{number}"
        self._number = number
        self._request = request
        self._fresh = False
        self._open = False
        self._begun_ns = gateway.clock.monotonic_ns()
        self._first_byte_ns = self._size = 0
        self._peer = ""
        self._parts: list[bytes] = []
        self.deployment = deployment
        self.upstream = upstream
        self.plan = plan
        self.key = upstream.pick_key(gateway.loop.time(), besides)
        """Which of the deployment's credentials is used."""
        self.lesson = Lesson(gateway, exchange.circuits[deployment.name], upstream.keys, self.key)
        """What its end says of the deployment."""
        self.voice: Voice | None = None
        """Whom a translated stream is told to."""
        self.ticket: Ticket | None = None
        self.held_to: Held | None = None
        """What limits hold for it."""
        self.asking = False
        """A login is being asked for."""
        self.status = 0
        self.headers: Mapping[bytes, bytes] = {}
        self.relay: Relay | None = None
        self.held = bytearray()
        """What the stream has said before its first word."""
        self.cost: dict[str, int] = {}
        """Usage as it was settled."""

    # open and send

    def open(self, *, fresh: bool) -> None:
        """Write `usage.opened`, then send. `fresh`: not on a connection that was used before."""
        limiting, exchange = self._gateway.limiting, self._exchange
        self._fresh = fresh
        if limiting.active and exchange.call.format not in records.UNMETERED:
            claim = limiting.claim(self._id, self._number == 1, exchange.call, exchange.way, self.deployment)
            limiting.admit(claim, self._admitted)
        else:
            self._write()

    def _admitted(self, outcome: Held | Denied) -> None:
        if isinstance(outcome, Denied):
            self._exchange.denied(outcome)
            return
        self.held_to = outcome
        self._write()

    def _write(self) -> None:
        exchange = self._exchange
        exchange.attempts, self._open = self._number, True
        record = exchange.way.opened(
            exchange.request_id, self._number, exchange.call, self.deployment, self.plan.splices
        )
        self._gateway.metering.opened(self._id, record, self._send)

    def _send(self, error: LogUnavailable | None) -> None:
        if error is not None:
            self._open = False
            self._gateway.metering.forget(self._id)
            if self.held_to is not None:
                self._gateway.limiting.release(self.held_to)
            self._exchange.not_opened(error)
            return
        login = self.upstream.login(self.key, self._exchange.call.stream, self._request)
        if login is None:
            self.asking = True
            self._gateway.spawn(self._fetch_login())
        else:
            self._dispatch(login)

    async def _fetch_login(self) -> None:
        try:
            login = await self.upstream.fetch_login(self.key, self._exchange.call.stream, self._request)
        except InterlockError as error:
            self._fail("upstream_auth", error.message, sent=False)
        except Exception:  # a defect of ours: nobody awaits this, so nobody else would end the call
            _log.exception("a login could not be fetched")
            self._fail("internal", _DEFECT, sent=False)
        else:
            self._dispatch(login)
        finally:
            self.asking = False

    def _dispatch(self, login: bytes) -> None:
        exchange = self._exchange
        if exchange.hung_up:
            self.settle("cancelled", None, "")  # while the record was written; nothing was sent
            exchange.ended("cancelled")
            return
        if why := self.stops():
            self._fail("withdrawn", why, sent=False)
            return
        exchange.sending()
        self.lesson.begin()
        try:
            request = self.upstream.request(
                self.plan.format, exchange.head.headers, self._request, login, exchange.call.stream
            )
            self.ticket = self.upstream.pool.request(request, self, fresh=self._fresh)
        except Exception:  # a defect of ours: the call must end, and be settled
            _log.exception("a request could not be sent")
            self._fail("internal", _DEFECT, sent=False)

    # relay: http.Sink

    def stops(self) -> str:
        """Why nothing may be sent any more, since the deployment was chosen; empty: it may."""
        return self._gateway.stops(self.deployment, self._exchange.way.key)

    def on_head(self, status: int, headers: Mapping[bytes, bytes], peer: str) -> None:
        """The upstream has begun to answer."""
        exchange = self._exchange
        limited = self.held_to is not None and bool(self.held_to.standings)
        self.status, self.headers, self._peer = status, without_theirs(headers) if limited else headers, peer
        self._first_byte_ns = self._gateway.clock.monotonic_ns() - self._begun_ns
        encoding = headers.get(b"content-encoding", b"identity").lower()
        if encoding != b"identity":
            self.drop()
            self._fail("upstream_invalid", f"an answer in Content-Encoding {encoding!r}, not asked for", sent=True)
            return
        if status == 200 and exchange.call.stream and self.upstream.streams(headers.get(b"content-type", b"")):
            dialect = self.upstream.dialect
            self.relay = Relay(
                self.plan, dialect.decoder(exchange.call.input_estimate) if dialect else None, self.voice
            )
            tap = self.relay.tap
            tap.opening = (f"msg_{exchange.request_id[4:]}", self.deployment.model, exchange.call.input_estimate)
            tap.mends = self.deployment.provider == "local"
        exchange.heard()

    def on_data(self, data: bytes) -> None:
        """A part of the answer: streams pass at once, whole answers wait to be whole."""
        relay = self.relay
        if relay is None:
            self._on_part(data)
            return
        try:
            data = relay.feed(data)
        except RemoteError as error:
            self.drop()
            self._fail("upstream_invalid", error.message, sent=True)
            return
        self._exchange.pass_on(self, relay, data)
        if relay.failure is not None:
            self.drop()
            self._report(relay.failure)
        elif relay.malformed:
            self.drop()
            self._fail("upstream_invalid", relay.malformed, sent=True)
        elif relay.tap.errored and self.held:  # before any word: what follows is not waited for
            self.drop()
            self._end_stream(relay)

    def _on_part(self, data: bytes) -> None:
        self._exchange.heard()
        self._size += len(data)
        self._parts.append(data)
        if self._size > self._exchange.policy.limits.answer_bytes:
            self.drop()
            self._fail("upstream_invalid", "the upstream's answer exceeds limits.answer_bytes", sent=True)

    def on_end(self) -> None:
        """The upstream's answer is complete by its framing; whether it is by its format is asked here."""
        self.ticket = None
        if self.relay is not None:
            self._end_stream(self.relay)
            return
        body = b"".join(self._parts)
        if self.upstream.dialect is not None:
            body = self.upstream.dialect.whole(self.status, body)
            self._parts = [body]
        if self.status >= 400:
            code = "upstream_auth" if self.status in (401, 403) else "upstream_error"
            self.settle("failed", None, code)
            said = f"the upstream answered {self.status}"
            self._exchange.failed(self, code, said, status=self.status, body=body)
        else:
            self._end_whole(body)

    def _end_stream(self, relay: Relay) -> None:
        exchange = self._exchange
        try:
            exchange.pass_on(self, relay, relay.finish())
        except RemoteError as error:
            self._fail("upstream_invalid", error.message, sent=True)
            return
        if relay.failure is not None:
            self._report(relay.failure)
        elif relay.malformed:
            self._fail("upstream_invalid", relay.malformed, sent=True)
        elif relay.tap.errored:  # passed on as it came, if the client has heard a word; and it is the end
            self.settle("failed", relay.tap, "upstream_error")
            exchange.stream_erred(self, relay)
        elif relay.complete:
            self.settle("completed", relay.tap, "")
            exchange.stream_ended(self)
        else:
            self._fail("upstream_closed", "the upstream ended its stream before the answer was complete", sent=True)

    def _end_whole(self, body: bytes) -> None:
        exchange = self._exchange
        reading = read_whole(self.plan.format, body)
        if not reading.complete or self.status >= 300:
            what = "is not a whole JSON object" if self.status < 300 else f"is a redirection ({self.status})"
            self._fail("upstream_invalid", f"the upstream's answer {what}", sent=True)
            return
        dropped: tuple[str, ...] = ()
        if self.translated or exchange.begun:  # begun: by a comment, so that only a stream may follow
            problem = self._unlike(reading)
            if not problem and self.plan.ask is not None:
                try:
                    body, dropped = translate_whole(body, self.plan.format, self.envelope())
                except RemoteError as broken:
                    problem = broken.message
            if problem:
                self._fail("upstream_error" if reading.errored else "upstream_invalid", problem, sent=True)
                return
        # Answered once it is written down: with all that end in this tick, so that their clients are woken together.
        outcome: Outcome = "failed" if reading.errored else "completed"
        error = "upstream_error" if reading.errored else ""
        self.settle(outcome, reading, error, then=lambda: exchange.answer(self, body, dropped))

    def _unlike(self, reading: Reading) -> str:
        """Why an answer cannot be put into the client's format."""
        if reading.errored:
            return f"the upstream answered with an error: {reading.error_type}"
        if self._exchange.call.stream:
            return "a whole answer, where a stream was asked for"
        return "" if reading.finish_reason else "the answer does not say how it ended"

    def on_failed(self, failure: Failure) -> None:
        """There will be no (more) answer."""
        self.ticket = None
        if self.relay is not None and self.relay.whole:
            self._end_stream(self.relay)
            return
        if failure.code == "upstream_unreachable":
            self._gateway.unreachable(self.deployment.name)
        sent = failure.sent and not failure.stale
        self._fail(failure.code, failure.message, sent=sent, again=failure.stale)

    @property
    def translated(self) -> bool:
        """Whether the client gets other bytes than the upstream's."""
        return self.plan.ask is not None or self.upstream.dialect is not None

    def envelope(self) -> Envelope:
        """What a translated answer says beside the model's words."""
        assert self.plan.ask is not None
        return Envelope(
            key=self._exchange.request_id[4:],
            created_at=self._gateway.clock.now_ns() // 1_000_000_000,
            ask=self.plan.ask,
            family=self.deployment.family,
            model=self.deployment.model,
            input_estimate=self._exchange.call.input_estimate,
            raw_arguments=self._exchange.head.headers.get(ARGUMENTS_HEADER) == b"raw",
        )

    # the end

    def _fail(self, code: str, message: str, *, sent: bool, status: int = 0, again: bool = False) -> None:
        unread = Reading(self.plan.format) if code == "internal" else None  # reading it may be what went wrong
        reading = (unread or self._so_far()) if sent else None
        self.settle("truncated" if self._first_byte_ns else "failed", reading, code)
        self.lesson.unsayable = self.relay is not None and self.relay.unsayable
        self._exchange.failed(self, code, message, status=status, again=again)

    def _report(self, failure: Failed) -> None:
        """A stream that is translated has broken, or reported an error."""
        code = failure.type if failure.type in CODES else "upstream_error"
        self._fail(code, failure.message or failure.type, sent=True, status=failure.status)

    def time_out(self, what: str) -> None:
        """A deadline has passed."""
        sent = self._sent
        self.drop()
        if self.relay is not None and self.relay.whole:
            self._end_stream(self.relay)
        else:
            self._fail("upstream_timeout", f"the upstream was silent past timeouts.{what}", sent=sent)

    def cancel(self) -> str:
        """The client hung up: stop the upstream now, keep what was consumed. What it is counted as."""
        sent = self._sent
        self.drop()
        # OpenAI's SDK closes at `data: [DONE]`, before the last chunk of the framing: that is no hang-up.
        whole = self.relay is not None and self.relay.whole
        self.settle("completed" if whole else "cancelled", self._so_far() if sent else None, "")
        self.lesson.unlearnt()
        return "ok" if whole else "cancelled"

    @property
    def _sent(self) -> bool:
        return self.ticket is not None and self.ticket.connection is not None

    def drop(self) -> None:
        """Nothing more is wanted of the upstream."""
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            ticket.cancel()

    def _so_far(self) -> Reading:
        """What can be read from an answer that will not be whole."""
        return self.relay.tap if self.relay is not None else read_whole(self.plan.format, b"".join(self._parts))

    def settle(
        self, outcome: Outcome, reading: Reading | None, error: str, then: Callable[[], None] | None = None
    ) -> None:
        """Write down what became of it; once. `reading` None: the upstream never took the call."""
        if not self._open:
            return
        self._open = False
        settled = records.settled(
            self._exchange.request_id,
            self._number,
            self._exchange.call,
            outcome,
            reading,
            error,
            status=self.status,
            peer=self._peer,
            region_header=self.deployment.facts.region_header,
            headers=self.headers,
            repaired=self.relay.repaired if self.relay is not None else "",
            first_byte_ns=self._first_byte_ns,
            duration_ns=self._gateway.clock.monotonic_ns() - self._begun_ns,
        )
        self.cost = settled.usage
        gateway, exchange = self._gateway, self._exchange
        if outcome == "completed" and exchange.conversation is not None:
            now_ns = gateway.clock.now_ns()
            gateway.conversations.move(
                exchange.conversation, self.deployment, exchange.call.messages, settled.usage, now_ns
            )
        exchange.settled = settled
        if self.held_to is not None and outcome == "completed":
            then = partial(gateway.limiting.settled, self.held_to, settled, self.deployment.price, then)
        elif self.held_to is not None:  # at once: another attempt of the call may want its place in this very tick
            gateway.limiting.settled(self.held_to, settled, self.deployment.price)
        gateway.metering.settled(self._id, self.deployment.name, settled, then)
