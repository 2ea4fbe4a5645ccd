"""Usage as it stands in the log: one attempt is opened once and settled once.

Streams `usage/N` (one a gateway worker) hold three types of record; `adjustments` holds a fourth, `Adjusted`. Ids:
`REQUEST_ID/ATTEMPT/opened`, `REQUEST_ID/ATTEMPT/settled`, `REQUEST_ID/refused`. Prices are not here: the policy version
names the record in the `config` stream that holds them.
"""

from typing import Literal

import msgspec

Format = Literal["chat", "responses", "messages", "embeddings", "count_tokens"]
"""The client's wire format: Chat Completions, Responses (OpenAI), Messages (Anthropic), Embeddings (OpenAI), and
Anthropic's counting of a Messages request, which costs nothing."""

Outcome = Literal["completed", "failed", "truncated", "cancelled", "lost"]
"""completed: the answer's own end was seen. failed: the upstream answered an error, or nothing. truncated: it broke off
after the first byte. cancelled: the client hung up. lost: the gateway died; only an estimate is left."""

Source = Literal["billed", "reported", "counted", "estimated", "cached", "none"]
"""Where the figures come from, best first. billed: from the provider's bill, after the fact. cached: an answer was
given again, and no provider used anything. none: no usage arose (the upstream never accepted the call; an answer given
again was not given whole)."""

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
    team: str = ""
    """The label `team` of the key, as it was then."""
    task: str = ""
    """What the call was for, as the client named it."""
    tool: str = ""
    """Names of the tools whose results it carried: sorted, each once, with commas between."""


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


REQUESTS = "requests"
"""A kind of adjustments alone: how many calls a bill counts beyond (or below) ours. It has no price."""


class Adjusted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a provider's bill changed, after the fact. Type `usage.adjusted`, in the stream `adjustments`.

    Without a tenant it is of an attempt: `usage` is what it used, in place of what was settled, and the newest stands.
    With one it is an entry of its own: a part of the difference between a row of the bill and what was metered.
    """

    request_id: str
    """The attempt's, or an id of its own: `adj_` and 32 hex digits."""
    attempt: int
    """1 where it is an entry of its own."""
    statement: str
    """Id of the `statement.imported` that it was found with."""
    row: str
    """The row of the comparison: bucket, model and kind as people read them."""
    reason: str
    """The class of the difference (reconciling.matching)."""
    period_start_ns: int
    """Of the bucket that it refers to; the record itself says when it was booked."""
    period_end_ns: int
    usage: dict[str, int]
    """By kind, as in `Settled`. Of an entry of its own: one kind, exclusive, may be negative or 0."""
    amount_nanousd: int | None = 0
    """Of an entry of its own; negative: a credit. None: there is a quantity, and no price for it, or it is REQUESTS."""
    tenant: str = ""
    deployment: str = ""
    provider: str = ""
    model: str = ""
    team: str = ""
    """With `principal` and `session`: of an entry of its own, whose it is a part of. Empty: nobody's by name (bills
    booked before these were kept; more than are named; a difference that is tied to no call of ours)."""
    principal: str = ""
    session: str = ""


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
