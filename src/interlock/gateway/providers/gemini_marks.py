"""What a Messages client keeps for Gemini between two turns: signatures of thoughts, and the ids of calls.

Gemini signs parts (`thoughtSignature`); Messages signs blocks of thinking. So a signature goes to the client as a
thinking block directly before the block of its part, and the mark in front of it says which part that is. What has no
mark was signed by somebody else. Whoever makes blocks and parts is elsewhere (gemini_answer.py, gemini_request.py).
"""

import hashlib
from typing import Literal, NamedTuple, cast, get_args

from interlock.gateway.translate import ids

Owner = Literal["c", "t", "e", "h", "n"]
"""Whose the signature is. c: the call that follows; t: the text that follows; e: an empty text part of its own;
h: the thought itself; n: there is none, the thought came unsigned."""

_PREFIX = "ilkg."
"""No provider's signature has a full stop: theirs are base64."""
_MADE = "ilkcall_"
_SIZE = len(_PREFIX) + 2


class Mark(NamedTuple):
    """A signature, as Gemini wrote it, and its owner."""

    owner: Owner
    signature: str


def marked(owner: Owner, signature: str) -> str:
    """The signature of a thinking block."""
    return f"{_PREFIX}{owner}.{signature}"


def unmarked(signature: str) -> Mark | None:
    """What `marked` was given; None: it is somebody else's signature."""
    owner = signature[len(_PREFIX) : _SIZE - 1]
    if not signature.startswith(_PREFIX) or signature[_SIZE - 1 : _SIZE] != "." or owner not in get_args(Owner):
        return None
    return Mark(cast(Owner, owner), signature[_SIZE:])


def made_id(seed: bytes, number: int) -> str:
    """What tells apart the things that `seed` (a chunk of Gemini's) speaks of, on every reading of it."""
    return f"{hashlib.sha256(seed).hexdigest()[:24]}_{number}"


def call_id(id: str | None, seed: bytes, number: int) -> str:
    """A call's id for the client: Gemini's own, or a made one."""
    return ids.to_client(id, "messages") if id else _MADE + made_id(seed, number)


def gemini_id(id: str) -> dict[str, str]:
    """The member `id` of a call or its result: none where Gemini gave none."""
    return {} if id.startswith(_MADE) else {"id": ids.to_upstream(id, "responses")}
