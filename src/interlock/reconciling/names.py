"""Which of a provider's names for a model is ours. Pure, and never a guess between two.

A call asks for `gpt-4o-mini`, the answer names the snapshot `gpt-4o-mini-2024-07-18`, and the bill has one of the two,
or a name of its own (`Claude4Sonnet` for `us.anthropic.claude-sonnet-4-20250514-v1:0`). Tried in this order: a name
given by hand, the same name, the same without its date, the same words whatever their order. Where a step finds
several, it finds none.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

Name = tuple[str, str]
"""As it was asked for, and as the answer names it (empty: it does not)."""

_DATE = re.compile(r"[-@](?:\d{4}-\d\d-\d\d|20\d{6}|latest)(?=$|[-@:])")
_VERSION = re.compile(r"-v\d+(?::\d+)?$|-v\d+:\d+")
_PLACE = re.compile(r"^(?:us|eu|apac|jp|au|ca|global|us-gov)\.")
_MAKER = re.compile(r"^(?:anthropic|amazon|meta|mistral|cohere|openai|deepseek|qwen|google|ai21|models)[./]")
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[a-z]+|\d+")
_MONTH_DAY = re.compile(r"(?:0[1-9]|1[0-2])[0-3]\d")
_IDLE = {"instruct", "latest", "model"}


class Names:
    """The names of one statement."""

    def __init__(self, theirs: Iterable[str], given: Mapping[str, str], seen: Iterable[tuple[Name, int]]) -> None:
        """
        Args:
            given: by hand, our name (asked for or answered) to theirs.
            seen: our names and how many calls had each: a lost call's answer is not known, the others' are.
        """
        self._theirs = sorted(set(theirs))
        self._given = given
        answers: dict[str, Counter[str]] = {}
        for (asked, answered), count in seen:
            if answered:
                answers.setdefault(asked, Counter())[answered] += count
        self._answers = {asked: max(found, key=lambda name: (found[name], name)) for asked, found in answers.items()}
        self._forms: list[tuple[Callable[[str], object], dict[object, str]]] = [
            (form, _only(self._theirs, form)) for form in (str, undated, words)
        ]
        self._found: dict[Name, str] = {}

    def theirs(self, name: Name) -> str:
        """Their name for ours; ours (as answered, else as asked), if they have none."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: Name) -> str:
        asked, answered = name
        answered = answered or self._answers.get(asked, "")
        for one in (answered, asked):
            if one and one in self._given:
                return self._given[one]
        for form, known in self._forms:
            for one in (answered, asked):
                if one and (found := known.get(form(one))) is not None:
                    return found
        return answered or asked


@lru_cache(4096)
def undated(name: str) -> str:
    """A model's name without the date of a snapshot.

    >>> undated("gpt-4o-mini-2024-07-18"), undated("claude-3-5-haiku-latest")
    ('gpt-4o-mini', 'claude-3-5-haiku')
    """
    return _DATE.sub("", name).lower()


@lru_cache(4096)
def words(name: str) -> tuple[str, ...]:
    """The words and numbers of a name, sorted: without place, maker, date, version.

    >>> words("us.anthropic.claude-sonnet-4-20250514-v1:0") == words("Claude4Sonnet")
    True
    """
    plain = _VERSION.sub("", _DATE.sub("", _MAKER.sub("", _PLACE.sub("", _HUMPS.sub("-", name).lower()))))
    return tuple(sorted(word for word in _WORD.findall(plain) if word not in _IDLE and not _MONTH_DAY.fullmatch(word)))


def _only(names: Iterable[str], form: Callable[[str], object]) -> dict[object, str]:
    """By form, the names that no other shares it with."""
    forms: dict[object, list[str]] = {}
    for name in names:
        forms.setdefault(form(name), []).append(name)
    return {key: found[0] for key, found in forms.items() if len(found) == 1 and key}
