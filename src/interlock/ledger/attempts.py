"""The attempts of one agent's session, for who bounds what it may use. It reads the view."""

import sqlite3

import msgspec

SESSIONS = "ses_*"
"""How sessions of agents are named (a GLOB); the view's index holds no others."""


class SessionAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a model call, as it stands."""

    id: str
    """`REQUEST_ID/ATTEMPT`."""
    at_ns: int
    """When it was opened."""
    settled: bool
    """Whether it is over. Until then nothing below is known but `model` and `deployment`."""
    model: str
    deployment: str
    outcome: str
    usage: dict[str, int]
    amount_nanousd: int | None
    """None: it is open, or has no price."""


def attempts_of(db: sqlite3.Connection, tenant: str, session: str, since_ns: int) -> list[SessionAttempt]:
    """Those of an agent's session that were opened at or after `since_ns`, the oldest first."""
    rows = db.execute(
        "SELECT request_id || '/' || attempt, at_ns, state = 'settled', model, deployment, outcome, usage, "  # noqa: S608 - a constant
        f"amount_nanousd FROM entries WHERE session GLOB '{SESSIONS}' AND session = ? AND at_ns >= ? AND tenant = ? "
        "ORDER BY at_ns, request_id, attempt",
        (session, since_ns, tenant),
    )
    return [
        SessionAttempt(
            id=id,
            at_ns=at_ns,
            settled=bool(settled),
            model=model,
            deployment=deployment,
            outcome=outcome,
            usage=msgspec.json.decode(usage, type=dict[str, int]),
            amount_nanousd=amount,
        )
        for id, at_ns, settled, model, deployment, outcome, usage, amount in rows
    ]
