"""What a brain does next: the values that `decide.next_action` gives back. Values only."""

from dataclasses import dataclass
from typing import Literal, get_args

from interlock.runtime.sessions.event import Call, Cut, Effect

Outcome = Literal["ok", "error", "timed_out", "invalid", "denied", "expired", "cancelled", "unknown"]
Reason = Literal["done", "budget", "cancelled", "failed", "circuit"]

LoopPoint = Literal[
    "model.asked.before",
    "model.asked.after",
    "model.answered.after",
    "summary.asked.before",
    "summary.asked.after",
    "summary.answered.after",
    "tool.started.before",
    "tool.started.after",
    "hands.provision.before",
    "hands.provision.after",
    "hands.provisioned.before",
    "hands.provisioned.after",
    "tool.noted.before",
    "tool.noted.after",
    "tool.ran.after",
    "tool.finished.before",
    "tool.finished.after",
    "blob.put.before",
    "blob.put.after",
    "turn.settled.before",
    "turn.settled.after",
    "turn.ended.before",
    "turn.ended.after",
    "lease.released.before",
]
ProgramPoint = Literal[
    "program.called.before", "program.called.after", "program.metered.before", "program.metered.after"
]
Point = LoopPoint | ProgramPoint
"""The places where a test may kill a brain: before and after each append and each effect."""
POINTS: tuple[LoopPoint, ...] = get_args(LoopPoint)
PROGRAM_POINTS: tuple[ProgramPoint, ...] = get_args(ProgramPoint)
"""Those that only a program's turn comes to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Write a call's result without running it (again)."""

    call_id: str
    attempt: int
    outcome: Outcome
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquire:
    """Ask a person about a call. `again`: it began before a crash, and whether it had an effect is not known."""

    call: Call
    why: str
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Write what follows from the log alone: no effect but the records. `judges`: calls to put before permissions."""

    closes: tuple[Close, ...] = ()
    judges: tuple[Call, ...] = ()
    inquiries: tuple[Inquire, ...] = ()
    expiries: tuple[str, ...] = ()
    """Approvals that nobody answered in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Run a call. `key` is the same for each attempt at it."""

    call: Call
    attempt: int
    key: str
    effect: Effect
    approval: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run these at once: one call, or several that are all pure."""

    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask the model. `cut`: what it is not shown any more from here on."""

    step: int
    cut: Cut | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summarise:
    """Ask the model for a summary of what stands up to `until_seq` and is to be cut then."""

    step: int
    until_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do until a person says something, or until then."""

    until_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The turn is over. `closes`: calls that will not run; none is left without a result."""

    reason: Reason
    detail: str = ""
    closes: tuple[Close, ...] = ()


Action = Settle | Run | Ask | Summarise | Wait | End
