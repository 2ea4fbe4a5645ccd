"""The policy: every value a decision reads that does not come with the request. Frozen, JSON, versioned.

`interlock.config` makes one from interlock.toml; adopting it appends it to the `config` stream; every worker then holds
the same value. It names credentials, it never contains them.
"""

from functools import cached_property
from typing import Literal

import msgspec

from interlock.caching import Caching
from interlock.caching import Settings as CacheSettings
from interlock.credentials import Credential
from interlock.gateway.boundary import Refusals
from interlock.gateway.rules import Rules
from interlock.guard import Pattern
from interlock.ledger import Format, Price
from interlock.limits import Limit


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is declared about where a deployment's data goes. Unset means unknown, and unknown fails closed."""

    geographies: tuple[str, ...] = ()
    """Every region the data may be processed in, lower case (`eu`, `us`, `de`, …)."""
    retention_days: int | None = None
    """How long the provider keeps prompts; 0: not at all."""
    human_review: bool | None = None
    """Whether the provider's people may read them."""
    training: bool | None = None
    """Whether they may train models."""
    local: bool = False
    """The data does not leave the operator's own machines."""
    agreements: tuple[str, ...] = ()
    """Terms that a tenant must have accepted before its data goes there."""
    region_header: str = ""
    """Of answers: where they say which place served them; lower case."""
    peers: tuple[str, ...] = ()
    """Networks (CIDR) that its answers come from; empty: not declared. What `prove` holds against the log."""


