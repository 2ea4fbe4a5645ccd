"""Signals: what is known about a call before anything is guessed. Pure.

They come from the key (tenant, principal, labels), from headers (mode, session) and from the shape of the body, which
`interlock.gateway.wire` reads. Signals do not judge: which tier they lead to is the policy's business (routing.py).
"""

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from interlock.errors import LocalError
from interlock.gateway.policy import Policy
from interlock.gateway.wire import Call
from interlock.identity import Key
from interlock.ledger import Format

MODE_HEADERS = (b"x-interlock-mode", b"x-kilocode-mode")
"""The first that is present counts. Kilo Code's agents send the second."""
ARGUMENTS_HEADER = b"x-interlock-arguments"
"""`raw`: a client of a Messages stream that takes a tool call's arguments as the model wrote them, JSON or not."""
SESSION_HEADER = b"x-interlock-session"
TASK_HEADER = b"x-interlock-task"
AUTO = "auto"
"""The model name that leaves the choice to the rules; `auto:MODE` names the mode where no header can be set."""

DERIVED = "conv-"
"""How a session begins that no client named."""

_MODE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SESSION = re.compile(rb"[\x21-\x7e]{1,255}")


class Signals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call, as the rules see it. The same signals under the same policy always take the same route."""

    format: Format
    model: str
    """As the client wrote it."""
    tenant: str
    principal: str
    mode: str = ""
    """Lower case; empty: none was told."""
    session: str = ""
    """As the client names it; `conv-` and `conversation` where it names none; empty: there is none."""
    task: str = ""
    """As the client names it: what the call is for. It decides nothing; costs are told by it."""
    conversation: str = ""
    """By how it begins (wire/opening.py): one of perhaps several in the session."""
    source: str = ""
    """The region that it comes from: where this gateway is (`server.region`)."""
    sensitive: tuple[str, ...] = ()
    """Kinds of sensitive content found in it, if a boundary in force asks."""
    labels: dict[str, str] = {}
    stream: bool = False
    tools: bool = False
    """Tools are offered."""
    tool_result: bool = False
    """The last message is a tool's result."""
    images: bool = False
    reasoning: bool = False
    """Reasoning is asked for."""
    schema: bool = False
    """The answer must follow an output schema."""
    chore: bool = False
    """A background chore, by the documented rule of wire/request.py."""
    input_tokens: int = 0
    """Estimate, by wire.ESTIMATE_RULE."""
    output_tokens_max: int = 0
    """What the client allows; 0: it did not say."""


def read_signals(
    call: Call, headers: Mapping[bytes, bytes], key: Key, source: str = "", sensitive: tuple[str, ...] = ()
) -> Signals:
    """Join what the body, the headers and the key say.

    Args:
        headers: names in lower case.
        source: the region of this gateway.
        sensitive: what was found in the body.
    Raises: LocalError: a header of ours that is not well formed; `field` names it.
    """
    mode = _mode(headers)
    if not mode and call.model.startswith("auto:"):
        mode = _checked(_MODE, call.model[5:].encode(), "model", "auto:MODE").lower()
    named = headers.get(SESSION_HEADER)
    session = call.session if named is None else _checked(_SESSION, named, SESSION_HEADER.decode(), "visible ASCII")
    task = headers.get(TASK_HEADER)
    return Signals(
        format=call.format,
        model=call.model,
        tenant=key.tenant,
        principal=key.principal,
        mode=mode,
        session=session or (DERIVED + call.opening if call.opening else ""),
        task="" if task is None else _checked(_SESSION, task, TASK_HEADER.decode(), "visible ASCII, at most 255"),
        conversation=call.opening,
        source=source,
        sensitive=sensitive,
        labels=key.labels,
        stream=call.stream,
        tools=call.tools,
        tool_result=call.tool_result,
        images=call.images,
        reasoning=call.reasoning,
        schema=call.schema,
        chore=call.chore,
        input_tokens=call.input_estimate,
        output_tokens_max=call.max_output or 0,
    )


def unknown_signals(signals: Signals, policy: Policy) -> tuple[str, ...]:
    """Which signals name something the policy has no word for, as `kind:value`. They take the default."""
    unknown = []
    if signals.mode and signals.mode not in policy.indexed.modes:
        unknown.append(f"mode:{signals.mode}")
    if not names_route(signals.model, policy):
        unknown.append(f"model:{signals.model}")
    return tuple(unknown)


def names_route(model: str, policy: Policy) -> bool:
    """Whether the model name says where to go: `auto`, a tier or a deployment."""
    return model == AUTO or model.startswith("auto:") or model in policy.tiers or model in policy.deployments


def _mode(headers: Mapping[bytes, bytes]) -> str:
    for name in MODE_HEADERS:
        value = headers.get(name)
        if value is not None:
            return _checked(_MODE, value, name.decode(), "letters, digits, _ . -, at most 64").lower()
    return ""


@lru_cache(1024)
def _checked(pattern: re.Pattern[bytes], value: bytes, field: str, right: str) -> str:
    if pattern.fullmatch(value) is None:
        said = value[:80].decode(errors="backslashreplace")
        raise LocalError(f"{field}: {said!r} is not well formed; expected {right}", field=field)
    return value.decode()
