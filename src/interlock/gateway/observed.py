"""What an answer itself says of the place that served it. Pure; what it does not say is empty, never guessed.

Azure OpenAI names its region in a header (`x-ms-region: Sweden Central`), Anthropic the geography of inference in its
usage (`"inference_geo": "us"`). Any other server may name a header in its deployment's `region_header`.
"""

from collections.abc import Mapping

import msgspec

PLACE_CHARS_MAX = 64


class _Usage(msgspec.Struct, gc=False):
    inference_geo: str = ""


class _Streamed(msgspec.Struct, gc=False):
    """Usage of a Messages stream, as `wire.reading` keeps it."""

    message_start: _Usage | None = None
    message_delta: _Usage | None = None


_usage, _streamed = msgspec.json.Decoder(_Usage).decode, msgspec.json.Decoder(_Streamed).decode


def serving_region(header: str, headers: Mapping[bytes, bytes], raw_usage: bytes) -> str:
    """The place, in the spelling of places.py.

    Args:
        header: name of the header that says it, lower case; empty: none does.
        headers: of the answer, names in lower case.
        raw_usage: the provider's usage object, JSON.
    """
    told = headers.get(header.encode(), b"").decode("latin-1") if header else ""
    if not told and b"inference_geo" in raw_usage:
        told = _geo(raw_usage)
    place = "".join(c for c in told.lower() if c.isalnum() or c == "-")
    return place[:PLACE_CHARS_MAX]


def _geo(raw_usage: bytes) -> str:
    try:
        streamed = _streamed(raw_usage)
        for usage in (streamed.message_delta, streamed.message_start):
            if usage is not None and usage.inference_geo:
                return usage.inference_geo
        return _usage(raw_usage).inference_geo
    except msgspec.DecodeError:  # of another shape: it says nothing
        return ""