class Deployment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model at one place."""

    name: str
    provider: str
    """`openai`, `anthropic`, `azure`, `bedrock`, `vertex`, `gemini`, `local` (the managed child) or another name. It
    selects paths, framing and how the credential is sent."""
    base_url: str
    """The part before `/chat/completions`, `/responses`, `/messages`; with `/v1` where the provider has it. Of bedrock,
    vertex and gemini: the host, without a path."""
    model: str
    family: str
    formats: tuple[Format, ...]
    facts: Facts = Facts()
    credential: Credential | None = None
    credentials: tuple[Credential, ...] = ()
    """Several keys of one deployment, used in turn; `credential` is then None."""
    context_window: int | None = None
    max_output: int | None = None
    """The most tokens it writes in one answer."""
    capabilities: tuple[str, ...] = ()
    """Of `tools`, `images`, `reasoning`, `schema`, `prefill` (it goes on from an assistant's message at the end). What
    is not listed, the deployment does not have."""
    price: Price | None = None
    """None: unpriced, which is never 0."""
    ca_bundle: str = ""
    api: str = ""
    """bedrock: `converse` or `anthropic`; vertex: `gemini` or `anthropic`; empty for others."""
    region: str = ""
    """Of bedrock and vertex."""
    project: str = ""
    """Of vertex."""
    api_version: str = ""
    """Of azure, if the address needs one."""

    @property
    def keys(self) -> tuple[Credential, ...]:
        """All its credentials; empty: it needs none, or its cloud's own are used."""
        return self.credentials or ((self.credential,) if self.credential is not None else ())


class Tier(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Deployments in order of preference."""

    name: str
    deployments: tuple[str, ...]
    spread: tuple[dict[str, int], ...] = ()
    """Groups of them among which conversations are spread, each with its weight; a group's members follow one another
    in `deployments`."""


class When(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rule asks of the signals. Unset: anything. Lists: any of. All that is set must hold."""

    mode: tuple[str, ...] | None = None
    model: tuple[str, ...] | None = None
    """Shell patterns (`claude-*`), case-sensitive."""
    tenant: tuple[str, ...] | None = None
    principal: tuple[str, ...] | None = None
    format: tuple[Format, ...] | None = None
    labels: dict[str, str] | None = None
    """Labels of the key, all of which must be equal."""
    tools: bool | None = None
    tool_result: bool | None = None
    images: bool | None = None
    reasoning: bool | None = None
    schema: bool | None = None
    stream: bool | None = None
    chore: bool | None = None
    input_tokens_min: int | None = None
    """Inclusive, of the estimate."""
    input_tokens_max: int | None = None
    """Inclusive, of the estimate."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """If the signals are so, then this tier."""

    name: str
    when: When
    tier: str
    on_cut: Literal["error", "continue"] = "error"
    """What follows when an upstream breaks off a stream that the client has begun to see: the format's own error event,
    or the next candidate, which goes on from the text so far (text only, never inside a tool call)."""
    switch: Literal["always", "saving"] = "always"
    """A conversation whose prompt is cached at a deployment outside of the tier: the tier all the same, or only where
    that saves money (affinity.py)."""
    cache: Caching | None = None
    """Answers may be given again to calls that this rule is the first to match, also to those that name their tier or
    deployment themselves. None: never."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A data boundary. Each clause that is set must be met by what the deployment declares."""

    name: str
    geographies: tuple[str, ...] | None = None
    """Every geography of the deployment must lie within one of these."""
    sources: dict[str, tuple[str, ...]] | None = None
    """By the region that a call comes from (itself, its country or area, or `*`): where it may be processed; besides
    places, `source`, `country` (of the source) and `*` (anywhere that is declared)."""
    sensitive: Literal["local"] | None = None
    """`local`: what guard/ finds sensitive goes to deployments that are local only."""
    retention_days_max: int | None = None
    human_review: bool | None = None
    """False: no human review. True is the same as unset."""
    training: bool | None = None
    """False: no training. True is the same as unset."""
    local_only: bool = False


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds towards an upstream."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    first_token_s: float = 120.0
    """From sending to the first event that carries content; streams only."""
    idle_s: float = 60.0
    """Between two reads of a response."""
    total_s: float = 900.0
    keep_alive_s: float = 15.0
    """Of silence towards the client of a stream, after which it gets an SSE comment; 0: none."""


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """What follows when every candidate has failed in a way that may pass."""

    rounds: int = 1
    """How often they are tried once more; 0: not at all."""
    backoff_s: float = 0.5
    """The longest wait before the first round; it doubles with each."""
    wait_s_max: float = 10.0
    """The longest wait that is worth it; a longer Retry-After is handed to the client instead."""


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """When a deployment that keeps failing is left alone, and for how long."""

    failures: int = 5
    """In a row; 0: never."""
    window_s: float = 30.0
    """Within which they must fall."""
    open_s: float = 15.0
    """How long it is left alone at first; doubled each time that it fails again."""
    open_s_max: float = 300.0


class Affinity(msgspec.Struct, frozen=True, kw_only=True):
    """When a conversation stays with the deployment that holds its prompt in a cache."""

    cache_s: float = 300.0
    """How long a provider keeps a prompt that nobody asks for; 0: conversations are held nowhere."""
    calls: int = 1
    """Over how many calls, the one at hand included, a switch must save more than the lost cache costs."""
    breakpoints: bool = True
    """Tell Anthropic's models what to cache where a client that did not choose them has not."""


class Guard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sensitive here, for boundaries that ask."""

    kinds: tuple[str, ...] | None = None
    """Of interlock.guard.KINDS, or what stands before the dot; None: all."""
    patterns: tuple[Pattern, ...] = ()
    """The operator's own."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on what clients may send and hold; per worker where a total."""

    header_bytes: int = 32 * 1024
    body_bytes: int = 32 * 1024 * 1024
    """Anthropic's limit for Messages; OpenAI's is smaller."""
    header_s: float = 10.0
    body_s: float = 60.0
    keep_alive_s: float = 75.0
    connections: int = 4096
    held_bytes: int = 256 * 1024 * 1024
    """Bodies held at once."""
    pipelined: int = 16
    upstream_connections: int = 256
    """Per upstream host."""
    answer_bytes: int = 64 * 1024 * 1024
    """A whole (not streamed) answer."""


class Policy(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One version of everything."""

    version: str
    """`sha256:` and 16 hex digits of the rest."""
    deployments: dict[str, Deployment]
    tiers: dict[str, Tier]
    rules: tuple[Rule, ...]
    profiles: dict[str, Profile]
    default_tier: str
    unknown_model: Literal["route", "refuse"] = "route"
    """A model name nobody configured: route it as `auto`, or answer 404."""
    boundary: str | None = None
    """Profile that every call is under, beside the tenant's and the key's own."""
    baseline: str | None = None
    """Deployment that `savings` compares with; what the comparison is called, if `baseline_price` is set."""
    baseline_price: Price | None = None
    """Price of a baseline that is not served here."""
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    breaker: Breaker = Breaker()
    affinity: Affinity = Affinity()
    guard: Guard = Guard()
    quotas: tuple[Limit, ...] = ()
    """Limits on what calls use."""
    reserve: dict[str, int] = {}
    """Output tokens reserved for a call that names no limit, by tier; under the empty name for all other tiers."""
    cache: CacheSettings = CacheSettings()
    cache_facts: Facts = Facts()
    """What is declared about where the cache's server keeps answers: a boundary judges it as it does a deployment."""
    limits: Limits = Limits()

    @cached_property
    def indexed(self) -> Rules:
        """The rules, by what they ask. No field: made when it is first asked for, as what follows."""
        return Rules(self.rules)

    @cached_property
    def refusals(self) -> Refusals:
        """The deployments, as its boundaries judge them."""
        return Refusals(self.deployments, self.profiles)


def version_of(policy: Policy) -> str:
    """The version a policy with this content has."""
    from hashlib import sha256

    content = msgspec.json.encode(msgspec.structs.replace(policy, version=""), order="deterministic")
    return f"sha256:{sha256(content).hexdigest()[:16]}"
