"""The Gemini API, and Gemini on Vertex AI: the same bodies under two paths. Messages towards the gateway.

Here are the paths and what belongs together; requests are in gemini_request.py, answers in gemini_answer.py. Not here:
credentials (google.py), files of the Files API, tools that Google runs, and answers in pictures or sound.
"""

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from interlock import strictjson
from interlock.errors import LocalError
from interlock.gateway.providers.gemini_answer import GeminiStream, whole_answer
from interlock.gateway.providers.gemini_request import write_request
from interlock.gateway.translate.messages import read_request
from interlock.gateway.translate.neutral import Written
from interlock.ledger import Format

PREFIX = "/v1beta"
"""Of the Gemini API. Of Vertex: `vertex.google_prefix`."""


class Gemini:
    """One Gemini model. A `Dialect`."""

    format: Format = "messages"

    def __init__(self, model: str, prefix: str = PREFIX) -> None:
        """model: as in the path, without `models/` (`gemini-3-pro`). prefix: what stands before `/models/` there."""
        self.model = model
        self._path = f"{prefix}/models/{quote(model, safe='@')}"

    def path(self, stream: bool) -> str:
        """The target."""
        return f"{self._path}:streamGenerateContent?alt=sse" if stream else f"{self._path}:generateContent"

    def request(self, body: bytes, stream: bool, betas: Sequence[str] = ()) -> bytes:
        """The body of generateContent for a Messages body. Streaming is a matter of the path alone.

        Raises: LocalError: not a Messages request, or Gemini has no word for the field that is named.
        """
        return msgspec.json.encode(self.written(body).document)

    def written(self, body: bytes) -> Written:
        """The same, with the paths of what was dropped.

        Raises: LocalError: as `request`.
        """
        document = strictjson.loads(body, finite=True)
        if type(document) is not dict:
            raise LocalError("the body must be an object", field="body")
        return write_request(read_request(document), self.model)

    def hints(self, body: bytes) -> tuple[str, ...]:
        """What `request` leaves out."""
        return self.written(body).dropped

    def whole(self, status: int, body: bytes) -> bytes:
        """A Messages answer or error."""
        return whole_answer(self.model, status, body)

    def decoder(self, input_estimate: int = 0) -> GeminiStream:
        """input_estimate: tokens that `message_start` shows where Gemini counts them only at the end (Vertex)."""
        return GeminiStream(self.model, input_estimate)
