"""The official clients as judges: each format's whole answer and what its own stream helper puts together, and what
either of them shows, in plain words.

It knows the SDKs and the formats, and nothing of the server but the names of its headers.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import anthropic
import msgspec
import openai

TIMEOUT_S = 20.0
_ITEM_DONE = "response.output_item.done"
_LOCAL = {"parsed", "parsed_arguments", "parsed_output"}
"""What the helpers add by themselves."""
_UNTOLD = {"obfuscation", "created", "created_at", "index"}
"""What differs between two calls, or stands in a stream only."""


class Got(NamedTuple):
    """An answer as its SDK holds it, in JSON's types, and the answer's headers."""

    document: dict[str, Any]
    headers: Mapping[str, str]
    answer: Any
    """The SDK's object itself, to be handed back."""

    @property
    def request_id(self) -> str:
        return self.headers["x-interlock-request-id"]

    @property
    def dropped(self) -> set[str]:
        """Paths of what the upstream was not told."""
        return set(filter(None, self.headers.get("x-interlock-dropped", "").split(", ")))

    def comparable(self) -> Any:
        """Without what differs from call to call: ids that are made of the request's, times, the helpers' own."""
        text = msgspec.json.encode(self.document).decode().replace(self.request_id[4:], "REQUEST")
        return _pruned(msgspec.json.decode(text))


class Shown(NamedTuple):
    """What an answer says."""

    text: str
    refusal: str
    thoughts: str
    calls: list[tuple[str, str, Any]]
    """(id, name, arguments)."""
    finish: str
    """In the format's own word."""
    usage: dict[str, int]
    """In the ledger's kinds, as far as the format has words for them."""


