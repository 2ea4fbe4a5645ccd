"""Requests judged by google-genai's types, and turns that come back as they were."""

import json
import re
from typing import Any

import pytest
from tests.gateway.providers.gemini_said import (
    CALL,
    NEW,
    OLD,
    OTHER,
    PICTURE,
    SIGNATURE,
    TEXT,
    asked,
    back,
    body,
    calls_of,
    chunk,
    events,
    final,
    results,
    sse,
    streamed,
    whole,
)

from interlock.errors import LocalError
from interlock.gateway.providers.gemini import Gemini
from interlock.gateway.providers.ports import Decoder, Dialect

# requests


def test_is_a_dialect_with_paths() -> None:
    dialect: Dialect = Gemini("gemini-3-pro", "/v1/projects/p/locations/l/publishers/google")
    decoder: Decoder = dialect.decoder()
    assert decoder.finish() == b""
    assert dialect.path(False) == "/v1/projects/p/locations/l/publishers/google/models/gemini-3-pro:generateContent"
    assert Gemini("a/../b?c").path(True) == "/v1beta/models/a%2F..%2Fb%3Fc:streamGenerateContent?alt=sse"


def test_roles_merge_and_every_field_is_said() -> None:
    document = asked(
        system=[{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        messages=[
            {"role": "user", "content": "one"},
            {"role": "user", "content": [{"type": "text", "text": "two"}]},
            {"role": "assistant", "content": "three"},
            {"role": "system", "content": "mind the time"},
            {"role": "user", "content": "four"},
        ],
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        stop_sequences=["END"],
        output_config={
            "format": {"type": "json_schema", "schema": {"type": "object", "$defs": {"a": {}}}},
            "effort": "xhigh",
        },
        thinking={"type": "adaptive"},
    )
    assert document == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "one"}, {"text": "two"}]},
            {"role": "model", "parts": [{"text": "three"}]},
            {"role": "user", "parts": [{"text": "mind the time"}, {"text": "four"}]},
        ],
        "generationConfig": {
            "maxOutputTokens": 64,
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 40,
            "stopSequences": ["END"],
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object", "$defs": {"a": {}}},
            "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "HIGH"},
        },
    }


@pytest.mark.parametrize(
    ("model", "thinking", "effort", "config"),
    [
        (NEW, {"type": "enabled", "budget_tokens": 2048}, None, {"includeThoughts": True, "thinkingBudget": 2048}),
        (NEW, {"type": "enabled", "budget_tokens": 2048}, "low", {"includeThoughts": True, "thinkingLevel": "LOW"}),
        (OLD, {"type": "enabled", "budget_tokens": 2048}, "low", {"includeThoughts": True, "thinkingBudget": 2048}),
        (NEW, {"type": "adaptive", "display": "omitted"}, None, None),
        (NEW, {"type": "disabled"}, None, {"thinkingLevel": "LOW"}),
        (OLD, {"type": "disabled"}, None, {"thinkingBudget": 0}),
        (NEW, None, "medium", {"thinkingLevel": "MEDIUM"}),
        (OLD, None, "medium", {"thinkingBudget": 8192}),
        ("gemini-20-pro", None, "max", {"thinkingLevel": "HIGH"}),
        (NEW, None, None, None),
    ],
)
def test_thinking(model: str, thinking: Any, effort: str | None, config: Any) -> None:
    document = asked(model, thinking=thinking, output_config={"effort": effort} if effort else None)
    assert document["generationConfig"].get("thinkingConfig") == config


def test_files() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    content = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a/b.JPG?x=.png"}},
        {"type": "document", "title": "Report", "source": pdf},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/c"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
    ]
    assert asked(messages=[{"role": "user", "content": content}])["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": PICTURE}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a/b.JPG?x=.png"}},
        {"text": "Report"},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/c"}},
        {"text": "plain"},
    ]


TOOL = {
    "name": "look",
    "description": "Looks.",
    "input_schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}},
}


@pytest.mark.parametrize(
    ("choice", "strict", "config"),
    [
        (None, False, None),
        ({"type": "auto"}, False, {"mode": "AUTO"}),
        (None, True, {"mode": "VALIDATED"}),
        ({"type": "any"}, True, {"mode": "ANY"}),
        ({"type": "none"}, False, {"mode": "NONE"}),
        ({"type": "tool", "name": "look"}, False, {"mode": "ANY", "allowedFunctionNames": ["look"]}),
    ],
)
def test_tools(choice: Any, strict: bool, config: Any) -> None:
    document = asked(tools=[{**TOOL, "strict": strict}, {"name": "stop", "input_schema": {}}], tool_choice=choice)
    assert document["tools"] == [
        {
            "functionDeclarations": [
                {"name": "look", "description": "Looks.", "parametersJsonSchema": TOOL["input_schema"]},
                {"name": "stop", "parametersJsonSchema": {"type": "object", "properties": {}}},
            ]
        }
    ]
    assert document.get("toolConfig", {}).get("functionCallingConfig") == config


