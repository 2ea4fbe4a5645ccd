"""Reasoning through a format that has no place for it: sealed reasoning of one family inside another format's seal.

A Messages client holds `thinking` blocks with a signature, a Responses client reasoning items with encrypted_content;
both hand back unread what they were given. So an OpenAI item travels in a signature, an Anthropic signature in an
encrypted_content, in a carrier that names the family which can read it. Only the seal is carried: the readable text
stands beside it, where the client's format shows it.
"""

import base64
import binascii
from typing import Literal

import msgspec

PREFIX = "ilk1."
"""No provider's seal has a full stop: theirs are base64."""


class Carried(msgspec.Struct, frozen=True, gc=False):
    """A seal, the kind it was (`Reasoning.kind`) and the family that can read it."""

    family: str
    kind: Literal["thinking", "redacted", "item", "plain"]
    seal: str
    id: str = ""


def carry(carried: Carried) -> str:
    """The carrier, ASCII without spaces."""
    return PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(carried)).decode().rstrip("=")


def carried(seal: str) -> Carried | None:
    """What is in a carrier; None: it is a seal of the format itself."""
    if not seal.startswith(PREFIX):
        return None
    encoded = seal[len(PREFIX) :]
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)), type=Carried)
    except (binascii.Error, msgspec.DecodeError, ValueError, RecursionError):
        return None
