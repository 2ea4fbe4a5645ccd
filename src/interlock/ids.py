"""Identifiers: a prefix that says what it names, then 128 bits that sort by time.

The form is a ULID (48 bits of milliseconds, 80 random bits, Crockford base32), lower case.
"""

import os

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]  # ten bits a step: half the work of five


def new_id(prefix: str, now_ns: int) -> str:
    """`prefix_` and 26 characters; ids made in a later millisecond sort later.

    >>> len(new_id("req", 0))
    30
    """
    value = (now_ns // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return f"{prefix}_" + "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])
