"""Events as bytes: every type there and back, and the head as every other log has it."""

from hashlib import sha256
from typing import Any, get_args

import msgspec
import pytest

from interlock.errors import LocalError
from interlock.log import LogCorrupt
from interlock.log.check import check_type
from interlock.log.record import Record, chain_next, chain_start, head_json
from interlock.runtime.sessions import event as events
from interlock.runtime.sessions.agent import BEFORE
from interlock.runtime.sessions.codec import Stored, chained, check_session, encoded, head_of, restore
from interlock.runtime.sessions.event import Created, Event, Said
from interlock.testing.sessions_contract import created, said


def test_the_head_is_that_of_a_record() -> None:
    for seq, kind, at_ns in ((1, "user.said", 0), (2**32 - 1, "session.created", 2**62)):
        (entry,) = encoded([said()])
        record = Record(id=str(seq), type=kind, at_ns=at_ns, payload=entry.payload)
        head = head_of(seq, kind, at_ns, entry.digest)
        assert head == head_json(seq, record)
        assert chained(b"x" * 32, head) == chain_next(b"x" * 32, head)


def example(type: Any) -> Any:
    """A value of a field's type that is not its default."""
    for kind, value in ((int, 7), (str, "é"), (bool, True), (float, 1.5)):
        if type is kind:
            return value
    options = get_args(type)
    if hasattr(type, "__struct_fields__"):
        return type(**{field.name: example(field.type) for field in msgspec.structs.fields(type) if field.required})
    if options and isinstance(options[0], str):
        return options[0]
    if options and getattr(type, "__origin__", None) is tuple:
        return (example(options[0]),)
    if options and getattr(type, "__origin__", None) is dict:
        return {"a": example(options[1])} if options[1] is not Any else {"a": [1]}
    return example(options[0])


@pytest.mark.parametrize("kind", get_args(Event))
def test_every_event_comes_back(kind: Any) -> None:
    for fields in (
        [field for field in msgspec.structs.fields(kind) if field.required],
        msgspec.structs.fields(kind),
    ):
        event = kind(**{field.name: example(field.type) for field in fields})
        (entry,) = encoded([event])
        check_type(entry.type)
        assert entry.payload.startswith(b'{"type":"%s"' % entry.type.encode())
        chain = chained(chain_start("session/s"), head_of(1, entry.type, 5, entry.digest))
        seen, end = restore("s", 0, None, [Stored(1, 5, entry.type.encode(), entry.payload, entry.digest, chain)])
        assert (seen[0].event, seen[0].at_ns, end) == (event, 5, chain)


def test_a_setting_that_came_later_changes_nothing_of_a_session_that_was_made_before() -> None:
    made = created()
    (entry,) = encoded([msgspec.structs.replace(made, labels={"compaction": "is no setting"})])
    document = msgspec.json.decode(entry.payload)
    for name in BEFORE:
        del document["agent"][name]
    payload = msgspec.json.encode(document)
    digest = sha256(payload).hexdigest()
    chain = chained(chain_start("session/s"), head_of(1, entry.type, 5, digest))
    ((seen,), _) = restore("s", 0, None, [Stored(1, 5, entry.type.encode(), payload, digest, chain)])
    assert isinstance(seen.event, Created) and seen.event.agent.compaction == "window"
    assert seen.event.agent == msgspec.structs.replace(made.agent, **BEFORE) != made.agent
    assert encoded([made])[0].payload.count(b'"compaction":"summary"') == 1, "it is written from now on"


def test_every_type_has_a_name_of_its_own() -> None:
    tags = [kind.__struct_config__.tag for kind in get_args(Event)]
    assert len(set(tags)) == len(tags)
    bodies = [
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, events.Body) and "." in str(kind.__struct_config__.tag)
    ]
    assert set(bodies) == set(get_args(Event)), "none was forgotten in the union"


def test_a_type_of_a_newer_version_is_named() -> None:
    payload = b'{"type":"user.sang","text":"la"}'
    digest = sha256(payload).hexdigest()
    chain = chained(chain_start("session/s"), head_of(1, "user.sang", 5, digest))
    with pytest.raises(LogCorrupt, match=r"user\.sang that this version cannot read"):
        restore("s", 0, None, [Stored(1, 5, b"user.sang", payload, digest, chain)])


def test_a_field_that_a_newer_version_added_is_let_through() -> None:
    payload = msgspec.json.encode({"type": "user.said", "text": "x", "mood": "glad"})
    digest = sha256(payload).hexdigest()
    chain = chained(chain_start("session/s"), head_of(1, "user.said", 5, digest))
    seen, _ = restore("s", 0, None, [Stored(1, 5, b"user.said", payload, digest, chain)])
    assert seen[0].event == Said(text="x")


@pytest.mark.parametrize("session", ["", "A", "a/b", "..", "-a", "a" * 65, "a\n", "é"])
def test_what_is_no_id_names_no_session(session: str) -> None:
    with pytest.raises(LocalError) as error:
        check_session(session)
    assert error.value.code == "session_unknown"


def test_too_many_events_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.runtime.sessions.codec.EVENTS_MAX", 2)
    assert len(encoded([created(), said()])) == 2
    with pytest.raises(LocalError) as error:
        encoded([created(), said(), said()])
    assert error.value.field == "events"
