"""Tool call ids that are illegal on the other side, by maps that lose nothing.

Towards a client the map is reversible: the id comes back next turn, in the conversation's history, and its upstream
must get what it gave. Towards an upstream it only has to be the same for a call and its result: nobody echoes it.
"""

import base64
import binascii
import hashlib
import re

from interlock.ledger import Format

_PREFIX = "ilkid_"
_LEGAL: dict[Format, re.Pattern[str]] = {
    # Anthropic's documented pattern; OpenAI's limits as its servers state them (chat 40, Responses 64 characters)
    "messages": re.compile(r"[a-zA-Z0-9_-]+"),
    "chat": re.compile(r"[\x21-\x7e]{1,40}"),
    "responses": re.compile(r"[\x21-\x7e]{1,64}"),
}


def to_client(id: str, format: Format) -> str:
    """An upstream's id as the client is to see it; `to_upstream` of it is the original."""
    if id and not id.startswith(_PREFIX) and (format != "messages" or _LEGAL[format].fullmatch(id)):
        return id  # OpenAI's clients bound nothing: only Messages has a pattern
    return _PREFIX + base64.urlsafe_b64encode(id.encode()).decode().rstrip("=")


def to_upstream(id: str, format: Format) -> str:
    """A client's id as an upstream of `format` may read it."""
    original = _decoded(id)
    if _LEGAL[format].fullmatch(original):
        return original
    return f"call_{hashlib.sha256(original.encode(errors='surrogatepass')).hexdigest()[:32]}"


class CallIds:
    """The ids of one answer's calls as the client sees them: the upstream's, or one of ours where it gave none or one
    that another call has (SDKs refuse a stream with one id twice, and results could not be told apart)."""

    def __init__(self, key: str, format: Format) -> None:
        self._key, self._format = key, format
        self._taken: set[str] = set()

    def next(self, given: str) -> str:
        """That of the next call, whose upstream calls it `given`."""
        id = f"call_{self._key}_{len(self._taken)}" if not given or given in self._taken else given
        self._taken.add(id)
        return to_client(id, self._format)


def _decoded(id: str) -> str:
    if not id.startswith(_PREFIX):
        return id
    encoded = id[len(_PREFIX) :]
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, ValueError):  # not one of ours after all
        return id
