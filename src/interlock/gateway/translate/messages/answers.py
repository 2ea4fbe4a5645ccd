"""A whole Messages answer, read and written, and what its stream has in common with it.

Losses, the same whole and streamed: a refusal in words is text (with stop reason `refusal`); blocks without text are
left out, as Anthropic refuses them when they come back.
"""

from collections.abc import Mapping
from typing import Any

from interlock.errors import RemoteError
from interlock.gateway.translate.arguments import object_of
from interlock.gateway.translate.ids import CallIds
from interlock.gateway.translate.loose import name, objects, string
from interlock.gateway.translate.neutral import (
    Answer,
    Envelope,
    Finish,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from interlock.gateway.translate.reasoning import sealed
from interlock.gateway.translate.taken import compact
from interlock.gateway.translate.usage import write_messages_usage
from interlock.gateway.wire.usage import messages_usage

_STOP_REASONS: dict[Finish, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "refusal": "refusal",
    "pause": "pause_turn",
}
_FINISHES: dict[object, Finish] = {reason: finish for finish, reason in _STOP_REASONS.items()}
_CUT: frozenset[Finish] = frozenset({"stop_sequence", "length", "context", "refusal", "pause"})


def read_answer(document: dict[str, Any]) -> Answer:
    """Read a whole answer; what has an odd shape is left out."""
    parts: list[Part] = []
    dropped: list[str] = []
    for block in objects(document.get("content")):
        parts += _read_block(block, dropped)
    return Answer(
        id=name(document.get("id")),
        model=name(document.get("model")),
        parts=tuple(parts),
        finish=finish_of(document.get("stop_reason")),
        stop_sequence=string(document.get("stop_sequence")),
        usage=messages_usage(document.get("usage")).usage,
        dropped=tuple(dict.fromkeys(dropped)),
    )


def _read_block(block: dict[str, Any], dropped: list[str]) -> list[Part]:
    kind = block.get("type")
    if kind == "text":
        if block.get("citations"):
            dropped.append("citations")
        text = string(block.get("text"))
        return [Text(text=text)] if text else []
    if kind == "thinking":
        return [Reasoning(kind="thinking", text=string(block.get("thinking")), seal=string(block.get("signature")))]
    if kind == "redacted_thinking":
        return [Reasoning(kind="redacted", seal=string(block.get("data")))]
    if kind == "tool_use":
        arguments = compact(block["input"]) if type(block.get("input")) is dict else "{}"
        return [ToolCall(id=string(block.get("id")), name=string(block.get("name")), arguments=arguments)]
    dropped.append(name(block.get("type")) or "unknown")
    return []


def write_answer(answer: Answer, envelope: Envelope) -> dict[str, Any]:
    """A whole answer in Messages' words.

    Raises: RemoteError: `upstream_invalid`, the arguments of a tool call are not one JSON object (those of the last
        part may be cut off, as by `max_tokens`: what can be read of them is the input).
    """
    content: list[dict[str, Any]] = []
    parts = [part for part in answer.parts if not isinstance(part, Text | Refusal) or part.text]
    ids = CallIds(envelope.key, "messages")
    for place, part in enumerate(parts):
        if isinstance(part, Text | Refusal):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, Reasoning):
            content.append(_reasoning(part, envelope.family))
        elif isinstance(part, ToolCall):
            cut = answer.finish in _CUT and place == len(parts) - 1
            content.append(
                {
                    "type": "tool_use",
                    "id": ids.next(part.id),
                    "name": part.name,
                    "input": input_of(part.arguments, cut=cut),
                }
            )
    finish = settled_finish(
        answer.finish,
        called=any(isinstance(part, ToolCall) for part in parts),
        refused=any(isinstance(part, Refusal) for part in parts),
    )
    return {
        "id": answer.id or f"msg_{envelope.key}",
        "type": "message",
        "role": "assistant",
        "model": answer.model or envelope.model,
        "content": content,
        **stop_of(finish, answer.stop_sequence),
        "usage": write_messages_usage(completed(answer.usage, envelope, sum(_chars(part) for part in parts))),
    }


def _reasoning(part: Reasoning, family: str) -> dict[str, Any]:
    if part.kind == "redacted":
        return {"type": "redacted_thinking", "data": part.seal}
    return {"type": "thinking", "thinking": part.text, "signature": signature_of(part.kind, part.seal, part.id, family)}


def _chars(part: Part) -> int:
    match part:
        case Text(text=text) | Refusal(text=text) | Reasoning(text=text) | ToolCall(arguments=text):
            return len(text)
    return 0


def signature_of(kind: str, seal: str, id: str, family: str) -> str:
    """What stands in a thinking block's `signature`: Anthropic's own, or a carrier of what another family wrote."""
    if kind == "thinking":
        return seal
    return sealed("item" if kind == "item" else "plain", seal, id, family)


def input_of(arguments: str, *, cut: bool) -> dict[str, Any]:
    """The arguments as an object; none are {}. `cut`: they may stop anywhere (Anthropic's SDK reads them so too).

    Raises: RemoteError: `upstream_invalid`, they are not one JSON object.
    """
    try:
        return object_of(arguments, cut=cut)
    except ValueError as error:
        raise RemoteError(
            f"arguments of a tool call are not one JSON object: {error}", code="upstream_invalid"
        ) from error


def is_cut(finish: Finish) -> bool:
    """Whether an answer that ended so may end within a tool call's arguments."""
    return finish in _CUT


def settled_finish(finish: Finish, *, called: bool, refused: bool) -> Finish:
    """The finish that agrees with what was sent: clients run tools on `tool_use`, and only then."""
    if finish not in ("stop", "tool_calls"):
        return finish
    return "tool_calls" if called else "refusal" if refused else "stop"


def stop_of(finish: Finish, stop_sequence: str) -> dict[str, Any]:
    """`stop_reason` and `stop_sequence`."""
    matched = stop_sequence if finish == "stop_sequence" else ""
    return {"stop_reason": _STOP_REASONS[finish], "stop_sequence": matched or None}


def finish_of(stop_reason: object) -> Finish:
    """Our word for a stop reason; `stop` for one that is not known."""
    return _FINISHES.get(stop_reason, "stop") if isinstance(stop_reason, str) else "stop"


def completed(usage: Mapping[str, int], envelope: Envelope, chars: int) -> dict[str, int]:
    """Usage with estimates for what was not reported, as a Messages answer must say both: of the output, a quarter of
    its `chars`."""
    return {"input": envelope.input_estimate, "output": (chars + 3) // 4} | dict(usage)
