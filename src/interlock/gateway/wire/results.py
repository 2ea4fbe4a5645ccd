"""Which tools' results the last turn of a request carries: their names, as the client's own messages tell them.

A result names its call by id, and the call, in the turn before, names the tool. Only the end of a conversation is
looked at, and nothing of a call without results. What a client does not send (calls behind `previous_response_id`) or
writes in another shape has no name here; nothing is refused for it.
"""

import re
from typing import Any

RESULTS_MAX = 64
"""Results that are looked at, the latest first."""
CALLS_MAX = 256
"""Items before them among which their calls are sought."""
NAMES_MAX = 8
"""Different names that are told; more are left out."""
_NAME = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}")
"""What providers let a tool be called, and no comma."""
_OUTPUT = "_call_output"
_KNOWN: set[str] = set()
"""Names that were seen to be such: a look-up costs a quarter of the match."""
KNOWN_MAX = 1024


def chat(messages: list[Any]) -> str:
    """Names with commas between, each once, in order; empty: none is known. `messages` were looked through."""
    if len(messages) > 1:  # by far the most: one call, and its result
        calls, id = messages[-2].get("tool_calls"), messages[-1].get("tool_call_id")
        if type(calls) is list and len(calls) == 1 and type(calls[0]) is dict and type(id) is str:
            said = calls[0].get("function")
            if type(said) is dict and calls[0].get("id") == id:
                return _joined([said.get("name")])
    names: list[object] = []
    wanted: list[object] = []
    for index in range(len(messages) - 1, max(len(messages) - RESULTS_MAX, 0) - 1, -1):
        message = messages[index]
        role = message["role"]
        if role == "tool":
            _want(wanted, message.get("tool_call_id"))
        elif role == "function":
            names.append(message.get("name"))
        else:
            calls = message.get("tool_calls")
            if type(calls) is list:
                _add_called(calls, wanted, names)
            break
    return _joined(names)


def messages(messages: list[Any]) -> str:
    """As `chat`, of the Messages format."""
    content = messages[-2].get("content") if len(messages) > 1 else None
    if type(content) is not list:
        return ""
    wanted: list[object] = []
    for part in messages[-1]["content"][:CALLS_MAX]:
        if part.get("type") == "tool_result":
            _want(wanted, part.get("tool_use_id"))
    names: list[object] = []
    for part in content[-CALLS_MAX:]:
        if part.get("type") == "tool_use" and part.get("id") in wanted:
            names.append(part.get("name"))
    return _joined(names)


def responses(items: list[Any]) -> str:
    """As `chat`, of the Responses format. Results of built-in tools are named by their kind: `computer`, `shell`."""
    if len(items) > 1:  # as in `chat`
        called, told = items[-2], items[-1]
        if called.get("type") == "function_call" and told.get("type") == "function_call_output":
            id = told.get("call_id")
            if type(id) is str and called.get("call_id") == id:
                return _joined([called.get("name")])
    names: list[object] = []
    wanted: list[object] = []
    index = len(items) - 1
    end = max(index - RESULTS_MAX, -1)
    while index > end:
        kind = items[index].get("type")
        if kind == "function_call_output" or kind == "custom_tool_call_output":
            _want(wanted, items[index].get("call_id"))
        elif type(kind) is str and kind.endswith(_OUTPUT):
            names.append(kind[: -len(_OUTPUT)])
        else:
            break
        index -= 1
    end = max(index - CALLS_MAX, -1)
    while wanted and index > end:
        item = items[index]
        index -= 1
        kind = item.get("type")
        if (kind == "function_call" or kind == "custom_tool_call") and item.get("call_id") in wanted:
            wanted.remove(item["call_id"])
            names.append(item.get("name"))
    return _joined(names)


def _want(wanted: list[object], id: object) -> None:
    if type(id) is str:
        wanted.append(id)


def _add_called(calls: list[Any], wanted: list[object], names: list[object]) -> None:
    """Names of a chat message's calls whose ids are wanted."""
    for call in calls[:CALLS_MAX]:
        if type(call) is dict and call.get("id") in wanted:
            said = call.get("function") or call.get("custom")
            if type(said) is dict:
                names.append(said.get("name"))


def _joined(names: list[object]) -> str:
    if len(names) == 1:
        name = names[0]
        return name if type(name) is str and (name in _KNOWN or _known(name)) else ""
    known = {name for name in names if type(name) is str and _known(name)}
    return ",".join(sorted(known)[:NAMES_MAX])


def _known(name: str) -> bool:
    if _NAME.fullmatch(name) is None:
        return False
    if len(_KNOWN) < KNOWN_MAX:
        _KNOWN.add(name)
    return True
