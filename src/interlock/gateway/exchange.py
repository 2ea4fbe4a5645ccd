"""The life of one request, from the decision to the last byte, in the order of docs/design.md. It holds this order and
nothing else: reading and splicing formats is wire/, choosing is routing.py, framing and pools are http/.

    open    usage.opened goes to the journal
    send    only then do bytes go upstream
    relay   bytes come back, tapped for usage as they pass
    settle  usage.settled, exactly once an attempt, whatever happened
    next    before the client has seen a byte, a failed attempt is followed by the next candidate

Everything runs on the event loop's callbacks; nothing here waits.
"""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from interlock.errors import LocalError, LogUnavailable
from interlock.gateway import answer
from interlock.gateway.http import Failure, Head, ServerConnection, Ticket
from interlock.gateway.router import Routed
from interlock.gateway.signals import Signals
from interlock.gateway.wire import (
    ESTIMATE_RULE,
    Call,
    Reading,
    StreamTap,
    asking_usage,
    error_event,
    in_format,
    model_span,
    read_whole,
    with_model,
)
from interlock.identity import Key
from interlock.ledger import Format, Opened, Outcome, Settled, Source

if TYPE_CHECKING:
    from interlock.gateway.service import Gateway

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode

NEXT_AFTER = frozenset({401, 403, 404, 408, 429, 500, 502, 503, 504, 529})
"""Statuses after which another deployment may do better. Not 400 and 422: the request itself was refused, and a refusal
by a content filter is never routed around."""


