"""What stands in a session's log: its event types and their payloads. The log is the only state of a session.

Stream `session/<id>`; a record's type is the payload's tag. Released types keep their meaning; fields may be added.
Who may write which: people and their programs (the api port) write `session.*`, `user.said`, `approval.answered`;
everything else is written by the brain that holds the session's lease.
"""

from typing import Any, Literal

import msgspec

from interlock.runtime.sessions.agent import Agent, Budget

Effect = Literal["pure", "idempotent", "once"]
"""What running a tool call again does: nothing anybody sees; nothing if the key is the same; a second effect."""
Verdict = Literal["allow", "ask", "deny"]
INLINE_BYTES_MAX = 16 * 1024
"""Of a tool's result in the log; a larger one is a blob, and the log keeps its hash, its length and its beginning."""


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """The payload of an event."""


# What an answer or a message is made of.


class Text(Body, frozen=True, kw_only=True, omit_defaults=True, tag="text"):
    """Words."""

    text: str


class Thought(Body, frozen=True, kw_only=True, omit_defaults=True, tag="thought"):
    """A block of the model's reasoning, kept so that it can be given back (gateway.translate.neutral.Reasoning)."""

    kind: Literal["thinking", "redacted", "item", "plain"]
    text: str = ""
    seal: str = ""
    id: str = ""
    family: str = ""


class Call(Body, frozen=True, kw_only=True, omit_defaults=True, tag="call"):
    """The model asks for a tool. `id` is unique in the session: made by the brain where the model's is not."""

    id: str
    name: str
    arguments: str
    """JSON text as the model wrote it: not believed, perhaps broken."""


Part = Text | Thought | Call


class Blob(Body, frozen=True, kw_only=True, omit_defaults=True, tag="blob"):
    """Content kept beside the log under its hash."""

    sha256: str
    bytes: int
    head: str = ""
    """The beginning of it, as text."""


# Events.


class Created(Body, frozen=True, kw_only=True, omit_defaults=True, tag="session.created"):
    """First, once. `parent` and `parent_seq`: what it was forked from, whose events up to there follow in this log."""

    tenant: str
    principal: str
    key_id: str
    """The key it was created with: its model calls are this key's. Revoked: they are refused."""
    agent: Agent
    workspace: str
    """Id of its workspace."""
    title: str = ""
    labels: dict[str, str] = {}
    parent: str = ""
    parent_seq: int = 0


class Cancelled(Body, frozen=True, kw_only=True, omit_defaults=True, tag="session.cancelled"):
    """Stop what runs and end the turn. A later `user.said` goes on."""

    by: str
    reason: str = ""


class Forked(Body, frozen=True, kw_only=True, omit_defaults=True, tag="session.forked"):
    """Behind the events that a fork copied: what was open there is not open here. Questions that nobody used the answer
    of are void (who asks does so again), the model call under way is lost, the sandbox is the parent's. Calls that had
    started there end as `unknown` right behind this."""

    workspace: Literal["empty", "snapshot", "copy"]
    """What its own holds: nothing yet; the parent's as it was at `parent_seq`; or as it was when it was forked."""
    snapshot: str = ""
    later: int = 0
    """Of a copy: events that the parent had behind `parent_seq` by then. What they did is in it too."""


class Raised(Body, frozen=True, kw_only=True, omit_defaults=True, tag="session.raised"):
    """A person allows more: the budget from here on."""

    by: str
    budget: Budget
    id: str = ""
    """As of `Said`."""


class Compacted(Body, frozen=True, kw_only=True, omit_defaults=True, tag="session.compacted"):
    """Have the model sum up all that has been, as it does when its window is full; nothing else is asked of it."""

    by: str


class Said(Body, frozen=True, kw_only=True, omit_defaults=True, tag="user.said"):
    """A message to the agent; begins a turn, or is heard at the next model call of the one under way."""

    text: str
    by: str = ""
    id: str = ""
    """The sender's idempotency key: another with the same is the same message, and is not written."""


class Woken(Body, frozen=True, kw_only=True, omit_defaults=True, tag="brain.woken"):
    """A brain holds the session's lease and acts from here on. `epoch` rises by one with each."""

    owner: str
    epoch: int


class Asked(Body, frozen=True, kw_only=True, omit_defaults=True, tag="model.asked"):
    """A model call begins. Without an answer behind it, it was lost in a crash: another is made."""

    step: int
    """1, 2, … over the session. Of a program's run, which is no model call itself: how many there were before it."""
    key: str
    """The request's idempotency key, in its header `x-interlock-request`."""
    cut_seq: int = 0
    """What the model is shown begins after this seq (see `Cut`)."""
    until_seq: int = 0
    """Not 0: no turn of the conversation, but a summary is asked for, of what stands after `cut_seq` up to this, and of
    what was told in the place of all before. Its answer is a `context.cut` right behind `model.answered`."""


class Answered(Body, frozen=True, kw_only=True, omit_defaults=True, tag="model.answered"):
    """What the model said. Of a summary `parts` is empty: its text is that of the cut behind it."""

    step: int
    parts: tuple[Part, ...]
    finish: str
    """`gateway.translate.neutral.Finish`."""
    usage: dict[str, int] = {}
    """The ledger's kinds."""
    amount_nanousd: int | None = None
    """None: not told."""
    request_id: str = ""
    deployment: str = ""


