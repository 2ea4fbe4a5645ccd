"""An event as bytes and back: its payload, its head and a session's chain (as interlock.log.record). Pure."""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple, get_args

import msgspec

from interlock.errors import LocalError
from interlock.log import LogCorrupt
from interlock.log.record import PAYLOAD_BYTES_MAX, chain_start
from interlock.runtime.sessions.agent import BEFORE
from interlock.runtime.sessions.event import Created, Event, Seen

EVENTS_MAX = 100_000
"""Events in one append: a fork copies a whole log."""
SEQ_MAX = (1 << 32) - 1
"""A log holds no more events."""

_TAGS: dict[type, str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(Event)}
_SESSION = re.compile(r"[a-z0-9_][a-z0-9_-]{0,63}")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


class _Made(msgspec.Struct):
    """Of a `session.created`: the settings that it names."""

    agent: dict[str, msgspec.Raw]


_decode_made = msgspec.json.Decoder(_Made).decode


class Encoded(NamedTuple):
    """An event as it is stored."""

    type: str
    payload: bytes
    digest: str
    """SHA-256 of the payload, hex."""


class Stored(NamedTuple):
    """What a store gives back for a place in a log, whatever it has become."""

    seq: int
    at_ns: int
    type: bytes
    payload: bytes
    digest: str
    chain: bytes


def check_session(session: str) -> None:
    """Raises: LocalError: not the id of any session."""
    if not _SESSION.fullmatch(session):
        raise LocalError(f"no session {session[:64]!r}", code="session_unknown", field="session")


def unknown(session: str) -> LocalError:
    """There is none of that id, or none that the asker may know of."""
    return LocalError(f"no session {session[:64]!r}", code="session_unknown", field="session")


def stream_of(session: str) -> str:
    """The name of a session's log."""
    return f"session/{session}"


def encoded(events: Iterable[Event]) -> list[Encoded]:
    """Raises: LocalError: an event over 1 MiB or with text that is not Unicode; too many of them."""
    found = []
    for event in events:
        try:
            payload = _encode(event)
        except (UnicodeEncodeError, msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise LocalError(f"the event cannot be written as JSON: {error}", field="event") from error
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise LocalError(f"an event of {len(payload)} bytes, at most {PAYLOAD_BYTES_MAX}", field="event")
        found.append(Encoded(_TAGS[type(event)], payload, sha256(payload).hexdigest()))
    if len(found) > EVENTS_MAX:
        raise LocalError(f"{len(found)} events in one append, at most {EVENTS_MAX}", field="events")
    return found


def head_of(seq: int, type: str, at_ns: int, digest: str) -> bytes:
    """`interlock.log.record.head_json`, whose `id` is the seq here: an eighth of its cost."""
    return (
        f'{{"seq":{seq},"id":"{seq}","type":"{type}","at_ns":"{at_ns}","schema":1,"payload_sha256":"{digest}"}}'
    ).encode()


def chained(previous: bytes, head: bytes) -> bytes:
    """`interlock.log.record.chain_next`."""
    return sha256(previous + head).digest()


def restore(session: str, after: int, anchor: bytes | None, rows: Iterable[Stored]) -> tuple[list[Seen], bytes]:
    """Events behind `after`, checked, and the chain value behind the last. `anchor`: the chain value at `after`.

    Raises: LogCorrupt.
    """
    stream = stream_of(session)
    chain = anchor if after and anchor is not None else chain_start(stream)
    seq, found = after, []
    for row in rows:
        seq += 1
        kind, digest = row.type.decode(errors="replace"), sha256(row.payload).hexdigest()
        expected = chained(chain, head_of(seq, kind, row.at_ns, digest))
        if row.seq != seq or row.chain != expected:
            raise LogCorrupt(stream, seq, _wrong(row, seq, chain, kind))
        chain = expected
        try:
            found.append(Seen(seq=seq, at_ns=row.at_ns, event=_event(row.payload)))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LogCorrupt(stream, seq, f"a {kind} that this version cannot read: {error}") from error
    return found, chain


def _event(payload: bytes) -> Event:
    """What was written, as it was meant when it was."""
    event: Event = _decode(payload)
    if not isinstance(event, Created):
        return event
    named = _decode_made(payload).agent
    later = {name: value for name, value in BEFORE.items() if name not in named}
    return msgspec.structs.replace(event, agent=msgspec.structs.replace(event.agent, **later)) if later else event


def _wrong(row: Stored, seq: int, chain: bytes, kind: str) -> str:
    if row.seq != seq:
        return f"the record is missing; seq {row.seq} follows"
    if row.chain == chained(chain, head_of(seq, kind, row.at_ns, row.digest)):
        return "the payload does not match its hash"
    return "the chain does not hold: this record or one before it was changed"
