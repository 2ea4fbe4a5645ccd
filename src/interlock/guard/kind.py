"""What one kind of sensitive content looks like, and how the candidates that an expression finds are judged. Pure.

Expressions are RE2's, over UTF-8: time is linear in the text, whatever they and it are. RE2 knows no look-around, so
what stands around a candidate is judged here. Not about any one kind: those are in the tables beside this module.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import re2

from interlock.guard.strings import AFTER_KEY, AFTER_VALUE

COUNT_MAX = 100
"""Where counting ends: how many there are beyond it changes nothing, and work stays bounded."""
WORD_BEFORE, WORD_AFTER = 64, 24
"""How many bytes before and after a candidate its word may stand."""
_MEMORY = 256 << 10
"""Bytes that one expression may take. One with more states than that goes on without them, in linear time too."""
_RETRY_MAX = 64
"""A candidate that fails and is no longer than this may hide another that begins inside it."""

Check = Callable[[bytes, int, int], int]
"""`(text, start, end)` of a candidate: where what is found in it ends; 0: nothing is."""


class Kind(NamedTuple):
    """One kind. `hint` is what the automaton looks for in every text, cheaply; candidates are sought only after it."""

    name: str
    what: str
    """One line, for a page."""
    regex: str
    check: Check
    hint: str


def expression(regex: str) -> Any:
    """RE2's compiled form. It reads bytes, captures nothing, and is safe among threads.

    Raises: re2.error: it is none, or too large.
    """
    return re2.compile(regex, options(_MEMORY))


def options(memory: int) -> Any:
    """As everything here is compiled: nothing is printed, no group is captured. `memory`: bytes, program and states."""
    chosen = re2.Options()
    chosen.max_mem = memory
    chosen.log_errors = False
    chosen.never_capture = True
    return chosen


own = cache(expression)
"""For our own expressions, which are few and live as long as the process."""


def count(regex: Any, check: Check, text: bytes, judged_max: int) -> tuple[int, int]:
    """How many are found in the text, at most `COUNT_MAX`, and how many candidates were judged, at most `judged_max`.

    Linear: a candidate that fails is passed over whole, or is short.
    """
    found = judged = position = 0
    while found < COUNT_MAX and judged < judged_max and (match := regex.search(text, position)) is not None:
        start, end = match.span()
        judged += 1
        if ends := check(text, start, end):
            found, position = found + 1, ends
        else:
            position = end if end - start > _RETRY_MAX else start + 1
    return found, judged


def stands_free(text: bytes, start: int, end: int) -> bool:
    """Whether a number is not a piece of a longer one: a fraction, a version, a telephone number, a UUID."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    if before[-1:] in (b".", b"-") and before[:-1].isdigit():
        return False
    return before[-1:] != b"+" and not (after[:1] in (b".", b"-") and after[1:].isdigit())


def is_named(words: str, text: bytes, start: int, end: int) -> bool:
    """Whether one of the words stands near a candidate: in the same string, or in the key that leads to it."""
    before = text[max(start - WORD_BEFORE, 0) : start].rpartition(AFTER_VALUE)[2]
    after = text[end : end + WORD_AFTER].partition(AFTER_VALUE)[0].partition(AFTER_KEY)[0]
    search = own(words).search
    return search(before) is not None or search(after) is not None
