"""The policy: every value a decision reads that does not come with the request. Frozen, JSON, versioned.

`interlock.config` makes one from interlock.toml; adopting it appends it to the `config` stream; every worker then holds
the same value. It names credentials, it never contains them.
"""

from typing import Literal

import msgspec

from interlock.ledger import Format, Price


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


class Credential(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the upstream key is found: exactly one is set."""

    env: str = ""
    file: str = ""


class Deployment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model at one place."""

    name: str
    provider: str
    """`openai`, `anthropic`, `local` (the managed child) or another name; selects how the credential is sent."""
    base_url: str
    """The part before `/chat/completions`, `/responses`, `/messages`; with `/v1` where the provider has it."""
    model: str
    family: str
    formats: tuple[Format, ...]
    facts: Facts = Facts()
    credential: Credential | None = None
    context_window: int | None = None
    capabilities: tuple[str, ...] = ()
    """Of `tools`, `images`, `reasoning`, `schema`. What is not listed, the deployment does not have."""
    price: Price | None = None
    """None: unpriced, which is never 0."""
    ca_bundle: str = ""


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Deployments in order of preference."""

    name: str
    deployments: tuple[str, ...]


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


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """If the signals are so, then this tier."""

    name: str
    when: When
    tier: str


class Profile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A data boundary. Each clause that is set must be met by what the deployment declares."""

    name: str
    geographies: tuple[str, ...] | None = None
    """Every geography of the deployment must be among these."""
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
    idle_s: float = 60.0
    """Between two reads of a response."""
    total_s: float = 900.0


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


class Policy(msgspec.Struct, frozen=True, kw_only=True):
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
    limits: Limits = Limits()


def version_of(policy: Policy) -> str:
    """The version a policy with this content has."""
    from hashlib import sha256

    content = msgspec.json.encode(msgspec.structs.replace(policy, version=""), order="deterministic")
    return f"sha256:{sha256(content).hexdigest()[:16]}"