def test_results_name_their_tools_and_carry_errors_and_pictures() -> None:
    calls = [{"type": "tool_use", "id": f"toolu_{i}", "name": f"t{i}", "input": {"i": i, "f": 1.0}} for i in range(3)]
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
    answers = [
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "see"}, picture]},
        {"type": "tool_result", "tool_use_id": "toolu_0", "is_error": True, "content": "broken"},
        {"type": "tool_result", "tool_use_id": "toolu_1"},
        {"type": "text", "text": "go on"},
    ]
    contents = back(calls, {"role": "user", "content": answers})
    assert contents[1]["parts"][0] == {
        "functionCall": {"id": "toolu_0", "name": "t0", "args": {"i": 0, "f": 1.0}},
        "thoughtSignature": "skip_thought_signature_validator",
    }
    assert contents[1]["parts"][1:] == [
        {"functionCall": {"id": f"toolu_{i}", "name": f"t{i}", "args": {"i": i, "f": 1.0}}} for i in (1, 2)
    ]
    inline = {"inlineData": {"mimeType": "image/png", "data": PICTURE}}
    assert contents[2] == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "toolu_2", "name": "t2", "response": {"result": "see"}, "parts": [inline]}},
            {"functionResponse": {"id": "toolu_0", "name": "t0", "response": {"error": "broken"}}},
            {"functionResponse": {"id": "toolu_1", "name": "t1", "response": {"result": ""}}},
            {"text": "go on"},
        ],
    }
    assert "thoughtSignature" not in back(calls, results(*calls), model=OLD)[1]["parts"][0]


