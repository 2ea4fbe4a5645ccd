"""An MCP server with what the conformance suite looks for, of both revisions, on a port or on standard streams.

    python -m tests.door.everything --port N [--name NAME]        python -m tests.door.everything --stdio

It shows the door's tests what an upstream may do; it imports nothing of Interlock.
"""

import argparse
import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from tests.door.inputs import (
    Context,
    Result,
    content_of,
    elicitation_of,
    input_capabilities,
    input_elicitation,
    input_roots,
    input_rounds,
    input_sampling,
    input_several,
    input_state,
    input_tampered,
    missing_capability,
    required,
    responses,
    streaming_elicitation,
    text,
)

Tool = Callable[[Context, dict[str, Any], dict[str, Any]], Awaitable[Result]]
"""(context, arguments, params)"""

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = b64encode(b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0").decode()
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_2020 = {
    "$schema": DIALECT,
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
ONE_TEXT: Callable[[str], dict[str, Any]] = lambda name: {  # noqa: E731 - a table entry, not a function of its own
    "type": "object",
    "properties": {name: {"type": "string"}},
    "required": [name],
}
DEFAULTS = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
_titled = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second", "Third"), 1)]
ENUMS = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {"type": "string", "oneOf": _titled},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    "titledMulti": {"type": "array", "items": {"anyOf": _titled}},
}


def resource(uri: str, kind: str, **content: str) -> Result:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, **content}}


# of the handshake revisions: the server asks while it works


async def ask(context: Context, request: Any, result: Any) -> Any:
    if context.request_id is None:
        raise ValueError("a notification asks nothing")
    related = ServerMessageMetadata(related_request_id=context.request_id)
    return await context.session.send_request(request, result, metadata=related)


async def elicit(context: Context, message: str, properties: dict[str, Any], required: list[str]) -> str:
    schema = {"type": "object", "properties": properties, "required": required}
    params = types.ElicitRequestFormParams(message=message, requested_schema=schema)
    found = await ask(context, types.ElicitRequest(params=params), types.ElicitResult)
    return f"action={found.action}, content={json.dumps(found.content)}"


async def sampling(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=arguments["prompt"]))
    request = types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=100))
    found = await ask(context, request, types.CreateMessageResult)
    return text(f"LLM response: {found.content.text}")


