"""What a fork's log begins with. Pure.

The child's log holds the parent's events at the same places, but for the first, which is its own `session.created`.
Then `session.forked` ends what was open in the parent: no lease, sandbox, question or running call is inherited, and no
log holds a credential.
"""

from collections.abc import Sequence

import msgspec

from interlock.runtime.sessions.event import Created, Event, Finished, Forked, Said, Seen, Text
from interlock.runtime.sessions.state import State, fold

NOT_KNOWN = "The session was forked while this call ran. What it did, and whether, is not known here."


def _end(state: State, later: int) -> Forked:
    """Where the workspace comes from, by the parent's state at the place of the fork.

    Nothing ran yet: it is empty. A snapshot was made and nothing ran since: that. Else it is copied as it is now, which
    is later than the place of the fork unless that is the head; the log says so.
    """
    if not state.touched:
        return Forked(workspace="empty")
    if state.snapshot:
        return Forked(workspace="snapshot", snapshot=state.snapshot)
    return Forked(workspace="copy", later=later)


def forked(
    created: Created, copied: Sequence[Seen], said: Said | None, *, head: int, at_ns: int
) -> tuple[list[Seen], State, Forked]:
    """The child's first events, its state, and where its workspace comes from.

    Args:
        copied: the parent's events, from the first to the place of the fork.
        head: the last that the parent has now.
    """
    first = msgspec.structs.replace(copied[0], event=created)
    events = [first, *copied[1:]]
    state = fold(events)
    end = _end(state, head - state.seq)
    more: list[Event] = [end]
    for call_id, calling in state.pending.items():
        if calling.started is not None:
            attempt = calling.started.attempt
            content = Text(text=NOT_KNOWN)
            more.append(Finished(call_id=call_id, attempt=attempt, outcome="unknown", content=content))
    if said is not None:
        more.append(said)
    for event in more:
        seen = Seen(seq=state.seq + 1, at_ns=at_ns, event=event)
        state.apply(seen)
        events.append(seen)
    return events, state, end
