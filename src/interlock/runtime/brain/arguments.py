"""A tool call's arguments: JSON text that a model wrote, read once and in one way only.

Everything that judges, shows, binds or runs a call goes through `read_arguments`, so that all of them see the same
value: an object that says a key twice, or a number that no double holds, is not arguments at all.
"""

import hashlib
from typing import Any

import msgspec

from interlock import strictjson
from interlock.errors import LocalError

ARGUMENTS_BYTES_MAX = 256 * 1024
_canonical = msgspec.json.Encoder(order="sorted").encode


def read_arguments(text: str) -> dict[str, Any]:
    """The object that the text is; no text is none, `{}`.

    Raises: LocalError: it is not one JSON object of at most 256 KiB, read strictly; the message is for the model.
    """
    encoded = text.encode(errors="surrogatepass")
    if len(encoded) > ARGUMENTS_BYTES_MAX:
        raise LocalError(f"the arguments are {len(encoded)} bytes long; the most is {ARGUMENTS_BYTES_MAX}")
    if not text.strip():
        return {}
    value = strictjson.loads(encoded, what="arguments", finite=True)
    if type(value) is not dict:
        raise LocalError("the arguments must be one JSON object", code="invalid_json", field="arguments")
    return value


def canonical_json(text: str) -> bytes:
    """The same bytes for the same arguments: keys sorted, no white space. Text that is no arguments stands for itself.

    >>> canonical_json('{"b": 1, "a": "x"}')
    b'{"a":"x","b":1}'
    """
    try:
        return _canonical(read_arguments(text))
    except (LocalError, msgspec.MsgspecError, UnicodeError):
        return text.encode(errors="surrogatepass")


def arguments_sha256(text: str) -> str:
    """What an approval is bound to: hex SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(text)).hexdigest()
