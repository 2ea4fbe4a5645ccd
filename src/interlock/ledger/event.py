"""Usage as it stands in the log: one attempt is opened once and settled once.

Streams `usage/N` (one a gateway worker) hold three types of record. Ids: `REQUEST_ID/ATTEMPT/opened`,
`REQUEST_ID/ATTEMPT/settled`, `REQUEST_ID/refused`. Prices are not here: the policy version names the record in the
`config` stream that holds them.
"""

from typing import Literal

import msgspec

Format = Literal["chat", "responses", "messages", "embeddings", "count_tokens"]
"""The client's wire format: Chat Completions, Responses (OpenAI), Messages (Anthropic), Embeddings (OpenAI), and
Anthropic's counting of a Messages request, which costs nothing."""

Outcome = Literal["completed", "failed", "truncated", "cancelled", "lost"]
"""completed: the answer's own end was seen. failed: the upstream answered an error, or nothing. truncated: it broke off
after the first byte. cancelled: the client hung up. lost: the gateway died; only an estimate is left."""

Source = Literal["reported", "counted", "estimated", "cached", "none"]
"""Where the figures come from, best first. cached: an answer was given again, and no provider used anything. none: no
usage arose (the upstream never accepted the call; an answer given again was not given whole)."""

NULL = msgspec.Raw(b"null")


class Opened(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attempt that is about to be sent. Type `usage.opened`."""

    request_id: str
    attempt: int
    """Counts from 1."""
    tenant: str
    principal: str
    key_id: str
    format: Format
    stream: bool
    model_requested: str
    tier: str
    deployment: str
    provider: str
    model: str
    """What was sent upstream as the model's name."""
    policy: str
    """Version of the policy that decided."""
    input_estimate: int
    """Input tokens by rule `estimate_rule`: what a `lost` attempt is settled with."""
    estimate_rule: str
    session: str = ""
    mode: str = ""
    answer_of: str = ""
    """The request whose answer is given again: then nothing is sent, and this is no attempt at an upstream but one of
    the caller to have an answer."""
    decision: msgspec.Raw = NULL
    """The whole decision (gateway.routing.Decision)."""


class Settled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of an attempt. Type `usage.settled`.

    Kinds in `usage` (tokens unless said): `input` (includes cache_* and audio_input, as in OpenTelemetry),
    `cache_read`, `cache_write_5m`, `cache_write_1h`, `cache_write` (lifetime not told), `audio_input`, `output`
    (includes reasoning and audio_output), `reasoning`, `audio_output`, `web_search` (calls), `cache_hit` (1: the
    answer was given again; the only kind then).
    """

    request_id: str
    attempt: int
    outcome: Outcome
    usage: dict[str, int]
    source: Source
    rule: str = ""
    """The named rule behind counted or estimated figures."""
    raw: msgspec.Raw = NULL
    """The provider's own usage object, as it came."""
    http_status: int = 0
    error: str = ""
    """A code of interlock.errors.CODES, if the attempt did not complete."""
    finish_reason: str = ""
    """The upstream's own word."""
    upstream_id: str = ""
    upstream_model: str = ""
    upstream_peer: str = ""
    """Address that answered, as seen on the socket."""
    upstream_region: str = ""
    """The place that the answer says served it (`gateway.observed`), lower case."""
    repaired: str = ""
    """An event that the upstream's stream lacked, without which no client reads it, and that was put in."""
    avoided: dict[str, int] = {}
    """Of an answer given again: what it took to make it, in the same kinds."""
    first_byte_ns: int = 0
    duration_ns: int = 0


class Refused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call with a good key that was not sent anywhere. Type `usage.refused`."""

    request_id: str
    tenant: str
    principal: str
    key_id: str
    format: Format
    model_requested: str
    policy: str
    code: str
    message: str
    session: str = ""
    mode: str = ""
    decision: msgspec.Raw = NULL
