"""Vertex AI: Claude models by their own Messages bodies, and where Google's own models are (their dialect: gemini.py).

Answers are Messages as they stand, streams included; errors of the platform in front of the model are Google's.
Credentials are in google.py.
"""

from collections.abc import Sequence
from urllib.parse import quote

from interlock import strictjson
from interlock.errors import LocalError
from interlock.gateway.providers.gemini_answer import error_answer
from interlock.gateway.wire import scan
from interlock.ledger import Format

ANTHROPIC_VERSION = "vertex-2023-10-16"

_GROUPS = ("us", "eu")


def vertex_origin(region: str) -> str:
    """Scheme and host of a region, of a group of regions (`us`, `eu`) or of `global`."""
    if region == "global":
        return "https://aiplatform.googleapis.com"
    if region in _GROUPS:
        return f"https://aiplatform.{region}.rep.googleapis.com"
    return f"https://{region}-aiplatform.googleapis.com"


def google_prefix(project: str, region: str) -> str:
    """`Gemini`'s prefix for Google's models there."""
    return _publisher(project, region, "google")


class AnthropicOnVertex:
    """A Claude model. A `Dialect`."""

    format: Format = "messages"

    def __init__(self, model: str, project: str, region: str) -> None:
        """model: with its version, if it has one (`claude-sonnet-4@20250514`)."""
        self._path = f"{_publisher(project, region, 'anthropic')}/models/{quote(model, safe='@')}"

    def path(self, stream: bool) -> str:
        """The target."""
        return f"{self._path}:{'streamRawPredict' if stream else 'rawPredict'}"

    def request(self, body: bytes, stream: bool, betas: Sequence[str] = ()) -> bytes:
        """The body with Vertex's version in place of `model`, all else as it was written.

        Raises: LocalError: it is not a JSON object.
        """
        if type(strictjson.loads(body)) is not dict:
            raise LocalError("the body must be an object", field="body")
        for name in ("model", "anthropic_version"):
            body = scan.without(body, name)
        start = body.index(b"{") + 1
        comma = b"" if body[start:].lstrip().startswith(b"}") else b","
        return b'{"anthropic_version":"%b"%b%b' % (ANTHROPIC_VERSION.encode(), comma, body[start:])

    def hints(self, body: bytes) -> tuple[str, ...]:
        """None: nothing is left out."""
        return ()

    def whole(self, status: int, body: bytes) -> bytes:
        """The answer as it is; Google's errors as Messages'."""
        return error_answer(status, body) or body

    def decoder(self, input_estimate: int = 0) -> "PassingStream":
        """For a stream, which is Messages already."""
        return PassingStream()


class PassingStream:
    """A `Decoder` that changes nothing."""

    def feed(self, data: bytes) -> bytes:
        """The bytes."""
        return data

    def finish(self) -> bytes:
        """Nothing."""
        return b""


def _publisher(project: str, region: str, publisher: str) -> str:
    return f"/v1/projects/{quote(project, safe=':')}/locations/{quote(region, safe='')}/publishers/{publisher}"