def user(*blocks: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("container", {"container": "c"}),
    ("mcp_servers", {"mcp_servers": [{}]}),
    ("inference_geo", {"inference_geo": "us"}),
    ("nobody_knows", {"nobody_knows": 1}),
    ("tool_choice", {"tool_choice": {"type": "any"}}),
    (
        "tool_choice.disable_parallel_tool_use",
        {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    ("tools[0].type", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ("messages", {"messages": "hi"}),
    ("messages[0].content[0].tool_use_id", user({"type": "tool_result", "tool_use_id": "nobody"})),
    ("messages[0].content[0]", user({"type": "image", "source": {"type": "url", "url": "https://example.com/a"}})),
    ("messages[0].content[0]", user({"type": "image", "source": {"type": "url", "url": "https://[/a.png"}})),
    ("messages[0].content[0].source.type", user({"type": "image", "source": {"type": "file", "file_id": "f"}})),
    (
        "messages[0].content[0].citations",
        user({"type": "document", "source": {"type": "text", "data": "x"}, "citations": {"enabled": True}}),
    ),
    ("messages", {"messages": []}),
]


@pytest.mark.parametrize(("field", "members"), REFUSED, ids=[field for field, _ in REFUSED])
def test_what_it_cannot_say_is_refused_by_name(field: str, members: dict[str, Any]) -> None:
    with pytest.raises(LocalError) as raised:
        asked(**members)
    assert raised.value.field == field
    assert raised.value.status == 400


def test_an_old_model_takes_no_picture_in_a_result() -> None:
    call = {"type": "tool_use", "id": "a", "name": "t", "input": {}}
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    answer = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": source}]}
    assert back([call], {"role": "user", "content": [answer]})
    with pytest.raises(LocalError) as raised:
        back([call], {"role": "user", "content": [answer]}, model=OLD)
    assert raised.value.field == "messages[2].content[0].content[0]"


def test_hints_and_foreign_thoughts_are_dropped_and_listed() -> None:
    cache = {"cache_control": {"type": "ephemeral"}}
    written = Gemini(NEW).written(
        body(
            metadata={"user_id": "u"},
            service_tier="standard_only",
            system=[{"type": "text", "text": "s", **cache}],
            tools=[{**TOOL, **cache}],
            messages=[
                {"role": "user", "content": [{"type": "text", "text": "a", **cache}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "EqRk+/abc="},
                        {"type": "redacted_thinking", "data": "zzz"},
                        {"type": "text", "text": "b"},
                    ],
                },
                {"role": "user", "content": "c"},
            ],
        )
    )
    assert set(written.dropped) == {
        "metadata.user_id",
        "service_tier",
        "system[0].cache_control",
        "tools[0].cache_control",
        "messages[0].content[0].cache_control",
        "messages[1].content[0]",
        "messages[1].content[1]",
    }
    assert written.document["contents"][1] == {"role": "model", "parts": [{"text": "b"}]}


PARTS: dict[str, list[dict[str, Any]]] = {
    "text": [TEXT],
    "signed text": [{**TEXT, "thoughtSignature": SIGNATURE}],
    "text between": [TEXT, {"text": "signed", "thoughtSignature": SIGNATURE}, {"text": "more"}],
    "signature at the end": [TEXT, {"text": "", "thoughtSignature": SIGNATURE}],
    "signature alone, then a call": [{"text": "", "thoughtSignature": SIGNATURE}, CALL],
    "thought": [{"text": "I think", "thought": True}, TEXT],
    "thought and signed call": [{"text": "I think", "thought": True}, {**CALL, "thoughtSignature": SIGNATURE}],
    "signed thought": [
        {"text": "first", "thought": True},
        {"text": "I", "thought": True, "thoughtSignature": OTHER},
        TEXT,
    ],
    "parallel calls": [{**CALL, "thoughtSignature": SIGNATURE}, CALL, {"functionCall": {"name": "stop", "args": {}}}],
    "calls in steps": [TEXT, {**CALL, "thoughtSignature": SIGNATURE}, {**CALL, "thoughtSignature": OTHER}],
    "own ids": [
        {"functionCall": {"name": "look", "args": {"a": 1}, "id": "call-1"}, "thoughtSignature": SIGNATURE},
        {"functionCall": {"name": "look", "args": {}, "id": "an/illegal.id"}},
    ],
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("stream", [False, True])
def test_parts_come_back_as_they_were(name: str, stream: bool) -> None:
    """Two turns: what the client keeps is what Gemini gets again, whole or streamed."""
    parts = PARTS[name]
    for _ in range(2):
        if stream:
            message = final(streamed(sse(*(chunk(part) for part in parts), chunk(finish="STOP"))))
        else:
            message = whole(chunk(*parts, finish="STOP"))
        calls = calls_of(message)
        assert all(re.fullmatch("[a-zA-Z0-9_-]+", call["id"]) for call in calls)
        assert len({call["id"] for call in calls}) == len(calls)
        contents = back(message["content"], *([results(*calls)] if calls else []))
        parts = contents[1]["parts"]
        if calls and not any("thoughtSignature" in part for part in PARTS[name]):
            raise AssertionError("samples with calls are signed")
        assert parts == PARTS[name]
        if calls:
            answered = [part["functionResponse"] for part in contents[2]["parts"]]
            assert [a.get("id") for a in answered] == [
                p["functionCall"].get("id") for p in parts if "functionCall" in p
            ]
            assert [a["name"] for a in answered] == [p["functionCall"]["name"] for p in parts if "functionCall" in p]


@pytest.mark.parametrize("name", PARTS)
def test_a_stream_adds_up_to_the_whole_answer(name: str) -> None:
    message = final(streamed(sse(*(chunk(part) for part in PARTS[name]), chunk(finish="STOP"))))
    expected = whole(chunk(*PARTS[name], finish="STOP"))
    for calls in (calls_of(message), calls_of(expected)):
        for call in calls:
            if call["id"].startswith("ilkcall_"):
                call["id"] = "made"
    assert message == expected


def test_text_in_pieces_is_one_block() -> None:
    message = final(streamed(sse(chunk({"text": "Hel"}), chunk({"text": "lo"}), chunk(finish="STOP"))))
    assert [(b["type"], b["text"]) for b in message["content"]] == [("text", "Hello")]
    assert message["id"] == "r-1"
    assert message["model"] == "gemini-3-pro-001"


def test_a_mark_whose_part_is_gone_goes_with_it() -> None:
    message = whole(chunk({**CALL, "thoughtSignature": SIGNATURE}, finish="STOP"))
    thinking = message["content"][0]
    assert back([thinking, {"type": "text", "text": "x"}])[1] == {"role": "model", "parts": [{"text": "x"}]}


def test_arguments_stay_as_they_were_written() -> None:
    written = b'{"big": 12345678901234567890123, "one": 1.0, "e": 1e2, "u": "\\u00e9"}'
    data = sse(chunk(CALL, finish="STOP")).replace(b'{"a": 1}', written)
    deltas = [e["delta"] for e in events(streamed(data)) if e["type"] == "content_block_delta"]
    assert deltas == [{"type": "input_json_delta", "partial_json": written.decode()}]
    assert written in Gemini(NEW).whole(
        200, json.dumps(chunk(CALL, finish="STOP")).encode().replace(b'{"a": 1}', written)
    )
    empty = sse(chunk(CALL, finish="STOP")).replace(b', "args": {"a": 1}', b"")
    assert calls_of(final(streamed(empty)))[0]["input"] == {}
