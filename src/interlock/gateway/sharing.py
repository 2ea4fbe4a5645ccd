"""A call whose answer is shared: kept from before, on its way to somebody else, or made for it and then kept.

A `Guest` is one client of such an answer. The one whose call is sent hears it as ever, and its exchange meters the
call; all others are written down as what they are: calls that no upstream saw, answered with that of another request
(`answer_of`), before they hear a word of it. Guests of a call that failed get its error, and a record of their own that
says so: each of them calling in its turn would be a storm on whoever is in trouble already.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from interlock.caching import (
    Flight,
    Head,
    Question,
    Seat,
    Told,
    key_of,
    members_of,
    read_directives,
    told_of,
    why_not,
)
from interlock.errors import LocalError, LogUnavailable
from interlock.gateway import answer, records
from interlock.gateway.exchange import Exchange
from interlock.gateway.http import Running
from interlock.gateway.ports import Client
from interlock.gateway.reuse import Reuse
from interlock.gateway.way import Way
from interlock.gateway.wire import Call
from interlock.ledger import Outcome

if TYPE_CHECKING:
    from interlock.gateway.entry import Entry

_ENDS = frozenset(
    [
        *("stop", "length", "tool_calls", "function_call"),  # chat
        *("end_turn", "max_tokens", "stop_sequence", "tool_use"),  # messages
        "completed",  # responses
    ]
)
"""Finish reasons of answers that may be kept: the model came to an end, or to the limit that it was given. What a
provider's filter or pause cut off may come otherwise next time."""
_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


def told_by(exchange: Exchange) -> Told:
    """What is known of the call that is made. `good` and `error` mean something once it is over."""
    settled = exchange.settled
    if settled is None:
        error = "limit_exceeded" if exchange.limits else "log_unavailable"
        return Told(
            request_id=exchange.request_id, deployment=exchange.deployment, error=error, limited=bool(exchange.limits)
        )
    ended_well = settled.finish_reason in _ENDS or exchange.format == "embeddings"
    joined = settled.attempt > 1 and exchange.call.stream and exchange.way.routed.route.on_cut == "continue"
    return Told(
        request_id=exchange.request_id,
        deployment=exchange.deployment,
        good=settled.outcome == "completed" and ended_well and not joined,
        error=settled.error,
        limited=bool(exchange.limits),
        usage=settled.usage,
        finish_reason=settled.finish_reason,
    )


class _Labelled:
    """A client whose answer gets more header lines."""

    def __init__(self, client: Client, lines: bytes) -> None:
        self._client = client
        self._lines = lines
        self.send, self.end = client.send, client.end

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        self._client.respond(status, headers + self._lines, body)

    def start(self, status: int, headers: bytes) -> None:
        self._client.start(status, headers + self._lines)


