"""Requests for Converse, judged by botocore: its validator, and its serializer, which must write what we write."""

import base64
import json
from typing import Any

import msgspec
import pytest
from botocore.loaders import Loader  # type: ignore[import-untyped]  # botocore has no types
from botocore.model import ServiceModel  # type: ignore[import-untyped]  # botocore has no types
from botocore.serialize import create_serializer  # type: ignore[import-untyped]  # botocore has no types
from botocore.validate import ParamValidator  # type: ignore[import-untyped]  # botocore has no types
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.gateway.providers.bedrock import Converse

MODEL = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-v1:0"
SERVICE = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
PNG = base64.b64encode(b"\x89PNG not really").decode()
CACHE = {"type": "ephemeral"}
POINT = {"cachePoint": {"type": "default"}}


def native(shape: Any, value: Any) -> Any:
    """JSON as botocore takes it: bytes where the wire has base64. Fails on members that the service does not have."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        return {name: native(shape.members[name], member) for name, member in value.items()}
    if shape.type_name == "list":
        return [native(shape.member, entry) for entry in value]
    return base64.b64decode(value, validate=True) if shape.type_name == "blob" else value


def judged(body: bytes, path: str, stream: bool) -> Any:
    """The document, once botocore has accepted it and written the same."""
    document = msgspec.json.decode(body)
    operation = SERVICE.operation_model("ConverseStream" if stream else "Converse")
    params = native(operation.input_shape, document) | {"modelId": MODEL}
    report = ParamValidator().validate(params, operation.input_shape)
    assert not report.has_errors(), report.generate_report()
    written = create_serializer("rest-json").serialize_to_request(params, operation)
    assert msgspec.json.decode(written["body"]) == document
    assert written["url_path"] == path
    return document


def ask(content: object = "hello", **more: object) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": content}], **more}


def said(document: object, *, anthropic: bool = True, stream: bool = False, betas: tuple[str, ...] = ()) -> Any:
    dialect = Converse(MODEL, anthropic=anthropic)
    body = dialect.request(json.dumps(document).encode(), stream, betas)
    return judged(body, dialect.path(stream), stream)


def content_of(*blocks: object) -> Any:
    return said(ask(list(blocks)))["messages"][0]["content"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_small_request(stream: bool) -> None:
    assert said(ask(stream=stream, metadata={"user_id": "u"}, service_tier="auto"), stream=stream) == {
        "messages": [{"role": "user", "content": [{"text": "hello"}]}],
        "inferenceConfig": {"maxTokens": 100},
    }


@pytest.mark.parametrize("system", ["", [], [{"type": "text", "text": ""}], None])
def test_a_system_prompt_without_text_is_left_out(system: object) -> None:
    assert "system" not in said(ask(system=system))


_PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
_TOOLS = [
    {"name": "look", "description": "Look.", "input_schema": {"type": "object"}, "cache_control": CACHE},
    {"type": "custom", "name": "run", "input_schema": {"type": "object"}, "strict": True},
]
EVERYTHING = {
    "model": "m",
    "max_tokens": 4096,
    "temperature": 1,
    "top_p": 0.5,
    "top_k": 5,
    "stop_sequences": ["END"],
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {**CACHE, "ttl": "1h"}}],
    "thinking": {"type": "enabled", "budget_tokens": 2048},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "tools": _TOOLS,
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, _PICTURE]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"n": 1.0}},
                {"type": "tool_use", "id": "toolu_2", "name": "run", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [_PICTURE], "cache_control": CACHE},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no", "is_error": True},
            ],
        },
        {"role": "user", "content": "Go on."},
    ],
}
_IMAGE = {"image": {"format": "png", "source": {"bytes": PNG}}}
EVERYTHING_THERE = {
    "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
    "messages": [
        {"role": "user", "content": [{"text": "What is it?"}, _IMAGE]},
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": "ZGF0YQ=="}},
                {"toolUse": {"toolUseId": "toolu_1", "name": "look", "input": {"n": 1.0}}},
                {"toolUse": {"toolUseId": "toolu_2", "name": "run", "input": {}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "toolu_1", "content": [_IMAGE]}},
                POINT,
                {"toolResult": {"toolUseId": "toolu_2", "content": [{"text": "no"}], "status": "error"}},
                {"text": "Go on."},
            ],
        },
    ],
    "inferenceConfig": {"maxTokens": 4096, "temperature": 1.0, "topP": 0.5, "stopSequences": ["END"]},
    "toolConfig": {
        "tools": [
            {"toolSpec": {"name": "look", "description": "Look.", "inputSchema": {"json": {"type": "object"}}}},
            POINT,
            {"toolSpec": {"name": "run", "inputSchema": {"json": {"type": "object"}}, "strict": True}},
        ],
        "toolChoice": {"auto": {}},
    },
    "outputConfig": {
        "effort": "low",
        "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type": "object"}'}}},
    },
    "additionalModelRequestFields": {
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "top_k": 5,
        "anthropic_beta": ["context-1m-2025-08-07"],
    },
    "additionalModelResponseFieldPaths": ["/stop_sequence"],
}


def test_a_conversation_with_everything() -> None:
    assert said(EVERYTHING, betas=("context-1m-2025-08-07",)) == EVERYTHING_THERE


def test_arguments_and_schemas_pass_as_they_were_written() -> None:
    raw = b'{"big": 123456789012345678901234567890, "e": 1.50e3, "s": "\\u00e4"}'
    body = json.dumps(
        {
            **ask(tools=[{"name": "t", "input_schema": {"default": "RAW"}}]),
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "i", "name": "t", "input": "RAW"}]},
            ],
        }
    ).encode()
    written = Converse(MODEL, anthropic=True).request(body.replace(b'"RAW"', raw), False)
    assert written.count(raw) == 2


def test_documents() -> None:
    def document(source: dict[str, str], **more: object) -> dict[str, object]:
        return {"type": "document", "source": source, **more}

    pdf = {"type": "base64", "media_type": "application/pdf", "data": PNG}
    plain = {"type": "text", "media_type": "text/plain", "data": "ä"}
    written = content_of(
        document(pdf, title="Q3: report_final.pdf", context="Finance", citations={"enabled": False}),
        document(plain),
        document(pdf, title="Q3: report_final.pdf", cache_control=CACHE),
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
    )
    assert written == [
        {
            "document": {
                "format": "pdf",
                "name": "Q3 report final pdf 1",
                "context": "Finance",
                "source": {"bytes": PNG},
            }
        },
        {
            "document": {
                "format": "txt",
                "name": "document 2",
                "source": {"bytes": base64.b64encode(b"\xc3\xa4").decode()},
            }
        },
        {"document": {"format": "pdf", "name": "Q3 report final pdf 3", "source": {"bytes": PNG}}},
        POINT,
        {"document": {"name": "document 4", "source": {"content": [{"text": "a"}]}}},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"auto": {}}),
        ({"type": "any"}, {"any": {}}),
        ({"type": "tool", "name": "t"}, {"tool": {"name": "t"}}),
    ],
)
def test_tool_choice(choice: object, expected: object) -> None:
    document = said(ask(tools=[{"name": "t", "input_schema": {}}], tool_choice=choice))
    assert document["toolConfig"]["toolChoice"] == expected


def test_tool_choice_none_leaves_the_tools_out() -> None:
    assert "toolConfig" not in said(ask(tools=[{"name": "t", "input_schema": {}}], tool_choice={"type": "none"}))


def test_ids_that_converse_does_not_take_stay_the_same_for_call_and_result() -> None:
    long = "i" * 65
    written = said(
        ask(
            [
                {"type": "tool_use", "id": long, "name": "t", "input": {}},
                {"type": "tool_result", "tool_use_id": long},
            ],
            tools=[{"name": "t", "input_schema": {}}],
        )
    )["messages"][0]["content"]
    call, result = written[0]["toolUse"]["toolUseId"], written[1]["toolResult"]["toolUseId"]
    assert call == result
    assert len(call) <= 64


def test_cache_points_within_results_and_for_the_whole_request() -> None:
    within = {"type": "text", "text": "a", "cache_control": CACHE}
    document = said(
        ask(
            [{"type": "tool_result", "tool_use_id": "i", "content": [within]}, {"type": "text", "text": "b"}],
            tools=[{"name": "t", "input_schema": {}}],
            cache_control={**CACHE, "ttl": "5m"},
        )
    )
    result = {"toolResult": {"toolUseId": "i", "content": [{"text": "a"}]}}
    last = {"cachePoint": {"type": "default", "ttl": "5m"}}
    assert document["messages"][0]["content"] == [result, POINT, {"text": "b"}, last]


def test_models_that_are_not_claude_get_no_cache_points_and_no_betas() -> None:
    block = {"type": "text", "text": "a", "cache_control": CACHE}
    tools = [{"name": "t", "input_schema": {}, "cache_control": CACHE}]
    document = said(ask([block], system=[block], tools=tools, cache_control=CACHE), anthropic=False, betas=("b",))
    assert "cachePoint" not in json.dumps(document)
    assert "additionalModelRequestFields" not in document


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"top_k": 1}, "top_k"),
        (
            {
                "tools": [{"name": "t", "input_schema": {}}],
                "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            },
            "tool_choice.disable_parallel_tool_use",
        ),
    ],
)
def test_what_only_claude_takes_is_refused_for_others(more: dict[str, object], field: str) -> None:
    said(ask(**more))
    with pytest.raises(LocalError) as caught:
        said(ask(**more), anthropic=False)
    assert caught.value.field == field


URL = {"type": "url", "url": "https://example.com/a.png"}
CALL = {"type": "tool_use", "id": "i", "name": "t", "input": {}}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (ask([{"type": "image", "source": URL}]), "messages[0].content[0].source.type"),
        (ask([{"type": "document", "source": {"type": "file", "file_id": "f"}}]), "messages[0].content[0].source.type"),
        (ask([{"type": "text", "text": "a"}, {"type": "server_tool_use"}]), "messages[0].content[1].type"),
        (ask([{"type": "text", "text": "a", "colour": 1}]), "messages[0].content[0].colour"),
        (
            ask([{"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": ""}}]),
            "messages[0].content[0].source.media_type",
        ),
        (
            ask([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "?"}}]),
            "messages[0].content[0].source.data",
        ),
        (
            ask([{"type": "tool_result", "tool_use_id": "i", "content": [{"type": "image", "source": URL}]}]),
            "messages[0].content[0].content[0].source.type",
        ),
        (
            ask(
                [
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "a"},
                        "citations": {"enabled": True},
                    }
                ]
            ),
            "messages[0].content[0].citations",
        ),
        (ask([{"type": "redacted_thinking", "data": "ä"}]), "messages[0].content[0].data"),
        (ask([{**CALL, "input": [1]}]), "messages[0].content[0].input"),
        (ask([{**CALL, "caller": {"type": "code_execution_20250825"}}]), "messages[0].content[0].caller.type"),
        (ask(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "tools[0].type"),
        (ask(tools=[{"type": "bash_20250124", "name": "bash", "input_schema": {}}]), "tools[0].type"),
        (ask(tools=[{"name": "a b", "input_schema": {}}]), "tools[0].name"),
        (ask([CALL]), "tools"),
        (
            ask([CALL], tools=[{"name": "t", "input_schema": {}}], tool_choice={"type": "none"}),
            "tool_choice",
        ),
        (ask(tool_choice={"type": "any"}), "tool_choice"),
        (ask(tools=[{"name": "t", "input_schema": {}}], tool_choice={"type": "tool"}), "tool_choice.name"),
        (ask(container="c"), "container"),
        (ask(mcp_servers=[{}]), "mcp_servers"),
        (ask(inference_geo="eu"), "inference_geo"),
        ({"messages": []}, "max_tokens"),
        ([], "body"),
    ],
)
def test_what_converse_cannot_express_is_refused_by_its_path(document: object, field: str) -> None:
    with pytest.raises(LocalError) as caught:
        said(document)
    assert (caught.value.code, caught.value.field) == ("invalid_request", field)
    assert field in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TYPES = ("text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking")
BLOCKS = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional=dict.fromkeys(
        ("text", "source", "id", "name", "input", "tool_use_id", "content", "thinking", "data"), JSON
    ),
)


@given(
    st.one_of(
        st.binary(max_size=50),
        JSON.map(lambda document: json.dumps(document).encode()),
        st.builds(
            lambda blocks, more: json.dumps({**ask(blocks), **more}).encode(),
            st.lists(BLOCKS | JSON, max_size=3),
            st.dictionaries(st.sampled_from(["system", "tools", "tool_choice", "thinking", "stream"]), JSON),
        ),
    )
)
def test_garbage_is_never_anything_but_a_local_error(body: bytes) -> None:
    try:
        written = Converse(MODEL, anthropic=True).request(body, False)
    except LocalError:
        return
    msgspec.json.decode(written)


@pytest.mark.parametrize(
    "body",
    [
        b'{"max_tokens": 1, "max_tokens": 2, "messages": []}',
        b"[" * 100_000,
        json.dumps(ask([{"type": "text", "text": "\ud800"}])).encode(),
        json.dumps(ask(max_tokens=10**30)).encode(),
    ],
)
def test_json_that_is_not_one_thing_is_refused(body: bytes) -> None:
    with pytest.raises(LocalError):
        Converse(MODEL, anthropic=True).request(body, False)
