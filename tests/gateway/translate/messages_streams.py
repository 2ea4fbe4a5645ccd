"""What tests of Messages streams share."""

from collections.abc import Iterator
from typing import Any

import msgspec
from anthropic._streaming import SSEDecoder
from hypothesis import strategies as st

from interlock.gateway.translate.messages import StreamWriter
from interlock.gateway.translate.neutral import (
    Ask,
    Envelope,
    Event,
)

ENVELOPE = Envelope(
    key="0" * 32,
    created_at=1,
    ask=Ask(format="messages", stream=True, turns=()),
    family="gpt",
    model="gpt-x",
    input_estimate=7,
)


def written(*events: Event) -> bytes:
    writer = StreamWriter(ENVELOPE)
    return b"".join(writer.write(event) for event in events)


def payloads(stream: bytes) -> list[dict[str, Any]]:
    """As the SDK reads them: each has an event line that is its type."""
    found = []
    for sse in SSEDecoder().iter_bytes(iter([stream])):
        payload = msgspec.json.decode(sse.data)
        assert sse.event == payload["type"]
        found.append(payload)
    return found


def legal(found: list[dict[str, Any]]) -> bool:
    """Whether this is the beginning of a Messages stream: one start, dense blocks one after the other, one end."""
    state, index = "before", -1
    for payload in found:
        match payload["type"], state:
            case "message_start", "before":
                state = "between"
            case "content_block_start", "between":
                index += 1
                assert payload["index"] == index
                state = payload["content_block"]["type"]
            case "content_block_delta", "text" | "thinking" | "tool_use":
                assert payload["index"] == index
                assert (
                    payload["delta"]["type"]
                    in {
                        "text": ("text_delta",),
                        "thinking": ("thinking_delta", "signature_delta"),
                        "tool_use": ("input_json_delta",),
                    }[state]
                )
            case "content_block_stop", "text" | "thinking" | "redacted_thinking" | "tool_use":
                assert payload["index"] == index
                state = "between"
            case "message_delta", "between":
                state = "told"
            case "message_stop", "told":
                state = "over"
            case "error", _:
                assert state != "over"
                state = "over"
            case kind, _:
                raise AssertionError(f"{kind} while {state}")
    return True


# the same, whole and streamed

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def block(content: dict[str, Any], *deltas: dict[str, Any], index: int = 0) -> Iterator[dict[str, Any]]:
    yield {"type": "content_block_start", "index": index, "content_block": content}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}