class Guest:
    """An http.Running towards its client, a caching.Listener towards the answer."""

    def __init__(self, entry: "Entry", call: Call, way: Way) -> None:
        self._entry = entry
        self._gateway = entry.gateway
        self._connection = entry.connection
        self._request_id = entry.request_id
        self._policy = entry.gateway.policy  # a newer one may not have the deployments any more
        self._call = call
        self._way = way
        self._attempt = f"{entry.request_id}/1"
        self._leads = False  # the call, if one is made, is its own
        self._how = ("", "")  # it is made, and why
        self._begun_ns = entry.gateway.clock.monotonic_ns()
        self._first_byte_ns = 0
        self._question: Question  # once it is begun, and may be answered from the cache
        self._seat: Seat | None = None
        self._told: Told | None = None  # since it was written down whose answer is given
        self._open = False  # it is being written down, or is, and not settled
        self._gone = False

    def begin(self, reuse: Reuse) -> Running:
        """Answer from the cache, or make the call and keep its answer; or make it as if there were no cache.

        Raises: LocalError: nobody can say the call, or what its tenant's plan entitles to.
        """
        entry, call, key = self._entry, self._call, self._way.key
        headers = entry.head.headers
        asked = read_directives(headers.get(b"cache-control", b""))
        members = members_of(entry.body)
        why = "no-store" if asked.no_store else "reasoning" if call.sealed else why_not(call.format, members)
        if why:
            self._count("bypass")
            return entry.send(_Labelled(self._connection, answer.cache_header("bypass", why)), call, self._way)
        self._question = Question(
            key_of(
                call.format,
                members,
                stream=call.stream,
                headers=headers,
                tenant=key.tenant,
                principal=key.principal if reuse.rule.share == "principal" else "",
                place=reuse.place + self._gateway.limiting.models(key.tenant),
            ),
            key.tenant,
            reuse.rule.ttl_s,
            asked,
            reuse.shelved,
        )
        self._ask()
        return self

    def _ask(self) -> None:
        question, cache = self._question, self._gateway.cache
        kept = cache.find(question)
        if kept is not None:
            self.whole(Head(200, kept.lines, False), kept.body, told_of(kept))
        elif (flight := cache.joinable(question)) is not None:
            self._seat = flight.join(self)
        else:
            self._leads = True
            self._how = ("bypass", "no-cache") if question.asked.no_cache else ("miss", "")
            self._seat = cache.send(question, self, self._lead)

    def _lead(self, flight: Flight) -> None:
        """Make the call, and tell the flight its answer."""

        def made(exchange: Exchange) -> None:
            flight.tell = lambda: told_by(exchange)

        self._count(self._how[0])
        try:
            flight.take(self._entry.send(flight, self._call, self._way, made))
        except Exception as failure:
            if not isinstance(failure, LocalError):  # a defect of ours, and nobody above us would tell the others
                _log.exception("a call could not be made")
                failure = LocalError("a defect in Interlock; its log has more", code="internal")
            error = failure
            flight.tell = lambda: Told(request_id=self._request_id, error=error.code)
            self._entry.refuse(flight, self._call, self._way, error)

    # caching.Listener

    def whole(self, head: Head, body: bytes, told: Told) -> None:
        """The answer is no stream."""
        if self._own(told):
            if not self._gone:
                self._connection.respond(head.status, head.lines + answer.cache_header(*self._how), body)
        elif told.limited:
            self._ask()  # it is nobody's limit but the caller's: this one's call is another
        elif head.status != 200:
            self._fail(head, body, told)
        else:
            self._write_down(
                told,
                lambda: self._settle(told, lambda: self._connection.respond(200, self._lines(head, told), body)),
            )

    def start(self, head: Head, told: Told, seat: Seat) -> None:
        """A stream begins."""
        self._seat = seat
        if self._own(told):
            self._connection.start(head.status, head.lines + answer.cache_header(*self._how))
            seat.open()
            return

        def begin() -> None:
            self._connection.start(head.status, self._lines(head, told))
            seat.open()

        self._write_down(told, begin)

    def send(self, data: bytes) -> None:
        """A part of the stream."""
        self._connection.send(data)

    def finish(self, told: Told) -> None:
        """The stream is over."""
        if self._told is not None:
            self._settle(told)
        self._connection.end()

    def broken_off(self) -> None:
        """It fell too far behind the others: what it heard must not look complete."""
        self._connection.abort()  # and then `cancel` is called

    # http.Running

    def cancel(self) -> None:
        """Its client hung up. Others may still be listening."""
        self._gone = True
        if self._seat is not None:
            self._seat.cancel()
        if self._told is not None and self._open:
            self._cancelled(self._told)

    def pause(self) -> None:
        """Its client reads slowly."""
        if self._seat is not None:
            self._seat.pause()

    def resume(self) -> None:
        """Its client has caught up."""
        if self._seat is not None:
            self._seat.resume()

    # what is written down of it

    def _own(self, told: Told) -> bool:
        return self._leads and not told.cached_at_ns

    def _lines(self, head: Head, told: Told) -> bytes:
        lines = answer.without_own(head.lines)
        lines += answer.own_headers(self._request_id, self._way.routed.route.tier, told.deployment)
        if not told.cached_at_ns:
            return lines + answer.cache_header("shared")
        age = max(self._gateway.clock.now_ns() - told.cached_at_ns, 0) // 1_000_000_000
        return lines + answer.cache_header("hit") + b"age: %d\r\n" % age

    def _write_down(self, told: Told, then: Callable[[], None]) -> None:
        """Write whose answer is given, then go on."""
        way, call = self._way, self._call
        deployments = self._policy.deployments  # it is in the key, so it is in them; if the server is to be believed
        deployment = deployments.get(told.deployment) or deployments[way.routed.route.winner]
        opened = records.answered(way.opened(self._request_id, 1, call, deployment, ()), told)

        def written(error: LogUnavailable | None) -> None:
            if error is not None:
                self._open = False
                self._gateway.metering.forget(self._attempt)
                self._refuse(error)
            elif self._gone:
                self._cancelled(told)
            else:
                self._told = told
                self._first_byte_ns = self._gateway.clock.monotonic_ns() - self._begun_ns
                self._count("hit" if told.cached_at_ns else "shared")
                then()

        self._open = True
        self._gateway.metering.opened(self._attempt, opened, written)

    def _settle(self, told: Told, then: Callable[[], None] | None = None) -> None:
        """It was given whole, or up to the end that the call came to; `then` follows once that is written."""
        self._end("truncated" if told.error else "completed", told, then)
        self._gateway.requests[self._call.format, told.error or "ok"] += 1

    def _cancelled(self, told: Told) -> None:
        self._end("cancelled", told, None)
        self._gateway.requests[self._call.format, "cancelled"] += 1

    def _end(self, outcome: Outcome, told: Told, then: Callable[[], None] | None) -> None:
        def written() -> None:
            if then is not None and not self._gone:
                then()

        self._open = False
        settled = records.given(
            self._request_id,
            outcome,
            told,
            first_byte_ns=self._first_byte_ns,
            duration_ns=self._gateway.clock.monotonic_ns() - self._begun_ns,
        )
        self._gateway.metering.given(self._attempt, settled, written)

    def _fail(self, head: Head, body: bytes, told: Told) -> None:
        """The call came to nothing, and with it this one."""
        gateway, format, code = self._gateway, self._call.format, told.error or "upstream_error"
        error = LocalError(f"the equal call {told.request_id}, whose answer this one waited for, failed", code=code)
        refused = records.refused(
            self._request_id, self._way.key, self._way.signals(self._call), self._way.routed, error
        )
        with contextlib.suppress(LogUnavailable):  # what failed for want of room is told all the same
            gateway.journal.stage(
                f"{self._request_id}/refused", "usage.refused", gateway.clock.now_ns(), _encode(refused)
            )
        gateway.requests[format, code] += 1
        self._count("shared")
        if not self._gone:
            self._connection.respond(head.status, self._lines(head, told), body)

    def _refuse(self, error: LogUnavailable) -> None:
        """It cannot be written down, so it is not answered."""
        if self._seat is not None:
            self._seat.cancel()
        if not self._gone:
            lines = answer.own_headers(self._request_id, self._way.routed.route.tier)
            said = LocalError(error.message, code=error.code)
            self._connection.respond(*self._gateway.error_for(self._call.format, said, self._request_id, lines))

    def _count(self, how: str) -> None:
        self._gateway.cache.answers[self._call.format, how] += 1
