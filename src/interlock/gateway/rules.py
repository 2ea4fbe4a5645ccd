"""Which of a policy's rules is the first that matches a call. Pure.

`matches` is what a rule means. To ask one rule after the other takes as long as there are rules, so `Rules` first finds
those that may match: a set of rules is an integer with a bit for each, there is one for every value that a clause
names, and those that a call's signals select have few bits in common. One rule too many may be left, never one too few.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock.gateway.policy import Rule, When
    from interlock.gateway.signals import Signals

_FLAGS = ("tools", "tool_result", "images", "reasoning", "schema", "stream", "chore")
_LISTS = ("mode", "tenant", "principal", "format")
_COUNT = "count_tokens"
_HEAD = re.compile(r"[^*?\[]*")
"""Of a shell pattern: what a name that it matches begins with."""


def matches(when: "When", signals: "Signals") -> bool:
    """Whether all that the rule asks holds."""
    if when.mode is not None and signals.mode not in when.mode:
        return False
    for flag in _FLAGS:
        wanted = getattr(when, flag)
        if wanted is not None and wanted is not getattr(signals, flag):
            return False
    if when.input_tokens_min is not None and signals.input_tokens < when.input_tokens_min:
        return False
    if when.input_tokens_max is not None and signals.input_tokens > when.input_tokens_max:
        return False
    if when.model is not None and not any(fnmatchcase(signals.model, pattern) for pattern in when.model):
        return False
    for names, value in (
        (when.tenant, signals.tenant),
        (when.principal, signals.principal),
        (when.format, "messages" if signals.format == _COUNT else signals.format),  # counted where it would be sent
    ):
        if names is not None and value not in names:
            return False
    return when.labels is None or all(signals.labels.get(name) == value for name, value in when.labels.items())


class Rules:
    """A policy's rules, in order."""

    def __init__(self, rules: Sequence["Rule"]) -> None:
        whens = [rule.when for rule in rules]
        self.named = {rule.name: rule for rule in rules}
        self.modes = frozenset(mode for when in whens for mode in when.mode or ())
        """Every mode that some rule names."""
        self._rules = rules
        self._all = (1 << len(rules)) - 1
        fields = {name: _file(getattr(when, name) for when in whens) for name in _LISTS}
        fields |= {flag: _file(_alone(getattr(when, flag)) for when in whens) for flag in _FLAGS}
        fields["format"][0][_COUNT] = fields["format"][0].get("messages", 0)
        self._fields = [
            (name, {value: bits | others for value, bits in filed.items()}, others)
            for name, (filed, others) in fields.items()
            if others != self._all
        ]
        self._edges, self._sizes = _sizes(whens)
        # One that asks for several labels is filed under one of them.
        self._labels, self._unlabelled = _file([*when.labels.items()][:1] if when.labels else None for when in whens)
        heads, self._any_model = _file(_heads(when.model) for when in whens)
        self._heads: dict[int, dict[str, int]] = {length: {} for length in sorted({len(head) for head in heads})}
        for head, bits in heads.items():
            self._heads[len(head)][head] = bits

    def first(self, signals: "Signals") -> "Rule | None":
        """The first that matches."""
        left = self._sizes[bisect_right(self._edges, signals.input_tokens)]
        for name, filed, others in self._fields:
            left &= filed.get(getattr(signals, name), others)
        if self._labels:
            found = self._unlabelled
            for label in signals.labels.items():
                found |= self._labels.get(label, 0)
            left &= found
        if self._heads:
            found, model = self._any_model, signals.model
            for length, heads in self._heads.items():
                found |= heads.get(model[:length], 0)
            left &= found
        while left:
            lowest = left & -left
            rule = self._rules[lowest.bit_length() - 1]
            if matches(rule.when, signals):
                return rule
            left ^= lowest
        return None


def _file(asked: Iterable[Collection[Any] | None]) -> tuple[dict[Any, int], int]:
    """The rules that name a value, by value, and those that ask for none."""
    filed: dict[Any, int] = {}
    others = 0
    for number, values in enumerate(asked):
        if values is None:
            others |= 1 << number
        else:
            for value in values:
                filed[value] = filed.get(value, 0) | 1 << number
    return filed, others


def _alone(flag: bool | None) -> tuple[bool] | None:
    return None if flag is None else (flag,)


def _heads(patterns: Iterable[str] | None) -> list[str] | None:
    if patterns is None:
        return None
    return [found[0] for pattern in patterns if (found := _HEAD.match(pattern))]


def _sizes(whens: Sequence["When"]) -> tuple[list[int], list[int]]:
    """Sizes at which some rule begins or ceases to hold, and the rules that hold below the first and from each on."""
    turns: dict[int, int] = {}
    holding = 0
    for number, when in enumerate(whens):
        low, high = when.input_tokens_min, when.input_tokens_max
        if low is None:
            holding |= 1 << number
        else:
            turns[low] = turns.get(low, 0) ^ 1 << number
        if high is not None:
            turns[high + 1] = turns.get(high + 1, 0) ^ 1 << number
    edges, sets = sorted(turns), [holding]
    for edge in edges:
        sets.append(sets[-1] ^ turns[edge])
    return edges, sets
