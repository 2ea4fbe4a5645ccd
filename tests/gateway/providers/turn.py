"""What every provider is asked and answers here: one thought, one text, one call."""

import json
from typing import Any, NamedTuple

SECRET = "the-gateway-s-own-key"
TEXT, THOUGHT, ARGUMENTS = "Let me look.", "Hmm.", {"at": 1.5, "ä": []}
SIGNATURE = "c2lnbmF0dXJl"


class Heard(NamedTuple):
    """What an upstream was asked, in its own words."""

    system: str
    user: str
    tool: str
    max_output: int


def json_of(value: object) -> bytes:
    return json.dumps(value).encode()


def text_of(value: Any) -> str:
    """Of a string, or of blocks with texts."""
    return value if isinstance(value, str) else "".join(block["text"] for block in value)
