"""What a client says about caching, in `Cache-Control` of its request: RFC 9111, section 5.2.1. Pure.

`only-if-cached` is not followed (it is a SHOULD: the call is sent), nor is `max-stale` (nothing stale is ever given).
"""

import re
from functools import lru_cache

import msgspec

_DIRECTIVE = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^",; \t]*))?')
_SECONDS_MAX = 1 << 31  # section 1.2.2: what is larger counts as this


class Directives(msgspec.Struct, frozen=True):
    """What a request allows."""

    no_store: bool = False
    """Nothing of the call may be kept. It is not shared either: what is shared is kept for a while."""
    no_cache: bool = False
    """It wants an answer made for it; that one may be kept."""
    max_age_s: int | None = None
    """The oldest answer that it takes."""
    min_fresh_s: int = 0
    """How much longer the answer must be fresh."""


NONE = Directives()


@lru_cache(256)
def read_directives(value: bytes) -> Directives:
    """Of a Cache-Control field's value; empty: none.

    Names are case-insensitive, what is unknown means nothing. A number that is none is the most careful one: such a
    `max-age` takes no kept answer, such a `min-fresh` neither (RFC 9111, section 4.2.1, encourages it).
    """
    if not value:
        return NONE
    found: dict[str, str] = {}
    for name, argument in _DIRECTIVE.findall(value.decode("latin-1")):
        found.setdefault(name.lower(), argument.strip('"'))
    max_age, min_fresh = found.get("max-age"), found.get("min-fresh")
    return Directives(
        no_store="no-store" in found,
        no_cache="no-cache" in found,
        max_age_s=None if max_age is None else _seconds(max_age, 0),
        min_fresh_s=0 if min_fresh is None else _seconds(min_fresh, _SECONDS_MAX),
    )


def _seconds(text: str, otherwise: int) -> int:
    return min(int(text), _SECONDS_MAX) if text.isascii() and text.isdigit() and len(text) < 20 else otherwise
