"""What the three formats have in common: one request, one answer and the events of one stream, in nobody's format.

Values only. A format's `read_request` fills an `Ask`, another's `write_request` says it in its own words, and names
what it could not say; nothing gets lost between the two unnamed. Everything that the target may not know keeps its
`path` in the client's own request (`messages[2].content[0]`), for the error or the header that names it.
"""

from typing import Any, Literal

import msgspec

from interlock.errors import CODES
from interlock.ledger import Format

Finish = Literal["stop", "stop_sequence", "length", "context", "tool_calls", "refusal", "pause"]
"""Why an answer ended. `context`: the model's window was full; `pause`: a long turn was paused by the provider."""
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Part(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """A piece of content. `path`: where it stands in the client's request; empty in answers."""

    path: str = ""
    cache: str = ""
    """Compact JSON of a cache breakpoint (`cache_control`), as it was given; empty: none."""


class Text(Part, frozen=True, kw_only=True, gc=False):
    """Text that the model reads or writes."""

    text: str


class Refusal(Part, frozen=True, kw_only=True, gc=False):
    """What the model says instead of an answer."""

    text: str


class Image(Part, frozen=True, kw_only=True, gc=False):
    """A picture: a `url`, or a `media_type` and base64 `data`."""

    url: str = ""
    media_type: str = ""
    data: str = ""
    detail: str = ""
    """OpenAI's `low`, `high`, `auto`; empty: not said."""


class Document(Part, frozen=True, kw_only=True, gc=False):
    """A file: a `url`, or base64 `data` (or, of media type text/plain, plain `text`) with its `media_type`."""

    url: str = ""
    media_type: str = ""
    data: str = ""
    text: str = ""
    name: str = ""


class ToolCall(Part, frozen=True, kw_only=True, gc=False):
    """The model asks for a tool."""

    id: str
    """What its result will name (Responses: `call_id`)."""
    name: str
    arguments: str
    """JSON text of one object; `{}` where there are none, never empty."""


class ToolResult(Part, frozen=True, kw_only=True):
    """What a tool gave back."""

    id: str
    parts: tuple[Part, ...]
    error: bool = False


class Reasoning(Part, frozen=True, kw_only=True, gc=False):
    """One block of the model's reasoning: text that may be read, and a seal that only its own model family reads.

    `kind`, and what the others then hold:

    - `thinking`: Anthropic's block; `text` may be empty; `seal` is its signature.
    - `redacted`: Anthropic's redacted_thinking; `seal` is its data; no text.
    - `item`: OpenAI's reasoning item; `text` is its summary (parts joined by a blank line), `seal` its
      encrypted_content, `id` its id.
    - `plain`: `reasoning_content` and the like: text, no seal.
    """

    kind: Literal["thinking", "redacted", "item", "plain"]
    text: str = ""
    seal: str = ""
    id: str = ""
    family: str = ""
    """Of the model that wrote it, where it came back in a carrier of ours (carrier.py); empty: in its native form."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One message. Results of tools are parts of a `user` turn; calls and reasoning of an `assistant` one."""

    role: Literal["system", "user", "assistant"]
    """`system` also for `developer`, where it stands between other messages."""
    parts: tuple[Part, ...]
    path: str = ""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the client offers."""

    name: str
    description: str = ""
    schema: dict[str, Any] = {}
    """JSON schema of the arguments; empty: no arguments."""
    strict: bool | None = None
    cache: str = ""
    path: str = ""


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whether tools are to be called. `kind` `tool`: the one called `name`."""

    kind: Literal["auto", "none", "any", "tool"]
    name: str = ""


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """The output must be JSON; `schema` None: any JSON object."""

    schema: dict[str, Any] | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None


class Thinks(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How much reasoning is asked for: an `effort`, a `budget_tokens`, both, or neither (`adaptive`)."""

    effort: Effort | None = None
    budget_tokens: int | None = None
    adaptive: bool = False
    off: bool = False
    """Expressly none."""
    summary: str = ""
    """`auto`, `concise`, `detailed` (OpenAI); `summarized`, `omitted` (Anthropic's `display`); a hint."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request. Unset: not said. What only states a default (`n` 1, a penalty of 0) counts as not said."""

    format: Format
    """Of the client."""
    stream: bool
    instructions: tuple[Part, ...] = ()
    """System and developer text before the first other message, in order. `Text` only."""
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    """Whether several tools may be called at once."""
    max_output: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    schema: Schema | None = None
    reasoning: Thinks | None = None
    user: str = ""
    """The end user, opaque: chat `user`/`safety_identifier`, Responses the same, Messages `metadata.user_id`."""
    includes_usage: bool = False
    """Chat, streamed: the client asked for usage."""
    fields: dict[str, Any] = {}
    """Everything else that was said, by its path in the client's request (`seed`, `logprobs`, `text.verbosity`, …).
    A writer takes what it can say; `settle_fields` refuses or lists the rest."""


class Target(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whom a request is written for."""

    model: str
    family: str
    max_output: int | None = None
    """The most tokens it can write; None: not known."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A request in the target's format."""

    document: dict[str, Any]
    dropped: tuple[str, ...] = ()
    """Paths, in the client's request, of hints that the target has no word for."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    id: str
    model: str
    parts: tuple[Part, ...]
    """Text, Refusal, Reasoning and ToolCall, in the order they came."""
    finish: Finish
    stop_sequence: str = ""
    usage: dict[str, int] = {}
    """In the ledger's kinds (interlock.ledger.Settled.usage); empty: not reported."""
    created_at: int = 0
    """Unix seconds; 0: not said."""
    dropped: tuple[str, ...] = ()
    """Types of blocks in the upstream's answer that no other format has a word for."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says beside the model's words. The same for a whole answer and a stream."""

    key: str
    """32 hex digits, unique to the request: ids that the upstream did not give are made of it."""
    created_at: int
    """Unix seconds, used where the upstream says none."""
    ask: Ask
    """Responses answers repeat parts of their request."""
    family: str
    """Of the model that answers; goes into carriers of its reasoning."""
    model: str
    """What was asked of the upstream; used where its answer names none."""
    input_estimate: int
    """Tokens; `message_start` shows it until the upstream says better."""
    raw_arguments: bool = False
    """A stream's tool calls may have arguments that are no JSON: an agent's own loop says so to its model."""


# The events of a stream. At any time at most one of text, refusal and reasoning is open; calls are told apart by slot.


class Begin(msgspec.Struct, frozen=True, gc=False):
    """The answer begins; first, once."""

    id: str
    model: str
    created_at: int = 0
    usage: dict[str, int] = {}
    """Input kinds, where the upstream says them at the start (Messages)."""


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """More text."""

    text: str


class RefusalDelta(msgspec.Struct, frozen=True, gc=False):
    """More of a refusal."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """More readable reasoning. `kind` as in `Reasoning`, never `redacted`."""

    kind: Literal["thinking", "item", "plain"]
    text: str


class ReasoningEnd(msgspec.Struct, frozen=True, gc=False):
    """A reasoning block is over (also one without any delta); `kind`, `seal` and `id` as in `Reasoning`."""

    kind: Literal["thinking", "redacted", "item", "plain"]
    seal: str = ""
    id: str = ""


class BlockEnd(msgspec.Struct, frozen=True, gc=False):
    """The open text or refusal block is over: what comes next is another block, even of the same kind."""


class CallBegin(msgspec.Struct, frozen=True, gc=False):
    """A tool call begins. `slot`: 0, 1, 2, … in order of beginning."""

    slot: int
    id: str
    name: str


class CallDelta(msgspec.Struct, frozen=True, gc=False):
    """A fragment of a call's arguments, as it came; calls may interleave."""

    slot: int
    fragment: str


class CallEnd(msgspec.Struct, frozen=True, gc=False):
    """A call is whole. Not every format says so before the answer's end: a writer must not wait for it."""

    slot: int


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Final figures, in the ledger's kinds."""

    usage: dict[str, int]


class Finished(msgspec.Struct, frozen=True, gc=False):
    """Why the answer ended; figures may still follow."""

    finish: Finish
    stop_sequence: str = ""


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The upstream ended with an error; last."""

    type: str
    """In the upstream's words (`overloaded_error`, `server_error`)."""
    message: str
    status: int = 502
    """The HTTP status that it would have had."""


def code_of(failed: Failed) -> str:
    """The stable code of an error (interlock.errors.CODES): ours where the gateway found the fault itself."""
    return failed.type if failed.type in CODES else "upstream_error"


class Done(msgspec.Struct, frozen=True, gc=False):
    """The answer is complete; last."""


class Unsaid(msgspec.Struct, frozen=True, gc=False):
    """A block of a type that no other format has a word for was left out."""

    type: str


Event = (
    Begin
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ReasoningEnd
    | BlockEnd
    | CallBegin
    | CallDelta
    | CallEnd
    | Usage
    | Finished
    | Failed
    | Done
    | Unsaid
)
