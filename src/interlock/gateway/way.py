"""What the calls of one connection have in common: who calls, and the way that calls of one kind take.

It is remembered as long as it is sure to be the same, and no longer: whoever holds it asks so before each call
(service.py). A way holds the record of an attempt ready made but for its figures, because to build and to encode it
costs as much as to read the request; the bytes are those that the encoder gives.
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import msgspec

from interlock.gateway import records
from interlock.gateway.policy import Deployment
from interlock.gateway.router import Routed, Router
from interlock.gateway.signals import DERIVED, SESSION_HEADER, Signals, read_signals
from interlock.gateway.wire import INCLUDE_USAGE, MODEL, Call
from interlock.identity import Key

WAYS_MAX = 8
"""Remembered for one connection: clients choose models and sessions."""

_encode = msgspec.json.Encoder().encode
_PASSED = frozenset({(), (MODEL,), (INCLUDE_USAGE,), (MODEL, INCLUDE_USAGE)})
"""What is spliced into a body that passes. Translation lists what it left out, in names that clients make up."""


class Way:
    """A route, for the calls of one kind from one caller."""

    __slots__ = ("_base", "_derived", "_templates", "key", "routed")

    def __init__(self, key: Key, base: Signals, routed: Routed, *, derived: bool) -> None:
        """
        Args:
            base: signals of one such call; others differ in its figures, and in the conversation.
            derived: no client named the session: it is the conversation.
        """
        self.key = key
        self.routed = routed
        self._base = base
        self._derived = derived
        self._templates: dict[tuple[str, tuple[str, ...], bool], bytes] = {}

    def session(self, call: Call) -> str:
        """As on the signals."""
        return DERIVED + call.opening if self._derived else self._base.session

    def signals(self, call: Call) -> Signals:
        """As `read_signals`."""
        return msgspec.structs.replace(
            self._base,
            session=self.session(call),
            conversation=call.opening,
            input_tokens=call.input_estimate,
            output_tokens_max=call.max_output or 0,
        )

    def rerouted(self, routed: Routed) -> "Way":
        """The same call, another route."""
        return Way(self.key, self._base, routed, derived=self._derived)

    def opened(
        self, request_id: str, attempt: int, call: Call, deployment: Deployment, splices: tuple[str, ...]
    ) -> bytes:
        """`records.opened` as JSON. `request_id`: plain ASCII."""
        limit = call.max_output or 0
        kind = (deployment.name, splices, limit > 0)
        template = self._templates.get(kind)
        if template is None:
            record = records.opened(
                request_id, attempt, self.key, call, self.signals(call), self.routed, deployment, splices
            )
            encoded = _encode(msgspec.structs.replace(record, tool=""))
            if call.format not in records.UNMETERED and call.input_estimate and splices in _PASSED:
                made = _template(encoded, request_id, attempt, call, derived=self._derived)
                if made is not None:
                    self._templates[kind] = made
            return _naming(encoded, call.tool)
        size, opening = call.input_estimate, call.opening.encode()
        conversation = (opening, opening, opening) if self._derived else (opening,) if opening else ()
        limits = (limit,) if limit else ()
        return _naming(template % (request_id.encode(), attempt, size, *conversation, size, *limits), call.tool)


class Caller:
    """Who said `headers`, by the directory as it was at `seq`."""

    __slots__ = ("_era", "_told", "_ways", "accepted", "boundaries", "headers", "key", "seq", "source")

    def __init__(
        self,
        headers: Mapping[bytes, bytes],
        key: Key,
        seq: int,
        boundaries: tuple[str, ...],
        accepted: tuple[str, ...] = (),
        source: str = "",
        session: str = "",
    ) -> None:
        """
        Args:
            boundaries: names of the profiles that the key is under.
            accepted: agreements of its tenant.
            source: the region of this gateway.
            session: of a token, which no header overrules; empty: the headers tell.
        """
        self.headers = headers
        self._told = {**headers, SESSION_HEADER: session.encode()} if session else headers
        self.key = key
        self.seq = seq
        self.boundaries = boundaries
        self.accepted = accepted
        self.source = source
        self._era: object = None
        self._ways: dict[Any, Way] = {}

    def way(self, call: Call, router: Router, sensitive: tuple[str, ...] = ()) -> Way:
        """The way of a call with those headers, in which `sensitive` was found.

        Raises: LocalError: as `read_signals`.
        """
        if self._era is not router.era:
            self._era, self._ways = router.era, {}
        kind = (
            call.format,
            call.model,
            call.stream,
            call.tools,
            call.tool_result,
            call.images,
            call.reasoning,
            call.schema,
            call.chore,
            call.session,
            sensitive,
            call.opening if router.spreads else bool(call.opening),
            bisect_right(router.edges, call.input_estimate),
        )
        way = self._ways.get(kind)
        if way is None:
            signals = read_signals(call, self._told, self.key, self.source, sensitive)
            if len(self._ways) >= WAYS_MAX:
                self._ways.clear()
            derived = bool(call.opening and not call.session and SESSION_HEADER not in self._told)
            routed = router.route(signals, self.boundaries, self.accepted)
            way = self._ways[kind] = Way(self.key, signals, routed, derived=derived)
        return way


def _naming(opened: bytes, tool: str) -> bytes:
    """The record with its last member, which is another from call to call."""
    return b'%b,"tool":%b}' % (opened[:-1], _encode(tool)) if tool else opened


def _template(encoded: bytes, request_id: str, attempt: int, call: Call, *, derived: bool) -> bytes | None:
    """The record with places for id, attempt, two times the input, the conversation (with the session, which is made
    from it if it is `derived`) and, if there is one, the output limit. None: the client says the conversation's hash.

    A member's name with its colon is found where it stands and nowhere else: in a string a quote has a backslash.
    """
    template = encoded.replace(b"%", b"%%").replace(request_id.encode(), b"%b", 1)
    for name, figure in (
        (b"attempt", attempt),
        (b"input_estimate", call.input_estimate),
        (b"input_tokens", call.input_estimate),
        (b"output_tokens_max", call.max_output),
    ):
        if figure:
            template = template.replace(b'"%b":%d' % (name, figure), b'"%b":%%d' % name, 1)
    opening = call.opening.encode()
    if opening and template.count(opening) != (3 if derived else 1):
        return None
    return template.replace(opening, b"%b") if opening else template
