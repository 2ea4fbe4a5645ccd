"""The answer of turn.py as Azure sends it: OpenAI's shapes, with additions."""

import base64
import json
from typing import Any

from tests.gateway.answers import data, named
from tests.gateway.providers.turn import ARGUMENTS, SECRET, TEXT, THOUGHT, Heard, json_of, text_of

AZURE_REFUSED = {
    403: json_of({"error": {"code": "403", "message": f"Access denied for {SECRET}."}}),
    429: json_of({"error": {"code": "429", "message": "Requests have exceeded the call rate limit."}}),
    400: json_of({"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}),
}
_FILTERED = {"hate": {"filtered": False, "severity": "safe"}}
_CHAT_USAGE = {
    "prompt_tokens": 35,
    "completion_tokens": 9,
    "total_tokens": 44,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0},
}
_CHAT_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": json.dumps(ARGUMENTS)},
}
CHAT = json_of(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5-2025-08-07",
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _FILTERED}],
        "choices": [
            {
                "index": 0,
                "content_filter_results": _FILTERED,
                "message": {"role": "assistant", "content": TEXT, "refusal": None, "tool_calls": [_CHAT_CALL]},
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": _CHAT_USAGE,
    }
)


def hear_chat(said: dict[str, Any]) -> Heard:
    system, user = said["messages"]
    [tool] = said["tools"]
    most = said.get("max_completion_tokens") or said["max_tokens"]
    return Heard(text_of(system["content"]), text_of(user["content"]), tool["function"]["name"], most)


def _chat(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None, "content_filter_results": {}}
    return _chat_chunk([choice])


def _chat_chunk(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
    said = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-2025-08-07"}
    return data({**said, "choices": choices, "usage": usage})


def _fragment(**function: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": function}]}


_FIRST = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
CHAT_EVENTS = [
    data(
        {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _FILTERED}],
        }
    ),
    _chat({"role": "assistant", "content": "", "refusal": None}),
    _chat({"content": "Let me "}),
    _chat({"content": "look."}),
    _chat({"tool_calls": [_FIRST]}),
    _chat(_fragment(arguments='{"at": 1.5')),
    _chat(_fragment(arguments=', "ä": []}')),
    _chat({}, "tool_calls"),
    _chat_chunk([], _CHAT_USAGE),
    b"data: [DONE]\n\n",
]
CHAT_BROKEN = data({"error": {"message": "The server had an error.", "type": "server_error", "code": None}})

_REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": THOUGHT}],
    "encrypted_content": base64.b64encode(b"sealed").decode(),
    "status": "completed",
}
_WORDS = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}],
}
_FUNCTION = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "look",
    "arguments": json.dumps(ARGUMENTS),
    "status": "completed",
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "gpt-5",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "output": [_REASONING, _WORDS, _FUNCTION],
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "usage": {
        "input_tokens": 35,
        "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 44,
    },
}


def hear_responses(said: dict[str, Any]) -> Heard:
    messages = said["input"]
    user = messages if isinstance(messages, str) else text_of(messages[-1]["content"])
    system = said.get("instructions") or text_of(messages[0]["content"])
    [tool] = said["tools"]
    return Heard(system, user, tool["name"], said["max_output_tokens"])


def _numbered(*events: dict[str, Any]) -> list[bytes]:
    return [named({**event, "sequence_number": number}) for number, event in enumerate(events)]


def _item(at: int, kind: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": f"response.output_item.{kind}", "output_index": at, "item": item}


def _of(at: int, type: str, item: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": f"response.{type}", "output_index": at, "item_id": item["id"], **more}


_EMPTY = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
_NO_SUMMARY = {"type": "summary_text", "text": ""}
RESPONSES_EVENTS = _numbered(
    {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None}},
    {"type": "response.in_progress", "response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None}},
    _item(0, "added", {**_REASONING, "summary": [], "status": "in_progress"}),
    _of(0, "reasoning_summary_part.added", _REASONING, summary_index=0, part=_NO_SUMMARY),
    _of(0, "reasoning_summary_text.delta", _REASONING, summary_index=0, delta=THOUGHT),
    _of(0, "reasoning_summary_text.done", _REASONING, summary_index=0, text=THOUGHT),
    _of(0, "reasoning_summary_part.done", _REASONING, summary_index=0, part={**_NO_SUMMARY, "text": THOUGHT}),
    _item(0, "done", _REASONING),
    _item(1, "added", {**_WORDS, "content": [], "status": "in_progress"}),
    _of(1, "content_part.added", _WORDS, content_index=0, part=_EMPTY),
    _of(1, "output_text.delta", _WORDS, content_index=0, delta="Let me ", logprobs=[]),
    _of(1, "output_text.delta", _WORDS, content_index=0, delta="look.", logprobs=[]),
    _of(1, "output_text.done", _WORDS, content_index=0, text=TEXT, logprobs=[]),
    _of(1, "content_part.done", _WORDS, content_index=0, part={**_EMPTY, "text": TEXT}),
    _item(1, "done", _WORDS),
    _item(2, "added", {**_FUNCTION, "arguments": "", "status": "in_progress"}),
    _of(2, "function_call_arguments.delta", _FUNCTION, delta='{"at": 1.5'),
    _of(2, "function_call_arguments.delta", _FUNCTION, delta=', "ä": []}'),
    _of(2, "function_call_arguments.done", _FUNCTION, arguments=json.dumps(ARGUMENTS), name="look"),
    _item(2, "done", _FUNCTION),
    {"type": "response.completed", "response": RESPONSE},
)
RESPONSES_BROKEN = named(
    {
        "type": "error",
        "sequence_number": 11,
        "code": "server_error",
        "message": "The server had an error.",
        "param": None,
    }
)
