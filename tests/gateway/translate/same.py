"""The events of an answer, as a stream of any upstream would tell it: text and arguments in fragments of any size."""

from collections.abc import Callable

from interlock.gateway.translate.neutral import (
    Answer,
    Begin,
    BlockEnd,
    CallBegin,
    CallDelta,
    CallEnd,
    Done,
    Event,
    Finished,
    Part,
    Reasoning,
    ReasoningDelta,
    ReasoningEnd,
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
    ToolCall,
    Usage,
)

Cut = Callable[[str], list[str]]


def whole(text: str) -> list[str]:
    """No cut at all."""
    return [text] if text else []


def events_of(answer: Answer, cut: Cut = whole) -> list[Event]:
    """Begin, the parts in order, Finished, Usage (if reported), Done."""
    events: list[Event] = [Begin(answer.id, answer.model, answer.created_at)]
    slot = 0
    for part in answer.parts:
        if isinstance(part, ToolCall):
            events += [CallBegin(slot, part.id, part.name), *(CallDelta(slot, f) for f in cut(part.arguments))]
            events.append(CallEnd(slot))
            slot += 1
        else:
            events += _block(part, cut)
    events.append(Finished(answer.finish, answer.stop_sequence))
    if answer.usage:
        events.append(Usage(answer.usage))
    return [*events, Done()]


def _block(part: Part, cut: Cut) -> list[Event]:
    if isinstance(part, Text):
        return [*(TextDelta(f) for f in cut(part.text)), BlockEnd()]
    if isinstance(part, Refusal):
        return [*(RefusalDelta(f) for f in cut(part.text)), BlockEnd()]
    assert isinstance(part, Reasoning)
    deltas: list[Event] = []
    if part.kind != "redacted":
        deltas = [ReasoningDelta(part.kind, f) for f in cut(part.text)]
    return [*deltas, ReasoningEnd(part.kind, part.seal, part.id)]
