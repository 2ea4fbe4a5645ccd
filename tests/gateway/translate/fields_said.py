"""One example of every field that a client can send beside its messages, and what becomes of it at each target."""

from typing import Any

import msgspec

from interlock.errors import LocalError
from interlock.gateway.translate import read_request, write_request
from interlock.gateway.translate.neutral import Target
from interlock.ledger import Format

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
CHAT_TOOLS = {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]}
MESSAGES_TOOLS = {"tools": [{"name": "f", "input_schema": SCHEMA}]}
RESPONSES_TOOLS = {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA}]}
CHAT_SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}
MINIMAL: dict[Format, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "a"}]},
    "messages": {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "a"}]},
    "responses": {"model": "m", "input": "a"},
}
TARGETS: dict[Format, Target] = {
    "chat": Target(model="gpt-5", family="gpt"),
    "messages": Target(model="claude-opus", family="claude-opus", max_output=64_000),
    "responses": Target(model="gpt-5", family="gpt"),
}


EXAMPLES: dict[Format, dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "chat": {
        "audio": ({}, {"audio": {"voice": "a", "format": "mp3"}}),
        "frequency_penalty": ({}, {"frequency_penalty": 0.5}),
        "functions": ({}, {"functions": [{"name": "f", "parameters": SCHEMA}]}),
        "function_call": ({"functions": [{"name": "f"}]}, {"function_call": {"name": "f"}}),
        "logit_bias": ({}, {"logit_bias": {"1": 2}}),
        "logprobs": ({}, {"logprobs": True}),
        "max_completion_tokens": ({}, {"max_completion_tokens": 77}),
        "max_tokens": ({}, {"max_tokens": 77}),
        "metadata": ({}, {"metadata": {"a": "b"}}),
        "modalities": ({}, {"modalities": ["text", "audio"]}),
        "moderation": ({}, {"moderation": {"a": 1}}),
        "n": ({}, {"n": 2}),
        "parallel_tool_calls": (CHAT_TOOLS, {"parallel_tool_calls": False}),
        "prediction": ({}, {"prediction": {"type": "content", "content": "a"}}),
        "presence_penalty": ({}, {"presence_penalty": 0.5}),
        "prompt_cache_key": ({}, {"prompt_cache_key": "k"}),
        "prompt_cache_options": ({}, {"prompt_cache_options": {"a": 1}}),
        "prompt_cache_retention": ({}, {"prompt_cache_retention": "24h"}),
        "reasoning_effort": ({}, {"reasoning_effort": "high"}),
        "response_format: json_object": ({}, {"response_format": {"type": "json_object"}}),
        "response_format: json_schema": ({}, CHAT_SCHEMA),
        "safety_identifier": ({}, {"safety_identifier": "u"}),
        "seed": ({}, {"seed": 1}),
        "service_tier": ({}, {"service_tier": "flex"}),
        "session_id": ({}, {"session_id": "s"}),
        "stop": ({}, {"stop": ["a"]}),
        "store": ({}, {"store": True}),
        "stream_options.include_obfuscation": ({"stream": True}, {"stream_options": {"include_obfuscation": False}}),
        "temperature": ({}, {"temperature": 0.5}),
        "temperature above 1": ({}, {"temperature": 1.5}),
        "tool_choice": (CHAT_TOOLS, {"tool_choice": "required"}),
        "tools": ({}, CHAT_TOOLS),
        "top_k": ({}, {"top_k": 5}),
        "top_logprobs": ({}, {"top_logprobs": 2}),
        "top_p": ({}, {"top_p": 0.5}),
        "user": ({}, {"user": "u"}),
        "verbosity": ({}, {"verbosity": "low"}),
        "web_search_options": ({}, {"web_search_options": {"search_context_size": "low"}}),
    },
    "messages": {
        "cache_control": ({}, {"cache_control": {"type": "ephemeral"}}),
        "container": ({}, {"container": "c"}),
        "context_management": ({}, {"context_management": {"edits": []}}),
        "diagnostics": ({}, {"diagnostics": {"a": 1}}),
        "inference_geo": ({}, {"inference_geo": "us"}),
        "max_tokens": ({}, {"max_tokens": 77}),
        "mcp_servers": ({}, {"mcp_servers": [{"type": "url", "name": "a", "url": "https://a.test"}]}),
        "metadata.user_id": ({}, {"metadata": {"user_id": "u"}}),
        "output_config.effort": ({}, {"output_config": {"effort": "high"}}),
        "output_config.format": ({}, {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
        "service_tier": ({}, {"service_tier": "standard_only"}),
        "speed": ({}, {"speed": "fast"}),
        "stop_sequences": ({}, {"stop_sequences": ["a"]}),
        "system": ({}, {"system": "s"}),
        "temperature": ({}, {"temperature": 0.5}),
        "thinking: adaptive": ({}, {"thinking": {"type": "adaptive"}}),
        "thinking: disabled": ({}, {"thinking": {"type": "disabled"}}),
        "thinking: enabled": ({}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        "thinking.display": (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            {"thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}},
        ),
        "tool_choice": (MESSAGES_TOOLS, {"tool_choice": {"type": "any"}}),
        "tool_choice.disable_parallel_tool_use": (
            {**MESSAGES_TOOLS, "tool_choice": {"type": "any"}},
            {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        ),
        "tools": ({}, MESSAGES_TOOLS),
        "tools of Anthropic's": ({}, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        "top_k": ({}, {"top_k": 5}),
        "top_p": ({}, {"top_p": 0.5}),
        "user_profile_id": ({}, {"user_profile_id": "u"}),
        "workspace_id": ({}, {"workspace_id": "w"}),
    },
    "responses": {
        "access_programs": ({}, {"access_programs": ["a"]}),
        "background": ({}, {"background": True}),
        "background_options": ({}, {"background_options": {"a": 1}}),
        "context_management": ({}, {"context_management": [{"type": "compaction"}]}),
        "conversation": ({}, {"conversation": "c"}),
        "image": ({}, {"image": {"a": 1}}),
        "include": ({}, {"include": ["message.output_text.logprobs"]}),
        "instructions": ({}, {"instructions": "i"}),
        "max_output_tokens": ({}, {"max_output_tokens": 77}),
        "max_tool_calls": ({}, {"max_tool_calls": 3}),
        "metadata": ({}, {"metadata": {"a": "b"}}),
        "moderation": ({}, {"moderation": {"a": 1}}),
        "parallel_tool_calls": (RESPONSES_TOOLS, {"parallel_tool_calls": False}),
        "previous_response_id": ({}, {"previous_response_id": "r"}),
        "prompt": ({}, {"prompt": {"id": "p"}}),
        "prompt_cache_key": ({}, {"prompt_cache_key": "k"}),
        "prompt_cache_options": ({}, {"prompt_cache_options": {"a": 1}}),
        "prompt_cache_retention": ({}, {"prompt_cache_retention": "24h"}),
        "reasoning.effort": ({}, {"reasoning": {"effort": "high"}}),
        "reasoning.summary": (
            {"reasoning": {"effort": "low"}},
            {"reasoning": {"effort": "low", "summary": "detailed"}},
        ),
        "safety_identifier": ({}, {"safety_identifier": "u"}),
        "service_tier": ({}, {"service_tier": "flex"}),
        "store": ({}, {"store": False}),
        "stream_options.include_obfuscation": ({"stream": True}, {"stream_options": {"include_obfuscation": False}}),
        "temperature": ({}, {"temperature": 0.5}),
        "temperature above 1": ({}, {"temperature": 1.5}),
        "text.format: json_object": ({}, {"text": {"format": {"type": "json_object"}}}),
        "text.format: json_schema": ({}, {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}}),
        "text.verbosity": ({}, {"text": {"verbosity": "low"}}),
        "tool_choice": (RESPONSES_TOOLS, {"tool_choice": "required"}),
        "tools": ({}, RESPONSES_TOOLS),
        "tools of OpenAI's": ({}, {"tools": [{"type": "web_search"}]}),
        "top_logprobs": ({}, {"top_logprobs": 2}),
        "top_p": ({}, {"top_p": 0.5}),
        "truncation": ({}, {"truncation": "auto"}),
        "user": ({}, {"user": "u"}),
    },
}
"""By its name on the page: (what is said anyway, the field)."""


def outcome(client: Format, field: str, target: Format) -> str:
    """`refused`; `dropped`: it left no trace but its path in the list; `said`; or `lost`, which must not be."""
    around, more = EXAMPLES[client][field]
    before, dropped_before = _written(client, MINIMAL[client] | around, target)
    try:
        after, dropped = _written(client, MINIMAL[client] | around | more, target)
    except LocalError as error:
        assert error.field
        return "refused"
    if after != before:
        return "said"
    return "dropped" if set(dropped) - set(dropped_before) else "lost"


def _written(client: Format, document: dict[str, Any], target: Format) -> tuple[dict[str, Any], tuple[str, ...]]:
    body, dropped = write_request(read_request(client, msgspec.json.encode(document)), target, TARGETS[target])
    return msgspec.json.decode(body), dropped
