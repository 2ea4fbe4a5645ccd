"""What the readers of the three formats' streams share: an end, and a bound on what an upstream can make us hold.

A reader keeps little by itself, but who hears its events keeps text: a Responses stream repeats all of it at its end,
a Messages stream holds calls back. So what is told is bounded here, once for all.
"""

from typing import Any

from interlock.gateway.translate.loose import name
from interlock.gateway.translate.neutral import (
    CallBegin,
    CallDelta,
    Event,
    Failed,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    TextDelta,
    Unsaid,
)

CHARS_MAX = 16 << 20
"""Of text, reasoning and arguments in one answer: four times what a model that writes a million tokens can say."""
THINGS_MAX = 100_000
"""Blocks, calls and other things that are told apart, in one answer."""
_UNSAID_MAX = 64


class Reader:
    """One stream: `read` each payload, `end` when the body is over. After the stream's end it reads nothing."""

    def __init__(self) -> None:
        self._over = False
        self._chars = CHARS_MAX
        self._things = THINGS_MAX
        self._unsaid: set[str] = set()

    def read(self, document: dict[str, Any]) -> list[Event]:
        """The events that one decoded payload tells; it never raises."""
        if self._over:
            return []
        try:
            events = self._told(document)
        except RecursionError:  # arguments nested just less deeply than the decoder allows, encoded again
            return self._cut_off("the upstream's answer is nested too deeply")
        for event in events:
            if type(event) is TextDelta:
                self._chars -= len(event.text)
            else:
                self._count(event)
        if self._chars < 0 or self._things < 0:
            return self._cut_off("the upstream's answer is too long")
        return events

    def done(self) -> list[Event]:
        """`[DONE]` came."""
        return self.end()

    def end(self) -> list[Event]:
        """The body is over."""
        self._over = True
        return []

    def _cut_off(self, why: str) -> list[Event]:
        self._over = True
        return [Failed("upstream_invalid", why)]

    def _told(self, document: dict[str, Any]) -> list[Event]:
        raise NotImplementedError  # each format's reader has its own; this class is never made itself

    def _count(self, event: Event) -> None:
        if isinstance(event, ReasoningDelta | RefusalDelta):
            self._chars -= len(event.text)
        elif isinstance(event, CallDelta):
            self._chars -= len(event.fragment)
        elif isinstance(event, CallBegin):
            self._chars -= len(event.id) + len(event.name)
            self._things -= 1
        elif isinstance(event, ReasoningEnd):
            self._chars -= len(event.seal) + len(event.id)
            self._things -= 1

    def _left_out(self, kind: object) -> list[Event]:
        """Name, once, a type of block that no other format has a word for."""
        said = name(kind) or "unknown"
        if said in self._unsaid or len(self._unsaid) == _UNSAID_MAX:
            return []
        self._unsaid.add(said)
        return [Unsaid(said)]
