"""Sessions as JSON: times in RFC 3339, amounts and nanoseconds as strings (they may exceed 2^53)."""

from typing import Any

import msgspec

from interlock.instants import rfc3339
from interlock.runtime.sessions.event import Event, Seen
from interlock.runtime.sessions.ports import Row
from interlock.runtime.sessions.state import Asking, State


def event_json(seen: Seen) -> dict[str, Any]:
    """`{seq, at, type, …}`, the rest as sessions/event.py has it."""
    return {"seq": seen.seq, "at": rfc3339(seen.at_ns), **body_json(seen.event)}


def body_json(event: Event) -> dict[str, Any]:
    """An event's own fields."""
    told: dict[str, Any] = _large(msgspec.to_builtins(event))
    return told


def row_json(row: Row) -> dict[str, Any]:
    """A session in a list."""
    return {
        "session": row.session,
        "tenant": row.tenant,
        "principal": row.principal,
        "status": row.standing.status,
        "title": row.standing.title,
        "detail": row.standing.detail,
        "head": row.head,
        "created_at": rfc3339(row.created_at_ns),
        "changed_at": rfc3339(row.changed_at_ns),
        "wake_at": None if row.standing.wake_at_ns is None else rfc3339(row.standing.wake_at_ns),
        "owner": row.owner or None,
    }


def session_json(row: Row, state: State) -> dict[str, Any]:
    """One session: its row, what it runs, what it has used, and whom it asks."""
    assert state.created is not None
    return {
        **row_json(row),
        "agent": _large(msgspec.to_builtins(state.agent)),
        "labels": state.created.labels,
        "parent": state.created.parent or None,
        "parent_seq": state.created.parent_seq or None,
        "workspace": state.created.workspace,
        "used": {
            "steps": state.steps,
            "tokens": state.tokens,
            "amount_nanousd": str(state.amount_nanousd),
            "denials": state.denials,
        },
        "budget": _large(msgspec.to_builtins(state.budget)),
        "approvals": [approval_json(row.session, asking, state) for asking in state.waiting],
    }


def approval_json(session: str, asking: Asking, state: State) -> dict[str, Any]:
    """A question to a person, with the arguments that the answer is for."""
    question = asking.question
    return {
        "session": session,
        "approval": question.approval,
        "call_id": question.call_id,
        "tool": question.tool,
        "arguments": state.calls[question.call_id].call.arguments,
        "arguments_sha256": question.arguments_sha256,
        "expires_at": rfc3339(question.expires_at_ns),
        "why": question.why,
    }


def _large(value: Any) -> Any:
    """Integers under names that end in a unit of billionths, as strings."""
    if isinstance(value, dict):
        return {
            name: str(inner) if type(inner) is int and name.endswith(("_ns", "_nanousd")) else _large(inner)
            for name, inner in value.items()
        }
    return [_large(inner) for inner in value] if isinstance(value, list) else value
