"""The fixture's tools of the stateless revision: their answers ask, and are asked again with what was said."""

import hmac
import json
from base64 import b64decode, b64encode
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]

KEY = b"the fixture's own, to sign what it asks to be given back"


def text(*lines: str) -> Result:
    return {"content": [{"type": "text", "text": line} for line in lines]}


def required(requests: dict[str, Any], state: str = "") -> Result:
    return {"resultType": "input_required", "inputRequests": requests, **({"requestState": state} if state else {})}


def elicitation_of(message: str, **properties: str) -> Result:
    schema = {"type": "object", "properties": {k: {"type": v} for k, v in properties.items()}}
    wanted = {**schema, "required": list(properties)}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": wanted}}


def sampling_of(prompt: str, tokens: int) -> Result:
    message = {"role": "user", "content": {"type": "text", "text": prompt}}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": tokens}}


ROOTS: Result = {"method": "roots/list", "params": {}}


def responses(params: dict[str, Any]) -> dict[str, Any]:
    found = params.get("inputResponses")
    return found if isinstance(found, dict) else {}


def content_of(answer: Any) -> dict[str, Any]:
    found = answer.get("content") if isinstance(answer, dict) else None
    return found if isinstance(found, dict) else {}


def signed(state: str) -> str:
    return b64encode(f"{state}|{hmac.new(KEY, state.encode(), 'sha256').hexdigest()}".encode()).decode()


def opened(params: dict[str, Any]) -> str:
    """The state that came back. Raises: MCPError: it is not what was given out."""
    try:
        state, _, mac = b64decode(str(params.get("requestState")), validate=True).decode().rpartition("|")
    except ValueError:
        state, mac = "", ""
    if not hmac.compare_digest(mac, hmac.new(KEY, state.encode(), "sha256").hexdigest()):
        raise MCPError(code=types.INVALID_PARAMS, message="requestState is not what was given out")
    return state


async def input_elicitation(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    name = content_of(responses(params).get("user_name")).get("name")
    if not isinstance(name, str):
        return required({"user_name": elicitation_of("What is your name?", name="string")})
    return text(f"Hello, {name}!")


async def input_sampling(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    answer = responses(params).get("capital_question")
    if answer is None:
        return required({"capital_question": sampling_of("What is the capital of France?", 100)})
    return text(f"The model says: {json.dumps(content_of(answer))}")


async def input_roots(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    answer = responses(params).get("client_roots")
    return required({"client_roots": ROOTS}) if answer is None else text(f"Roots: {json.dumps(answer)}")


async def input_state(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    if "confirm" not in responses(params):
        return required({"confirm": elicitation_of("Please confirm", ok="boolean")}, signed("confirm"))
    return text(f"state-ok: {opened(params)}")


async def input_several(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    wanted = {
        "user_name": elicitation_of("What is your name?", name="string"),
        "greeting": sampling_of("Generate a greeting", 50),
        "client_roots": ROOTS,
    }
    if wanted.keys() - responses(params).keys():
        return required(wanted, signed("several"))
    return text(f"all there: {opened(params)}")


async def input_rounds(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    state = opened(params) if params.get("requestState") else ""
    if state == "" or ("step1" not in responses(params) and state == "1"):
        return required({"step1": elicitation_of("Step 1: What is your name?", name="string")}, signed("1"))
    if state == "1" or "step2" not in responses(params):
        return required({"step2": elicitation_of("Step 2: What is your favorite color?", color="string")}, signed("2"))
    return text("both steps are done")


async def input_tampered(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    if not params.get("requestState"):
        return required({"confirm": elicitation_of("Please confirm", ok="boolean")}, signed("tamper"))
    return text(f"untouched: {opened(params)}")


async def input_capabilities(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    can = context.session.client_capabilities
    wanted = {}
    if can is not None and can.elicitation is not None:
        wanted["name"] = elicitation_of("What is your name?", name="string")
    if can is not None and can.sampling is not None:
        wanted["greeting"] = sampling_of("Generate a greeting", 50)
    return required(wanted) if wanted.keys() - responses(params).keys() else text("all there")


async def streaming_elicitation(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    await context.session.report_progress(1, 2)
    return required({"user_name": elicitation_of("What is your name?", name="string")})


async def missing_capability(context: Context, arguments: dict[str, Any], params: dict[str, Any]) -> Result:
    can = context.session.client_capabilities
    if can is None or can.sampling is None:
        raise MCPError(
            code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="the client must be able to sample",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return text("it can")
