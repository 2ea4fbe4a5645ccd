"""The operator's patterns, judged before they are taken: expressions of RE2's, of bounded cost, never of nothing. Pure.

`^` and `$` are the ends of a line, so of each string of a document too.
"""

import re
from collections.abc import Iterator, Sequence

import re2

from interlock.errors import LocalError
from interlock.guard.kind import Kind, expression
from interlock.guard.value import Pattern

PATTERNS_MAX, REGEX_CHARS_MAX = 64, 512
"""How many patterns an operator may have, and how long one is."""
PROGRAM_MAX, PROGRAMS_MAX = 600, 4000
"""Instructions that one pattern may compile to, and all together. The worst time a byte is in proportion to them."""
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_ANY_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
_PROBES = (b"", b"a")
"""What matches the empty text is made of assertions: `^`, `$`, `\\A`, `\\z`, `\\b`, `\\B`. Without `\\b` all of them
hold in the first; `\\b` holds at the ends of the second, with what can hold beside it.
"""


def kinds_of(patterns: Sequence[Pattern]) -> Iterator[Kind]:
    """A kind for each, once it is known to be sound.

    Raises: LocalError: `field` is `patterns`, or `patterns[2].regex` or the like; the message says why.
    """
    if len(patterns) > PATTERNS_MAX:
        raise LocalError(f"patterns: {len(patterns)} are more than {PATTERNS_MAX}", field="patterns")
    names = [pattern.name for pattern in patterns]
    instructions = 0
    for number, pattern in enumerate(patterns):
        where = f"patterns[{number}]"
        if _NAME.fullmatch(pattern.name) is None:
            expected = "lower case letters, digits, dots and dashes, at most 64, a letter or digit first"
            raise LocalError(f"{where}.name: {pattern.name[:80]!r} is not {expected}", field=f"{where}.name")
        if pattern.name in names[:number]:
            raise LocalError(f"{where}.name: there are two of {pattern.name!r}", field=f"{where}.name")
        if why := _objection(pattern.regex):
            raise LocalError(f"{where}.regex: {why}", field=f"{where}.regex")
        regex = f"(?m){pattern.regex}"
        instructions += expression(regex).programsize
        if instructions > PROGRAMS_MAX:
            raise LocalError(
                f"patterns: with {where} they compile to more than {PROGRAMS_MAX} instructions", field="patterns"
            )
        yield Kind(f"pattern.{pattern.name}", "the operator's", regex, lambda text, start, end: end, regex)


def _objection(regex: str) -> str:
    """Why an operator's expression is not taken; empty: it is."""
    if not 0 < len(regex) <= REGEX_CHARS_MAX:
        return f"{len(regex)} characters, expected 1 to {REGEX_CHARS_MAX}"
    if _ANY_BYTE.search(regex):
        return "\\C, a single byte, would match across strings"
    large = f"compiles to more than {PROGRAM_MAX} instructions: fewer or shorter repetitions, smaller classes"
    try:
        compiled = expression(f"(?m){regex}")
    except UnicodeEncodeError:
        return "holds half a character"
    except re2.error as error:
        said = error.args[0].decode("utf-8", "replace")
        unknown = f"not an expression as RE2 has them (no look-around, no backreferences): {said}"
        return large if "too large" in said else unknown
    if compiled.programsize > PROGRAM_MAX:
        return large
    if any(compiled.fullmatch(probe, at, at) for probe in _PROBES for at in range(len(probe) + 1)):
        return "matches the empty text, so it would be found in everything"
    return ""
