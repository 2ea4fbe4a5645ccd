"""One pass over a text by one automaton names the kinds that may be in it; only these are sought and checked.

Pure: no I/O, no clock, no state but RE2's caches, which are safe among threads. RE2 gives up the interpreter's lock
while it scans, so a large text on another thread does not hold up the loop. What was found is in no result, error or
log: only its kind, and how often.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import re2

from interlock.errors import LocalError
from interlock.guard.credentials import CREDENTIALS
from interlock.guard.elsewhere import ELSEWHERE
from interlock.guard.europe import EUROPE
from interlock.guard.kind import Kind, count, expression, options
from interlock.guard.payment import PAYMENT
from interlock.guard.strings import readable, text_of
from interlock.guard.value import Detection, Pattern

_BUILT_IN = {kind.name: kind for kind in (*CREDENTIALS, *PAYMENT, *EUROPE, *ELSEWHERE)}
UNJUDGED = "unjudged"
KINDS: Mapping[str, str] = MappingProxyType(
    {name: _BUILT_IN[name].what for name in sorted(_BUILT_IN)}
    | {UNJUDGED: "more candidates than are judged in one text, so nobody knows what the rest holds"}
)
"""Every built-in kind, and what it is."""
PATTERNS_MAX, REGEX_CHARS_MAX = 64, 512
"""How many patterns an operator may have, and how long one is."""
PROGRAM_MAX, PROGRAMS_MAX = 600, 4000
"""Instructions that one pattern may compile to, and all together. The worst time a byte is in proportion to them."""
_MEMORY = 4 << 20
"""Bytes that an automaton may take for its program and the states that texts have led it to."""
CANDIDATES_MAX = 100_000
"""Candidates that are judged in one text, some 3 µs each. A text with more of them is reported as `unjudged`."""
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_ANY_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
_PROBES = (b"", b"a", b"aa a\n\na")
"""Texts in which every assertion of RE2's (`^`, `$`, `\\b`, `\\B`, `\\A`, `\\z`) holds somewhere."""


class Detector:
    """What is sensitive here: the built-in kinds or some of them, and the operator's patterns."""

    def __init__(self, patterns: Sequence[Pattern] = (), kinds: Collection[str] | None = None) -> None:
        """Compile it, once for many texts.

        Args:
            kinds: names in `KINDS`, or what stands before a dot there (`credential`); None: all of them.
        Raises: LocalError: `field` is `patterns`, `patterns[2].regex` or the like, or `kinds`; the message says why.
        """
        # An operator's pattern may need a state for every place it could have begun at. Beside the built-in kinds that
        # would be multiplied by theirs: two small automata are faster than one large one (docs/adr/0026).
        sieves = (_Sieve(_selected(kinds)), _Sieve(_operators(patterns)))
        self._sieves = [sieve for sieve in sieves if sieve.kinds]

    def scan(self, text: str) -> tuple[Detection, ...]:
        """What is in one text, in order of kind. Time is linear in its length. Any thread may call."""
        return self._scan(readable(text))

    def scan_document(self, document: object) -> tuple[Detection, ...]:
        """What is in the keys, strings and whole numbers of a decoded JSON document: nothing across two of them."""
        return self._scan(text_of(document))

    def _scan(self, text: bytes) -> tuple[Detection, ...]:
        detections, left = [], CANDIDATES_MAX
        for kind, search in (pair for sieve in self._sieves for pair in sieve.named(text)):
            found, judged = count(search, kind.check, text, left)
            if found:
                detections.append(Detection(kind=kind.name, count=found))
            left -= judged
            if not left:
                detections.append(Detection(kind=UNJUDGED, count=1))
                break
        return tuple(detections)


class _Sieve:
    """Kinds in order, and the automaton that names those a text may hold."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self.kinds = sorted(kinds)
        self._searches = [expression(kind.regex) for kind in self.kinds]
        chosen = options()
        chosen.max_mem = _MEMORY
        self._automaton = re2.Set.SearchSet(chosen)
        for kind in self.kinds:
            self._automaton.Add(kind.hint)
        self._automaton.Add("")  # always among its answers: what is missing when it fails
        self._automaton.Compile()

    def named(self, text: bytes) -> Iterable[tuple[Kind, Any]]:
        """Those that the text may hold, and what finds their candidates."""
        answers = self._automaton.Match(text)
        if answers is None:  # it had no memory for a single state, and RE2 says so in no other way
            return zip(self.kinds, self._searches, strict=True)
        return [(self.kinds[number], self._searches[number]) for number in sorted(answers)[:-1]]


def _selected(kinds: Collection[str] | None) -> list[Kind]:
    if kinds is None:
        return list(_BUILT_IN.values())
    families = {name.partition(".")[0] for name in _BUILT_IN}
    if unknown := sorted(set(kinds) - families - set(KINDS)):
        raise LocalError(f"kinds: there is no {', '.join(map(repr, unknown))}", field="kinds")
    return [kind for name, kind in _BUILT_IN.items() if name in kinds or name.partition(".")[0] in kinds]


def _operators(patterns: Sequence[Pattern]) -> Iterator[Kind]:
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
    try:
        compiled = expression(f"(?m){regex}")
    except (re2.error, UnicodeEncodeError) as error:
        return f"not an expression as RE2 has them (no look-around, no backreferences): {_said(error)}"
    if compiled.programsize > PROGRAM_MAX:
        return f"compiles to {compiled.programsize} instructions, more than {PROGRAM_MAX}: fewer or shorter repetitions"
    if any(compiled.fullmatch(probe, at, at) for probe in _PROBES for at in range(len(probe) + 1)):
        return "matches the empty text, so it would be found in everything"
    return ""


def _said(error: Exception) -> str:
    said = error.args[0] if isinstance(error, re2.error) else "characters that are none"
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