class Clients:
    """Both SDKs at one server with one key."""

    def __init__(self, url: str, key: str) -> None:
        self.openai = openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=TIMEOUT_S, max_retries=0)
        self.anthropic = anthropic.Anthropic(base_url=url, api_key=key, timeout=TIMEOUT_S, max_retries=0)

    def close(self) -> None:
        self.openai.close()
        self.anthropic.close()

    def ask(self, format: str, request: dict[str, Any], *, stream: bool) -> Got:
        """One call. Raises: the SDK's own errors."""
        call = getattr(self, f"_{format}_{'streamed' if stream else 'whole'}")
        got: Got = call(request)
        return got

    def _chat_whole(self, request: dict[str, Any]) -> Got:
        raw = self.openai.chat.completions.with_raw_response.create(**request)
        return _got(raw)

    def _chat_streamed(self, request: dict[str, Any]) -> Got:
        with self.openai.chat.completions.stream(**request, stream_options={"include_usage": True}) as stream:
            chunks = [event.chunk for event in stream if event.type == "chunk"]
            try:
                final: Any = stream.get_final_completion()
            except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
                final = stream.current_completion_snapshot  # the helper's own way to say so; the answer is all there
            document = final.to_dict(mode="json")
            for choice in [choice for chunk in chunks for choice in chunk.choices]:
                document["choices"][0] |= choice.model_extra or {}  # of which the helper keeps the first chunk's alone
            return Got(document, stream._response.headers, final)

    def _responses_whole(self, request: dict[str, Any]) -> Got:
        raw = self.openai.responses.with_raw_response.create(**request)
        return _got(raw)

    def _responses_streamed(self, request: dict[str, Any]) -> Got:
        with self.openai.responses.stream(**request) as stream:
            events: list[Any] = list(stream)
            last = events[-1]
            final = stream.get_final_response() if last.type == "response.completed" else last.response
            assert [event.sequence_number for event in events] == list(range(len(events)))
            assert last.type in ("response.completed", "response.incomplete")
            done = {e.output_index: _pruned(e.item.to_dict(mode="json")) for e in events if e.type == _ITEM_DONE}
            assert [done[at] for at in range(len(done))] == _pruned(last.response.to_dict(mode="json")["output"])
            told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            assert told == final.output_text
            return Got(final.to_dict(mode="json"), stream._response.headers, final)

    def _messages_whole(self, request: dict[str, Any]) -> Got:
        raw = self.anthropic.messages.with_raw_response.create(**request)
        return _got(raw)

    def _messages_streamed(self, request: dict[str, Any]) -> Got:
        with self.anthropic.messages.stream(**request) as stream:
            events = list(stream)
            assert events[0].type == "message_start"
            assert events[0].message.usage.input_tokens > 0
            assert events[-1].type == "message_stop"
            places = [e.index for e in events if e.type in ("content_block_start", "content_block_stop")]
            assert places == [at for at in range(len(places) // 2) for _ in "be"], "blocks overlap, or leave a gap"
            final = stream.get_final_message()
            return Got(final.to_dict(mode="json"), stream.response.headers, final)


def _got(raw: Any) -> Got:
    answer = raw.parse()
    return Got(answer.to_dict(mode="json"), raw.headers, answer)


def shown(format: str, document: dict[str, Any]) -> Shown:
    """What it says."""
    return {"chat": _of_chat, "responses": _of_responses, "messages": _of_messages}[format](document)


def _of_chat(document: dict[str, Any]) -> Shown:
    [choice] = document["choices"]
    message = choice["message"]
    calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls") or ()]
    usage = document["usage"]
    read, written = _details(usage, "prompt_tokens_details"), _details(usage, "completion_tokens_details")
    return Shown(
        message.get("content") or "",
        message.get("refusal") or "",
        message.get("reasoning_content") or "",
        [(id, name, msgspec.json.decode(arguments or "{}")) for id, name, arguments in calls],
        choice["finish_reason"],
        {
            "input": usage["prompt_tokens"],
            "cache_read": read.get("cached_tokens", 0),
            "cache_write": read.get("cache_write_tokens", 0),
            "output": usage["completion_tokens"],
            "reasoning": written.get("reasoning_tokens", 0),
        },
    )


def _of_responses(document: dict[str, Any]) -> Shown:
    items, usage = document["output"], document["usage"]
    said = [part for one in items if one["type"] == "message" for part in one["content"]]
    calls = [(one["call_id"], one["name"], one["arguments"]) for one in items if one["type"] == "function_call"]
    summaries = [part for one in items if one["type"] == "reasoning" for part in one["summary"]]
    details = document.get("incomplete_details")
    read, written = _details(usage, "input_tokens_details"), _details(usage, "output_tokens_details")
    return Shown(
        "".join(part["text"] for part in said if part["type"] == "output_text"),
        "".join(part["refusal"] for part in said if part["type"] == "refusal"),
        "\n\n".join(part["text"] for part in summaries),
        [(id, name, msgspec.json.decode(arguments)) for id, name, arguments in calls],
        details["reason"] if details else document["status"],
        {
            "input": usage["input_tokens"],
            "cache_read": read.get("cached_tokens", 0),
            "cache_write": read.get("cache_write_tokens", 0),
            "output": usage["output_tokens"],
            "reasoning": written.get("reasoning_tokens", 0),
        },
    )


def _of_messages(document: dict[str, Any]) -> Shown:
    blocks, usage = document["content"], document["usage"]
    read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    split = usage.get("cache_creation") or {}
    five, hour = split.get("ephemeral_5m_input_tokens", 0), split.get("ephemeral_1h_input_tokens", 0)
    details = usage.get("output_tokens_details") or {}
    finish = document["stop_reason"]
    return Shown(
        "".join(b["text"] for b in blocks if b["type"] == "text"),
        "",
        "\n\n".join(b["thinking"] for b in blocks if b["type"] == "thinking" and b["thinking"]),
        [(b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"],
        f"{finish}:{document['stop_sequence']}" if document["stop_sequence"] else finish,
        {
            "input": usage["input_tokens"] + read + written,
            "cache_read": read,
            "cache_write": written - five - hour,
            "cache_write_5m": five,
            "cache_write_1h": hour,
            "output": usage["output_tokens"],
            "reasoning": details.get("thinking_tokens", 0),
        },
    )


def _details(usage: dict[str, Any], name: str) -> dict[str, int]:
    """Compatible servers leave them out."""
    return usage.get(name) or {}


def _pruned(value: Any) -> Any:
    """Without what stands in `_LOCAL` and `_UNTOLD`, and without members that are null or empty."""
    if isinstance(value, list):
        return [_pruned(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _pruned(one) for name, one in value.items() if name not in _LOCAL | _UNTOLD}
    return {name: one for name, one in kept.items() if one not in (None, "", [], {})}