class Failed(Body, frozen=True, kw_only=True, omit_defaults=True, tag="model.failed"):
    """A model call ended in an error. `retry_at_ns`: when the brain tries again; None: it does not, the turn ends."""

    step: int
    code: str
    message: str
    retry_at_ns: int | None = None
    usage: dict[str, int] = {}
    """Of an answer that was none (estimated, if it broke off): it costs what it costs, though nobody has it."""
    amount_nanousd: int | None = None


class Called(Body, frozen=True, kw_only=True, omit_defaults=True, tag="program.called"):
    """A program's model call is let through: written before it is sent."""

    step: int
    """1, 2, … over the session."""
    format: str
    """`ledger.Format` that it asks in."""


class Metered(Body, frozen=True, kw_only=True, omit_defaults=True, tag="program.metered"):
    """What an attempt at a program's model call came to, by the ledger. A call may be no attempt (refused) or several
    (tried again with another deployment)."""

    attempt: str
    """`REQUEST_ID/ATTEMPT`; written once."""
    model: str
    deployment: str
    outcome: str
    """`ledger.Outcome`."""
    usage: dict[str, int] = {}
    """The ledger's kinds."""
    amount_nanousd: int | None = None
    """None: it has no price."""


class Decided(Body, frozen=True, kw_only=True, omit_defaults=True, tag="tool.decided"):
    """What permissions say of a call, before anything of it runs."""

    call_id: str
    verdict: Verdict
    why: str
    """The rule or mode that decided, for people."""


class Question(Body, frozen=True, kw_only=True, omit_defaults=True, tag="approval.asked"):
    """A person is asked. The session waits at no cost; the answer holds for exactly these arguments, once."""

    approval: str
    call_id: str
    tool: str
    arguments_sha256: str
    expires_at_ns: int
    why: str = ""


class Answer(Body, frozen=True, kw_only=True, omit_defaults=True, tag="approval.answered"):
    """A person's word. It is refused when it comes too late, twice, or for other arguments."""

    approval: str
    approved: bool
    arguments_sha256: str
    by: str
    note: str = ""


class Expired(Body, frozen=True, kw_only=True, omit_defaults=True, tag="approval.expired"):
    """Nobody answered in time; the call's outcome is `expired`, which is not a refusal."""

    approval: str


class Started(Body, frozen=True, kw_only=True, omit_defaults=True, tag="tool.started"):
    """An attempt at a call begins: written before anything of it happens."""

    call_id: str
    attempt: int
    """1, 2, …; another only after a crash, and only as `effect` allows."""
    key: str
    """The idempotency key, the same for every attempt."""
    effect: Effect
    approval: str = ""
    """Taken by this start, if one was needed."""


class Finished(Body, frozen=True, kw_only=True, omit_defaults=True, tag="tool.finished"):
    """What a call gave back: what the model is shown as its result."""

    call_id: str
    attempt: int
    """0: it never started (`invalid`, `denied`, `expired`, `cancelled`)."""
    outcome: Literal["ok", "error", "timed_out", "invalid", "denied", "expired", "cancelled", "unknown"]
    content: Text | Blob


class Cut(Body, frozen=True, kw_only=True, omit_defaults=True, tag="context.cut"):
    """The model is shown only what stands after `before_seq`, and `summary` in its place. The log keeps it all."""

    kind: Literal["window", "summary", "reset"]
    before_seq: int
    summary: str = ""
    """Of `window`: the one that stood before, of the oldest part."""
    why: str = ""
    """Of `window`: why there is no summary, where the agent's `compaction` asks for one."""


class Provisioned(Body, frozen=True, kw_only=True, omit_defaults=True, tag="hands.provisioned"):
    """The session has hands from here on."""

    sandbox: str
    hands: str
    workspace_made_at_ns: int = 0
    """0: it was not told."""


class Saved(Body, frozen=True, kw_only=True, omit_defaults=True, tag="hands.saved"):
    """A snapshot of the workspace as it is here: what a fork at this place, or behind it before another call starts, is
    given."""

    snapshot: str


class HandsGone(Body, frozen=True, kw_only=True, omit_defaults=True, tag="hands.lost"):
    """The sandbox died or was put away; the next call that needs one provisions another."""

    sandbox: str
    reason: str
    workspace: bool = False
    """With the workspace, and all that was in it: the next call begins with an empty one."""


class Connected(Body, frozen=True, kw_only=True, omit_defaults=True, tag="hands.connected"):
    """A connection out of the sandbox was asked for."""

    sandbox: str
    host: str
    port: int
    allowed: bool
    protocol: str = "tcp"
    address: str = ""
    """What it was connected to; of a question for a name, the server that was asked around the proxy."""
    sent_bytes: int = 0
    received_bytes: int = 0
    why: str = ""


class Note(Body, frozen=True, kw_only=True, omit_defaults=True, tag="brain.noted"):
    """Something people should know: a broken circuit, a tool that changed, a program's output (the bridge)."""

    text: str
    data: dict[str, Any] = {}


class Ended(Body, frozen=True, kw_only=True, omit_defaults=True, tag="turn.ended"):
    """The turn is over; the session is idle until somebody says something."""

    reason: Literal["done", "budget", "cancelled", "failed", "circuit"]
    detail: str = ""


Event = (
    Created
    | Cancelled
    | Forked
    | Raised
    | Compacted
    | Said
    | Woken
    | Asked
    | Answered
    | Failed
    | Called
    | Metered
    | Decided
    | Question
    | Answer
    | Expired
    | Started
    | Finished
    | Cut
    | Provisioned
    | Saved
    | HandsGone
    | Connected
    | Note
    | Ended
)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An event where it stands."""

    seq: int
    at_ns: int
    event: Event