class Exchange:
    """One request and its attempts."""

    def __init__(
        self,
        gateway: "Gateway",
        connection: ServerConnection,
        head: Head,
        body: bytes,
        call: Call,
        key: Key,
        signals: Signals,
        routed: Routed,
        request_id: str,
    ) -> None:
        self._gateway = gateway
        self._policy = gateway.policy  # a newer one does not change a call that has begun
        self._upstreams = gateway.upstreams
        self._client: ServerConnection | None = connection
        self._head = head
        self._body = body
        self._call = call
        self._key = key
        self._signals = signals
        self._routed = routed
        self.request_id = request_id
        self._ranked = [c.deployment for c in routed.route.candidates if c.rank]
        self._attempt = 0
        self._fresh = False
        self._ticket: Ticket | None = None
        self._open = False
        self._started = False
        self._total_deadline_s = gateway.loop.time() + gateway.policy.timeouts.total_s
        self.deadline_s = self._total_deadline_s
        """When `expire` is due, on the loop's clock."""

    @property
    def format(self) -> Format:
        """The client's wire format."""
        return self._call.format

    @property
    def deployment(self) -> str:
        """Where the attempt at hand goes."""
        return self._opened.deployment

    # open and send

    def next(self) -> None:
        """Open the next attempt. The caller has seen that a candidate is left."""
        deployment = self._policy.deployments[self._ranked[0]]
        self._attempt += 1
        self._begun_ns = self._gateway.clock.monotonic_ns()
        self._first_byte_ns = self._status = 0
        self._headers: Mapping[bytes, bytes] = {}
        self._peer = ""
        self._parts: list[bytes] = []
        self._size = 0
        self._tap: StreamTap | None = None
        self._upstream = self._upstreams[deployment.name]
        self._request, splices = self._spliced(deployment.model)
        opened = Opened(
            request_id=self.request_id,
            attempt=self._attempt,
            tenant=self._key.tenant,
            principal=self._key.principal,
            key_id=self._key.id,
            format=self._call.format,
            stream=self._call.stream,
            model_requested=self._call.model,
            tier=self._routed.route.tier,
            deployment=deployment.name,
            provider=deployment.provider,
            model=deployment.model,
            policy=self._routed.route.policy,
            input_estimate=self._call.input_estimate,
            estimate_rule=ESTIMATE_RULE,
            session=self._signals.session,
            mode=self._signals.mode,
            decision=msgspec.Raw(self._routed.decision(self._signals, splices)),
        )
        self._opened = opened
        self._open = True
        self._gateway.opened(f"{self.request_id}/{self._attempt}", _encode(opened), self._send)

    def _spliced(self, model: str) -> tuple[bytes, tuple[str, ...]]:
        body, splices = self._body, []
        if self._call.model != model:
            body = with_model(body, model_span(body, self._call.model), model)
            splices.append("model")
        if self._asks_usage:
            body = asking_usage(body, self._call)
            splices.append("stream_options.include_usage")
        return body, tuple(splices)

    @property
    def _asks_usage(self) -> bool:
        return self._call.format == "chat" and self._call.stream and not self._call.includes_usage

    def _send(self, error: LogUnavailable | None) -> None:
        if error is not None:
            self._open = False
            self._gateway.forget(f"{self.request_id}/{self._attempt}")
            self._refuse(LocalError(error.message, code=error.code))
        elif self._client is None:
            self._settle("cancelled", None, "")  # hung up while the record was written; nothing was sent
            self._gateway.closed(self, "cancelled")
        else:
            timeouts = self._policy.timeouts
            self._wait(timeouts.connect_s + timeouts.first_byte_s)
            try:
                request = self._upstream.request(self._call.format, self._head.headers, self._request)
                self._ticket = self._upstream.pool.request(request, self, fresh=self._fresh)
            except Exception:  # a defect of ours: the call must end, and be settled
                _log.exception("a request could not be sent")
                self._failed("internal", "a defect in Interlock; its log has more", sent=False)

    # relay: http.Sink

    def on_head(self, status: int, headers: Mapping[bytes, bytes], peer: str) -> None:
        """The upstream has begun to answer."""
        self._status, self._headers, self._peer = status, headers, peer
        self._first_byte_ns = self._gateway.clock.monotonic_ns() - self._begun_ns
        kind = headers.get(b"content-type", b"")
        encoding = headers.get(b"content-encoding", b"identity").lower()
        if encoding != b"identity":
            self._drop_upstream()
            self._failed("upstream_invalid", f"an answer in Content-Encoding {encoding!r}, not asked for", sent=True)
            return
        if status == 200 and self._call.stream and kind.startswith(b"text/event-stream"):
            self._tap = StreamTap(self._call.format, hide_usage=self._asks_usage)
            self._tap.opening = (f"msg_{self.request_id[4:]}", self._opened.model, self._call.input_estimate)
            self._tap.mends = self._opened.provider == "local"
        self._wait(self._policy.timeouts.idle_s)

    def on_data(self, data: bytes) -> None:
        """A part of the answer: streams pass at once, whole answers wait to be whole."""
        self._wait(self._policy.timeouts.idle_s)
        if self._tap is not None:
            self._forward(self._tap.feed(data))
            return
        self._size += len(data)
        self._parts.append(data)
        if self._size > self._policy.limits.answer_bytes:
            self._drop_upstream()
            self._failed("upstream_invalid", "the upstream's answer exceeds limits.answer_bytes", sent=True)

    def _forward(self, data: bytes) -> None:
        if data and self._client is not None:
            if not self._started:
                self._start(self._client)
            self._client.send(data)

    def _start(self, client: ServerConnection) -> None:
        self._started = True
        client.start(200, self._lines())

    def _lines(self, *, besides: bytes = b"") -> bytes:
        own = answer.own_headers(self.request_id, self._routed.route.tier, self.deployment)
        return answer.passed_headers(self._headers, besides) + own

    def on_end(self) -> None:
        """The upstream's answer is complete by its framing; whether it is by its format is asked here."""
        self._ticket = None
        if self._tap is not None:
            self._end_stream(self._tap)
        else:
            self._end_whole(b"".join(self._parts))

    def _end_stream(self, tap: StreamTap) -> None:
        self._forward(tap.finish())
        if not tap.complete and not tap.errored:  # an error of its own has been passed on, and is the end
            self._failed("upstream_closed", "the upstream ended its stream before the answer was complete", sent=True)
            return
        code = "upstream_error" if tap.errored else ""
        self._settle("failed" if code else "completed", tap, code)
        if self._client is not None:
            if not self._started:
                self._start(self._client)
            self._client.end()
        self._gateway.closed(self, code or "ok")

    def _end_whole(self, body: bytes) -> None:
        if self._status >= 400:
            code = "upstream_auth" if self._status in (401, 403) else "upstream_error"
            self._settle("failed", None, code)
            if self._status in NEXT_AFTER and self._another():
                return
            if code == "upstream_auth":  # passed on, it would tell the client that its own key is wrong
                why = f"the upstream {self.deployment!r} refused the gateway's credential ({self._status})"
                self._refuse(LocalError(why, code=code))
                return
            self._answer(code, in_format(self.format, self._status, body, self.request_id))
            return
        reading = read_whole(self._call.format, body)
        if not reading.complete or self._status >= 300:
            what = "is not a whole JSON object" if self._status < 300 else f"is a redirection ({self._status})"
            self._failed("upstream_invalid", f"the upstream's answer {what}", sent=True)
            return
        # Answered once it is written down: with all that end in this tick, so that their clients are woken together.
        outcome: Outcome = "failed" if reading.errored else "completed"
        error = "upstream_error" if reading.errored else ""
        self._settle(outcome, reading, error, then=lambda: self._answer("ok", body))

    def _answer(self, code: str, body: bytes) -> None:
        if self._client is not None:
            lines = self._lines() if code == "ok" else answer.JSON + self._lines(besides=b"content-type")
            self._client.respond(self._status, lines, body)
        self._gateway.closed(self, code)

    def on_failed(self, failure: Failure) -> None:
        """There will be no (more) answer."""
        self._ticket = None
        self._fresh = failure.stale
        if failure.code == "upstream_unreachable":
            self._gateway.unreachable(self.deployment)
        self._failed(failure.code, failure.message, sent=failure.sent and not failure.stale, again=failure.stale)

    # settle and next

    def _failed(self, code: str, message: str, *, sent: bool, again: bool = False) -> None:
        unread = Reading(self._call.format) if code == "internal" else None  # reading it may be what went wrong
        self._settle(
            "truncated" if self._first_byte_ns else "failed", (unread or self._so_far()) if sent else None, code
        )
        if self._started:
            self._break_off(code, message)
        elif not self._another(again=again):
            self._refuse(LocalError(f"{self.deployment}: {message}", code=code))

    def _another(self, *, again: bool = False) -> bool:
        """Go on with the next candidate (`again`: with the same), if there is one and somebody still waits."""
        if not again:
            self._fresh = False
            self._ranked.pop(0)
        if self._client is None or not self._ranked or self._gateway.loop.time() >= self._total_deadline_s:
            return False
        self.next()
        return True

    def _so_far(self) -> Reading:
        """What can be read from an answer that will not be whole."""
        return self._tap or read_whole(self._call.format, b"".join(self._parts))

    def _settle(
        self, outcome: Outcome, reading: Reading | None, error: str, then: Callable[[], None] | None = None
    ) -> None:
        """Write down what became of the attempt at hand; once. `reading` None: the upstream never took the call."""
        if not self._open:
            return
        self._open = False
        usage, source, rule = self._figures(reading)
        reading = reading or Reading(self._call.format)
        settled = Settled(
            request_id=self.request_id,
            attempt=self._attempt,
            outcome=outcome,
            usage=usage,
            source=source,
            rule=rule,
            raw=msgspec.Raw(_one_line(reading.raw)),
            http_status=self._status,
            error=error,
            finish_reason=reading.finish_reason,
            upstream_id=reading.upstream_id,
            upstream_model=reading.upstream_model,
            upstream_peer=self._peer,
            repaired=self._tap.repaired if self._tap is not None else "",
            first_byte_ns=self._first_byte_ns,
            duration_ns=self._gateway.clock.monotonic_ns() - self._begun_ns,
        )
        self._gateway.settled(f"{self.request_id}/{self._attempt}", self.deployment, settled, then)

    def _figures(self, reading: Reading | None) -> tuple[dict[str, int], Source, str]:
        """(usage, source, rule): reported if the provider said it, else by rules that are named."""
        if reading is None:
            return {}, "none", ""
        if reading.source == "reported":
            return reading.usage, "reported", ""
        usage, rule = reading.estimate()
        if reading.source == "counted":
            return usage, "counted", rule
        return {"input": self._call.input_estimate, **usage}, "estimated", f"{ESTIMATE_RULE}+{rule}"

    def _refuse(self, error: LocalError) -> None:
        if self._client is not None:
            lines = answer.own_headers(self.request_id, self._routed.route.tier, self.deployment)
            self._client.respond(*self._gateway.error_for(self.format, error, self.request_id, lines))
        self._gateway.closed(self)

    def _break_off(self, code: str, message: str) -> None:
        """The client has seen a part: end with the format's own error event, so that it cannot pass for complete."""
        if self._client is not None:
            self._client.send(
                error_event(
                    self._call.format,
                    status=LocalError(message, code=code).status,
                    code=code,
                    message=message,
                    request_id=self.request_id,
                    tap=self._tap,
                )
            )
            self._client.end()
        self._gateway.closed(self, code)

    # what may happen at any time: http.Running, and the sweep

    def cancel(self) -> None:
        """The client hung up: stop the upstream now, keep what was consumed."""
        self._client = None
        if self._ticket is not None:
            sent = self._ticket.connection is not None
            self._drop_upstream()
            # OpenAI's SDK closes at `data: [DONE]`, before the last chunk of the framing: that is no hang-up.
            whole = self._tap is not None and self._tap.complete and not self._tap.errored
            self._settle("completed" if whole else "cancelled", self._so_far() if sent else None, "")
            self._gateway.closed(self, "ok" if whole else "cancelled")

    def pause(self) -> None:
        """The client reads slowly: so do we, and the upstream's silence is not its fault."""
        self.deadline_s = self._total_deadline_s
        if self._ticket is not None and self._ticket.connection is not None:
            self._ticket.connection.pause()

    def resume(self) -> None:
        """The client has caught up."""
        self._wait(self._policy.timeouts.idle_s)
        if self._ticket is not None and self._ticket.connection is not None:
            self._ticket.connection.resume()

    def expire(self) -> None:
        """A deadline has passed."""
        if self._ticket is None:
            return  # between a write of the journal and its `done`, in this tick: the next sweep acts, if need be
        what = "total_s" if self.deadline_s >= self._total_deadline_s else "idle_s" if self._status else "first_byte_s"
        self._drop_upstream()
        self._failed("upstream_timeout", f"the upstream was silent past timeouts.{what}", sent=True)

    def _wait(self, seconds: float) -> None:
        self.deadline_s = min(self._gateway.loop.time() + seconds, self._total_deadline_s)

    def _drop_upstream(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.cancel()


def _one_line(raw: bytes) -> bytes:
    """A provider's JSON as a record may hold it: some (OpenAI) print theirs over several lines."""
    return msgspec.json.format(raw, indent=-1) if raw.find(b"\n") >= 0 or raw.find(b"\t") >= 0 else raw