async def elicitation(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    asked = {"username": {"type": "string"}, "email": {"type": "string"}}
    return text(f"User response: {await elicit(context, arguments['message'], asked, list(asked))}")


async def elicitation_defaults(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    return text(f"Elicitation completed: {await elicit(context, 'Please say', DEFAULTS, [])}")


async def elicitation_enums(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    return text(f"Elicitation completed: {await elicit(context, 'Please choose', ENUMS, [])}")


async def progress(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    for done in (0, 50, 100):
        await context.session.report_progress(done, 100)
        await asyncio.sleep(0.05)
    return text("done")


async def logs(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await context.session.send_log_message("info", line, "everything", context.request_id)
        await asyncio.sleep(0.05)
    return text("logged")


async def reconnection(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    if context.close_sse_stream is not None:
        await context.close_sse_stream()
    await asyncio.sleep(0.1)
    return text("Reconnection test completed successfully")


def plain(result: Result) -> Tool:
    async def tool(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
        return result

    return tool


async def echo(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    return {**text(json.dumps(arguments)), "structuredContent": arguments}


async def whoami(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    """What an upstream must never do: it repeats the headers that it was sent."""
    headers = dict(context.request.headers) if context.request is not None else {}
    return text(json.dumps(headers))


HEADER_SCHEMA = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
}
_mixed = resource("test://mixed-content-resource", "application/json", text='{"test":"data","value":123}')
TOOLS: dict[str, tuple[dict[str, Any], Tool]] = {
    "test_simple_text": (NOTHING, plain(text("This is a simple text response for testing."))),
    "test_image_content": (NOTHING, plain({"content": [{"type": "image", "data": PNG, "mimeType": "image/png"}]})),
    "test_audio_content": (NOTHING, plain({"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]})),
    "test_embedded_resource": (
        NOTHING,
        plain(
            {
                "content": [
                    resource("test://embedded-resource", "text/plain", text="This is an embedded resource content.")
                ]
            }
        ),
    ),
    "test_multiple_content_types": (
        NOTHING,
        plain(
            {
                "content": [
                    {"type": "text", "text": "Multiple content types test:"},
                    {"type": "image", "data": PNG, "mimeType": "image/png"},
                    _mixed,
                ]
            }
        ),
    ),
    "test_error_handling": (
        NOTHING,
        plain({**text("This tool intentionally returns an error for testing"), "isError": True}),
    ),
    "test_tool_with_logging": (NOTHING, logs),
    "test_logging_tool": (NOTHING, logs),
    "test_tool_with_progress": (NOTHING, progress),
    "test_sampling": (ONE_TEXT("prompt"), sampling),
    "test_elicitation": (ONE_TEXT("message"), elicitation),
    "test_elicitation_sep1034_defaults": (NOTHING, elicitation_defaults),
    "test_elicitation_sep1330_enums": (NOTHING, elicitation_enums),
    "test_reconnection": (NOTHING, reconnection),
    "json_schema_2020_12_tool": (SCHEMA_2020, echo),
    "test_input_required_result_elicitation": (NOTHING, input_elicitation),
    "test_input_required_result_sampling": (NOTHING, input_sampling),
    "test_input_required_result_list_roots": (NOTHING, input_roots),
    "test_input_required_result_request_state": (NOTHING, input_state),
    "test_input_required_result_multiple_inputs": (NOTHING, input_several),
    "test_input_required_result_multi_round": (NOTHING, input_rounds),
    "test_input_required_result_tampered_state": (NOTHING, input_tampered),
    "test_input_required_result_capabilities": (NOTHING, input_capabilities),
    "test_streaming_elicitation": (NOTHING, streaming_elicitation),
    "test_missing_capability": (NOTHING, missing_capability),
    "test_custom_headers": (HEADER_SCHEMA, echo),
    "whoami": (NOTHING, whoami),
    "echo": ({"type": "object", "additionalProperties": True}, echo),
}


def prompt_of(name: str, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    def said(*contents: dict[str, Any]) -> Result:
        return {"messages": [{"role": "user", "content": content} for content in contents]}

    match name:
        case "test_simple_prompt":
            return said({"type": "text", "text": "This is a simple prompt for testing."})
        case "test_prompt_with_arguments":
            words = f"Prompt with arguments: arg1='{arguments.get('arg1')}', arg2='{arguments.get('arg2')}'"
            return said({"type": "text", "text": words})
        case "test_prompt_with_embedded_resource":
            uri = str(arguments.get("resourceUri"))
            embedded = resource(uri, "text/plain", text="Embedded resource content for testing.")
            return said(embedded, {"type": "text", "text": "Please process the embedded resource above."})
        case "test_prompt_with_image":
            image = {"type": "image", "data": PNG, "mimeType": "image/png"}
            return said(image, {"type": "text", "text": "Please analyze the image above."})
        case "test_input_required_result_prompt":
            if "user_context" not in responses(params):
                asked = elicitation_of("What context should the prompt use?", context="string")
                return required({"user_context": asked})
            return said({"type": "text", "text": json.dumps(content_of(responses(params)["user_context"]))})
    raise MCPError(code=types.INVALID_PARAMS, message=f"no prompt {name}")


PROMPTS: dict[str, list[str]] = {
    "test_simple_prompt": [],
    "test_prompt_with_arguments": ["arg1", "arg2"],
    "test_prompt_with_embedded_resource": ["resourceUri"],
    "test_prompt_with_image": [],
    "test_input_required_result_prompt": [],
}
RESOURCES = {
    "test://static-text": "text/plain",
    "test://static-binary": "image/png",
    "test://watched-resource": "text/plain",
}


def content(uri: str) -> Result:
    if uri.startswith("test://template/") and uri.endswith("/data"):
        id_ = uri.removeprefix("test://template/").removesuffix("/data")
        body = json.dumps({"id": id_, "templateTest": True, "data": f"Data for ID: {id_}"})
        return {"contents": [{"uri": uri, "mimeType": "application/json", "text": body}]}
    if uri not in RESOURCES:
        raise MCPError(code=types.INVALID_PARAMS, message="Resource not found", data={"uri": uri})
    kind = RESOURCES[uri]
    what = {"blob": PNG} if kind == "image/png" else {"text": "This is the content of the static text resource."}
    return {"contents": [{"uri": uri, "mimeType": kind, **what}]}


METHODS = (
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
)


def make_server(name: str = "everything", *, stateless_only: bool = False) -> Server[Any]:
    """The server."""
    server: Server[Any] = Server(name, version="1")

    async def handle(context: Context, typed: Any) -> Result:
        params: dict[str, Any] = dict(context.params or {})
        match context.method:
            case "tools/list":
                listed = [{"name": n, "description": f"{n} of {name}", "inputSchema": s} for n, (s, _) in TOOLS.items()]
                return {"tools": listed}
            case "tools/call" if params["name"] in TOOLS:
                return await TOOLS[params["name"]][1](context, dict(params.get("arguments") or {}), params)
            case "prompts/list":
                prompts = [
                    {
                        "name": n,
                        "description": n,
                        "arguments": [{"name": a, "description": a, "required": True} for a in arguments],
                    }
                    for n, arguments in PROMPTS.items()
                ]
                return {"prompts": prompts}
            case "prompts/get":
                return prompt_of(params["name"], dict(params.get("arguments") or {}), params)
            case "resources/list":
                return {
                    "resources": [
                        {"uri": u, "name": u, "description": u, "mimeType": kind} for u, kind in RESOURCES.items()
                    ]
                }
            case "resources/templates/list":
                template = {"uriTemplate": "test://template/{id}/data", "name": "template", "description": "data"}
                return {"resourceTemplates": [template]}
            case "resources/read":
                return content(params["uri"])
            case "completion/complete":
                words = [word for word in ("paris", "park", "party") if word.startswith(params["argument"]["value"])]
                return {"completion": {"values": words, "total": len(words), "hasMore": False}}
            case "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel":
                return {}
        raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {params.get('name')}")

    async def as_it_is(ctx: Context, call_next: Any) -> Any:
        """The SDK's way out drops parts of JSON Schemas that its models do not know."""
        if stateless_only and ctx.method == "initialize":
            supported = {"supported": ["2026-07-28"], "requested": "2025-11-25"}
            raise MCPError(code=types.UNSUPPORTED_PROTOCOL_VERSION, message="stateless only", data=supported)
        if ctx.method not in METHODS or ctx.request_id is None or ctx.session.client_capabilities is None:
            return await call_next(ctx)
        found = await handle(ctx, None)
        if ctx.protocol_version < "2026":
            return found
        cached = ctx.method.endswith(("list", "read"))
        hints = {"ttlMs": 0, "cacheScope": "public"} if cached else {}
        return {"resultType": "complete", **hints, **found}

    for method in METHODS:
        server.add_request_handler(method, types.RequestParams, handle)
    server.middleware = [as_it_is]
    return server


async def _on_streams(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--stdio", action="store_true")
    parser.add_argument("--stateless-only", action="store_true")
    parser.add_argument("--name", default="everything")
    args = parser.parse_args()
    server = make_server(args.name, stateless_only=args.stateless_only)
    if args.stdio:
        asyncio.run(_on_streams(server))
    else:
        uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
