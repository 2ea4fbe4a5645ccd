"""One pass over a text by one automaton names the kinds that may be in it; only these are sought and checked.

Pure: no I/O, no clock, no state but RE2's caches, which are safe among threads. RE2 gives up the interpreter's lock
while it scans, so a large text on another thread does not hold up the loop. What was found is in no result, error or
log: only its kind, and how often.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import re2

from interlock.errors import LocalError
from interlock.guard.credentials import CREDENTIALS
from interlock.guard.elsewhere import ELSEWHERE
from interlock.guard.europe import EUROPE
from interlock.guard.kind import Kind, count, expression, options
from interlock.guard.patterns import kinds_of
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
_MEMORY = 4 << 20
"""Bytes that an automaton may take for its program and the states that texts have led it to."""
CANDIDATES_MAX = 100_000
"""Candidates that are judged in one text, some 3 µs each. A text with more of them is reported as `unjudged`."""


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
        sieves = (_Sieve(_selected(kinds)), _Sieve(kinds_of(patterns)))
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
        self._automaton = re2.Set.SearchSet(options(_MEMORY))
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
