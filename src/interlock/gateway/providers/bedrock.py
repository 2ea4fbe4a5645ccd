"""Amazon Bedrock's two ways to a model: Anthropic's own bodies (`invoke`), and `converse`, which is for every model.

Both take and give Messages. Paths, framing and errors are here; what Converse says otherwise is in converse_request.py
and converse_answer.py; signing is in aws.py.
"""

import base64
import binascii
import random
import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

import msgspec

from interlock import strictjson
from interlock.errors import LocalError, RemoteError
from interlock.gateway.providers import converse_request
from interlock.gateway.providers.converse_answer import whole_answer
from interlock.gateway.providers.converse_stream import ConverseStream
from interlock.gateway.providers.eventstream import Frame, FrameReader
from interlock.gateway.wire import scan
from interlock.gateway.wire.errors import error_body, error_event
from interlock.gateway.wire.reading import decoded
from interlock.ledger import Format

ANTHROPIC_VERSION = "bedrock-2023-05-31"
MESSAGE_CHARS_MAX = 2000

_REPLACED = ("model", "stream", "anthropic_version")
_EVENT_TYPE = re.compile(r"[a-z_]{1,64}")
_STATUSES = {
    "accessdeniedexception": 403,
    "modelnotreadyexception": 429,
    "modeltimeoutexception": 408,
    "resourcenotfoundexception": 404,
    "serviceunavailableexception": 503,
    "throttlingexception": 429,
    "validationexception": 400,
}
"""Of the service model's exceptions; the others are the server's or the model's own failures (500)."""
_MODEL_FAILED = 424
"""Not the client's mistake, though it is a 4xx."""


class AnthropicOnBedrock:
    """A Claude model by `invoke`: its body is a Messages body, its events are Messages events in frames."""

    format: Format = "messages"

    def __init__(self, model: str) -> None:
        """model: an id (`anthropic.claude-…`), an inference profile's id or its ARN."""
        self._path = _path(model)

    def path(self, stream: bool) -> str:
        """The target."""
        return self._path + ("invoke-with-response-stream" if stream else "invoke")

    def request(self, body: bytes, stream: bool, betas: Sequence[str] = ()) -> bytes:
        """The body without `model` and `stream`, all else as it was written.

        Args:
            betas: of the client's header `anthropic-beta`; a body that has `anthropic_beta` keeps its own.
        Raises: LocalError: it is not a JSON object.
        """
        if not isinstance(strictjson.loads(body), dict):
            raise LocalError("the body must be a JSON object", field="body")
        kept = {
            member.key: body[member.start : member.value_end]
            for member in scan.members(body)
            if member.key not in _REPLACED
        }
        added = [b'"anthropic_version":"%b"' % ANTHROPIC_VERSION.encode()]
        if betas and "anthropic_beta" not in kept:
            added.append(b'"anthropic_beta":%b' % msgspec.json.encode(list(betas)))
        return b"{%b}" % b",".join([*added, *kept.values()])

    def hints(self, body: bytes) -> tuple[str, ...]:
        """None: nothing is left out."""
        return ()

    def whole(self, status: int, body: bytes) -> bytes:
        """An answer as it came; an error as Messages has it."""
        return body if status < 400 else _error(status, body)

    def decoder(self, input_estimate: int = 0) -> "FrameDecoder":
        """For one stream."""
        return FrameDecoder(_chunk)


class Converse:
    """Any model by `converse`."""

    format: Format = "messages"

    def __init__(self, model: str, *, anthropic: bool, make_id: Callable[[], str] | None = None) -> None:
        """Args:
        model: an id, an inference profile's id or its ARN; also what answers name as their model.
        anthropic: it is a Claude model, which takes thinking, top_k, cache points and the like.
        make_id: of answers, which Converse does not name; unset: `msg_` and 24 random hex digits.
        """
        self._model = model
        self._anthropic = anthropic
        self._make_id = make_id or _random_id
        self._path = _path(model)

    def path(self, stream: bool) -> str:
        """The target."""
        return self._path + ("converse-stream" if stream else "converse")

    def request(self, body: bytes, stream: bool, betas: Sequence[str] = ()) -> bytes:
        """The Converse body. Dropped are `metadata`, `service_tier`, `speed`, and cache breakpoints for other models.

        Args:
            betas: of the client's header `anthropic-beta`; for Claude models only.
        Raises: LocalError: Converse has no word for something; `field` names it.
        """
        return converse_request.write(body, anthropic=self._anthropic, betas=betas)

    def hints(self, body: bytes) -> tuple[str, ...]:
        """What `request` leaves out."""
        return converse_request.hints(body, anthropic=self._anthropic)

    def whole(self, status: int, body: bytes) -> bytes:
        """A Messages answer or error."""
        return _error(status, body) if status >= 400 else whole_answer(body, self._make_id(), self._model)

    def decoder(self, input_estimate: int = 0) -> "FrameDecoder":
        """For one stream. input_estimate: tokens, shown by `message_start`: Converse counts only at the end."""
        return FrameDecoder(ConverseStream(self._make_id(), self._model, input_estimate).event)


