"""The official SDKs as clients of a gateway: the same turn in each format, and what they make of its answer."""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import anthropic
import msgspec
import openai
from tests.gateway.providers.turn import Heard
from tests.gateway.rig import Rig

SYSTEM, USER, MOST = "Be brief.", "What is there?", 2000
SCHEMA = {"type": "object", "properties": {"at": {"type": "number"}, "ä": {"type": "array"}}}
ASKED = Heard(SYSTEM, USER, "look", MOST)


def ask(client: str, **more: Any) -> dict[str, Any]:
    """The same in each format: a system prompt, a question, a tool, a bound."""
    function = {"name": "look", "description": "Look.", "parameters": SCHEMA}
    user = {"role": "user", "content": USER}
    if client == "chat":
        system = {"role": "system", "content": SYSTEM}
        tools: list[Any] = [{"type": "function", "function": function}]
        return {"messages": [system, user], "tools": tools, "max_completion_tokens": MOST, **more}
    if client == "responses":
        tools = [{"type": "function", **function, "strict": False}]
        return {"instructions": SYSTEM, "input": USER, "tools": tools, "max_output_tokens": MOST, **more}
    tools = [{"name": "look", "description": "Look.", "input_schema": SCHEMA}]
    return {"system": SYSTEM, "messages": [user], "tools": tools, "max_tokens": MOST, **more}


class Shown(NamedTuple):
    """What an SDK made of an answer."""

    thought: str
    text: str
    calls: list[tuple[str, Any]]
    end: str
    input: int
    """With what was cached."""
    cache_read: int
    output: int


_loads = msgspec.json.decode
ENDS = {"chat": "tool_calls", "responses": "completed", "messages": "tool_use"}


async def by_chat(on: Rig, stream: bool) -> Shown:
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{on.port}/v1", api_key=on.secret, max_retries=0) as sdk:
        made = ask("chat")
        if stream:
            async with sdk.chat.completions.stream(
                model="auto", stream_options={"include_usage": True}, **made
            ) as events:
                answer: Any = await events.get_final_completion()
        else:
            answer = await sdk.chat.completions.create(model="auto", **made)
    [choice] = answer.choices
    calls = [(call.function.name, _loads(call.function.arguments)) for call in choice.message.tool_calls]
    assert all(call.id and call.type == "function" for call in choice.message.tool_calls)
    thought = getattr(choice.message, "reasoning_content", None) or ""
    usage = answer.usage
    cached = usage.prompt_tokens_details.cached_tokens
    spent = (usage.prompt_tokens, cached, usage.completion_tokens)
    return Shown(thought, choice.message.content, calls, choice.finish_reason, *spent)


async def by_responses(on: Rig, stream: bool) -> Shown:
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{on.port}/v1", api_key=on.secret, max_retries=0) as sdk:
        made = ask("responses")
        if stream:
            async with sdk.responses.stream(model="auto", **made) as events:
                answer: Any = await events.get_final_response()
        else:
            answer = await sdk.responses.create(model="auto", **made)
    calls = [(item.name, _loads(item.arguments)) for item in answer.output if item.type == "function_call"]
    thoughts = [part.text for item in answer.output if item.type == "reasoning" for part in item.summary]
    usage = answer.usage
    spent = (usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens)
    return Shown("".join(thoughts), answer.output_text, calls, answer.status, *spent)


async def by_messages(on: Rig, stream: bool) -> Shown:
    async with anthropic.AsyncAnthropic(
        base_url=f"http://127.0.0.1:{on.port}", api_key=on.secret, max_retries=0
    ) as sdk:
        made = ask("messages")
        if stream:
            async with sdk.messages.stream(model="auto", **made) as events:
                answer: Any = await events.get_final_message()
        else:
            answer = await sdk.messages.create(model="auto", **made)
    calls = [(block.name, block.input) for block in answer.content if block.type == "tool_use"]
    thoughts = [block.thinking for block in answer.content if block.type == "thinking"]
    text = "".join(block.text for block in answer.content if block.type == "text")
    usage = answer.usage
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    spent = (usage.input_tokens + read + written, read, usage.output_tokens)
    return Shown("".join(thoughts), text, calls, answer.stop_reason, *spent)


BY: dict[str, Callable[[Rig, bool], Coroutine[Any, Any, Shown]]] = {
    "chat": by_chat,
    "responses": by_responses,
    "messages": by_messages,
}
