"""The Messages requests that Bedrock's Converse can express, as shapes to decode by.

A member, block or value that is not declared here has no equivalent there. What only the model reads stays raw.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

_Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has members that are not declared is refused."""


class Cache(msgspec.Struct, frozen=True, tag_field="type", tag="ephemeral"):
    """`cache_control`."""

    ttl: Literal["5m", "1h"] | None = None


class Piece(Strict, frozen=True, tag_field="type"):
    """A block of content."""

    cache_control: Cache | None = None


class Text(Piece, frozen=True, kw_only=True, tag="text"):
    """A text. Citations of an earlier answer have no place there, unless there are none."""

    text: str
    citations: Annotated[list[Any], Meta(max_length=0)] | None = None


class Picture(Strict, frozen=True, tag_field="type", tag="base64"):
    """Bytes: Converse fetches no URL."""

    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: str


class Image(Piece, frozen=True, kw_only=True, tag="image"):
    """A picture."""

    source: Picture


class Pdf(Strict, frozen=True, tag_field="type", tag="base64"):
    """The bytes of a PDF."""

    media_type: Literal["application/pdf"]
    data: str


class Plain(Strict, frozen=True, tag_field="type", tag="text"):
    """A text as a document."""

    media_type: Literal["text/plain"]
    data: str


class Passages(Strict, frozen=True, tag_field="type", tag="content"):
    """A document in pieces."""

    content: str | list[Text]


class Citations(Strict, frozen=True):
    """Whether they are asked for."""

    enabled: bool = False


class Document(Piece, frozen=True, kw_only=True, tag="document"):
    """A document."""

    source: Pdf | Plain | Passages
    title: str | None = None
    context: str | None = None
    citations: Citations | None = None


class Direct(Strict, frozen=True, tag_field="type", tag="direct"):
    """The model called the tool itself, not by way of code."""


class ToolUse(Piece, frozen=True, kw_only=True, tag="tool_use"):
    """A call. Names are as Converse takes them."""

    id: str
    name: _Name
    input: Raw
    caller: Direct | None = None


class ToolResult(Piece, frozen=True, kw_only=True, tag="tool_result"):
    """What a call gave."""

    tool_use_id: str
    content: str | list[Text | Image | Document] | None = None
    is_error: bool | None = None


class Thinking(Piece, frozen=True, kw_only=True, tag="thinking"):
    """A thought, with the signature that lets it be handed back."""

    thinking: str
    signature: str | None = None


class Redacted(Piece, frozen=True, kw_only=True, tag="redacted_thinking"):
    """A thought that only the provider can read."""

    data: str


Block = Text | Image | Document | ToolUse | ToolResult | Thinking | Redacted


class Message(Strict, frozen=True):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Tool(Strict, frozen=True):
    """A tool that the client runs; those that Anthropic runs have another `type`."""

    name: _Name
    input_schema: Raw
    type: Literal["custom"] | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: Cache | None = None
    eager_input_streaming: bool | None = None
    """Dropped: how finely arguments are cut is nothing that is asked of the model."""


class Choice(Strict, frozen=True):
    """`tool_choice`."""

    type: Literal["auto", "any", "tool", "none"]
    name: _Name | None = None
    disable_parallel_tool_use: bool | None = None


class Schema(Strict, frozen=True, tag_field="type", tag="json_schema"):
    """The format of an answer."""

    schema: Raw


class OutputConfig(Strict, frozen=True):
    """`output_config`."""

    effort: str | None = None
    format: Schema | None = None


class Request(Strict, frozen=True):
    """The whole body."""

    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    messages: list[Message]
    model: Raw = Raw()
    stream: Raw = Raw()
    system: str | list[Text] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Raw = Raw()
    stop_sequences: list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: Choice | None = None
    thinking: Raw = Raw()
    output_config: OutputConfig | None = None
    context_management: Raw = Raw()
    anthropic_beta: list[str] | None = None
    cache_control: Cache | None = None
    # hints: dropped
    metadata: Raw = Raw()
    service_tier: Raw = Raw()
    speed: Raw = Raw()