class FrameDecoder:
    """Frames to server-sent events; an exception among them becomes `event: error` and is the end."""

    def __init__(self, said: Callable[[str, bytes], bytes]) -> None:
        """said: the events for one frame's event type and payload."""
        self._frames = FrameReader()
        self._said = said
        self._fault: RemoteError | None = None
        self._over = False

    def feed(self, data: bytes) -> bytes:
        """The whole events that these bytes complete. What stood before a fault is given out first."""
        if self._fault:
            raise self._fault
        if self._over:
            return b""
        out = []
        try:
            for frame in self._frames.feed(data):
                out.append(self._event(frame))
                if self._over:
                    break
        except RemoteError as fault:
            self._fault = fault
            if not any(out):
                raise
        return b"".join(out)

    def finish(self) -> bytes:
        """Nothing: a frame that is not whole says nothing."""
        if self._fault:
            raise self._fault
        return b""

    def _event(self, frame: Frame) -> bytes:
        kind = frame.text(":message-type")
        if kind == "event":
            return self._said(frame.text(":event-type"), frame.payload)
        self._over = True
        if kind == "exception":
            return _failed(frame.text(":exception-type"), _message(frame.payload))
        if kind == "error":
            return _failed(frame.text(":error-code"), frame.text(":error-message"))
        raise RemoteError(f"the upstream's frame is of the unknown type {kind[:64]!r}", code="upstream_invalid")


class _Chunk(msgspec.Struct, frozen=True):
    bytes: str
    """base64"""


_read_chunk = msgspec.json.Decoder(_Chunk)


def _chunk(kind: str, payload: bytes) -> bytes:
    """The Messages event in a frame of `invoke-with-response-stream`."""
    if kind != "chunk":
        return b""  # none is known; a new kind is not ours to show
    try:
        event = base64.b64decode(_read_chunk.decode(payload).bytes, validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise RemoteError("the upstream's frame holds no event", code="upstream_invalid") from error
    name = (decoded(event) or {}).get("type")
    if not isinstance(name, str) or not _EVENT_TYPE.fullmatch(name):
        raise RemoteError("the upstream's frame holds an event without a type", code="upstream_invalid")
    if b"\n" in event or b"\r" in event:  # between tokens: within strings JSON escapes them
        event = event.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"event: %b\ndata: %b\n\n" % (name.encode(), event)


def _path(model: str) -> str:
    return f"/model/{quote(model, safe='')}/"


def _random_id() -> str:
    return f"msg_{random.getrandbits(96):024x}"


def _error(status: int, body: bytes) -> bytes:
    """The Messages body for an error's; a body without a message comes back as it is."""
    message = _message(body)
    if not message:
        return body
    shown = 500 if status == _MODEL_FAILED else status
    return error_body("messages", status=shown, code="upstream_error", message=message, request_id="")


def _failed(name: str, message: str) -> bytes:
    status = _STATUSES.get(name.lower(), 500)
    said = message[:MESSAGE_CHARS_MAX] or name[:MESSAGE_CHARS_MAX] or "the upstream ended the stream with an error"
    return error_event("messages", status=status, code="upstream_error", message=said, request_id="")


def _message(payload: bytes) -> str:
    document = decoded(payload) or {}
    for name in ("message", "Message", "originalMessage"):  # the gateway before Bedrock writes it large
        if isinstance(said := document.get(name), str) and said:
            return said[:MESSAGE_CHARS_MAX]
    return ""
