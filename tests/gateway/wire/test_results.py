"""Whose results a request carries: by id, in every format, and nothing that is not said."""

from typing import Any

import msgspec
import pytest

from interlock.gateway.wire import read, results
from interlock.ledger import Format

Turn = list[tuple[str, str]]
"""(id, tool's name) of each call of a turn."""


def conversation(format: Format, calls: Turn, answered: list[str]) -> dict[str, Any]:
    """A request whose last turn answers the calls with these ids."""
    if format == "chat":
        said = [{"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}} for id, name in calls]
        turns: list[Any] = [{"role": "user", "content": "go"}, {"role": "assistant", "tool_calls": said}]
        turns += [{"role": "tool", "tool_call_id": id, "content": "done"} for id in answered]
        return {"model": "auto", "messages": turns}
    if format == "messages":
        used = [{"type": "tool_use", "id": id, "name": name, "input": {}} for id, name in calls]
        told = [{"type": "tool_result", "tool_use_id": id, "content": "done"} for id in answered]
        turns = [{"role": "user", "content": "go"}, {"role": "assistant", "content": used}]
        return {"model": "auto", "max_tokens": 9, "messages": [*turns, {"role": "user", "content": told}]}
    items: list[Any] = [{"role": "user", "content": "go"}]
    items += [{"type": "function_call", "call_id": id, "name": name, "arguments": "{}"} for id, name in calls]
    items += [{"type": "function_call_output", "call_id": id, "output": "done"} for id in answered]
    return {"model": "auto", "input": items}


def tool(format: Format, calls: Turn, answered: list[str]) -> str:
    return read(format, msgspec.json.encode(conversation(format, calls, answered))).tool


FORMATS: list[Format] = ["chat", "messages", "responses"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_result_is_of_the_tool_that_its_call_names(format: Format) -> None:
    assert tool(format, [("a", "read_file")], ["a"]) == "read_file"
    assert tool(format, [("a", "read_file"), ("b", "shell")], ["b"]) == "shell"
    assert tool(format, [("a", "shell"), ("b", "read_file"), ("c", "shell")], ["a", "b", "c"]) == "read_file,shell"


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_not_said_has_no_name(format: Format) -> None:
    assert tool(format, [("a", "read_file")], ["z"]) == ""
    assert tool(format, [], ["a"]) == ""
    assert tool(format, [("a", "a,b")], ["a"]) == "", "a comma would make two of it"
    assert tool(format, [("a", "x" * 129)], ["a"]) == ""
    assert tool(format, [("a", "read\nfile"), ("b", "ok")], ["a", "b"]) == "ok"


@pytest.mark.parametrize("format", FORMATS)
def test_only_so_many_names_are_told(format: Format) -> None:
    calls = [(f"c{n}", f"t{n:02d}") for n in range(40)]
    told = tool(format, calls, [id for id, _ in calls]).split(",")
    assert told == sorted(told) and len(told) == results.NAMES_MAX


def test_only_the_last_turn_counts() -> None:
    chat = conversation("chat", [("a", "read_file")], ["a"])
    chat["messages"].append({"role": "user", "content": "and now?"})
    assert read("chat", msgspec.json.encode(chat)).tool == ""
    later = conversation("responses", [("a", "read_file")], ["a"])
    later["input"].append({"role": "user", "content": "and now?"})
    assert read("responses", msgspec.json.encode(later)).tool == ""


@pytest.mark.parametrize("odd", [None, 5, {}, [], "text", [{}], [None], [{"id": "a"}], [{"id": "a", "function": 3}]])
def test_odd_shapes_are_passed_over(odd: Any) -> None:
    chat = conversation("chat", [("a", "read_file")], ["a"])
    chat["messages"][1]["tool_calls"] = odd
    assert read("chat", msgspec.json.encode(chat)).tool == ""
    chat["messages"][2]["tool_call_id"] = odd
    assert read("chat", msgspec.json.encode(chat)).tool == ""
    items = conversation("responses", [("a", "read_file")], ["a"])
    items["input"][1]["name"] = odd
    assert read("responses", msgspec.json.encode(items)).tool in ("", "text")


def test_older_and_built_in_ways_to_say_it() -> None:
    turns = [{"role": "user", "content": "go"}, {"role": "function", "name": "look_up", "content": "1"}]
    assert read("chat", msgspec.json.encode({"model": "m", "messages": turns})).tool == "look_up"
    for kind, name in (("computer_call_output", "computer"), ("local_shell_call_output", "local_shell")):
        items = [{"type": kind, "call_id": "c", "output": "x"}]
        assert read("responses", msgspec.json.encode({"model": "m", "input": items})).tool == name
    behind = {"model": "m", "previous_response_id": "resp_1", "input": [{"type": "function_call_output"}]}
    assert read("responses", msgspec.json.encode(behind)).tool == ""
