"""Corrections: what is read, what is written, and all that is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.intake.events import NOW_S, ORIGIN, Ledger, correction, counted, document, event, stored

from interlock.intake import Correction, Outcome, Refused, read_correction
from interlock.intake.correct import WAVE_MAX
from interlock.intake.decide import Known, conflict_key, reversal_key
from interlock.intake.records import Corrected, known_of
from interlock.log.lines import frame, parse


def read(**asked: Any) -> Correction | Refused:
    return read_correction(msgspec.json.encode(asked), ORIGIN, NOW_S)


def told(outcomes: Sequence[Outcome]) -> list[tuple[str, str, str]]:
    return [(one.result, one.code, one.field) for one in outcomes]


def corrected(ledger: Ledger) -> list[Corrected]:
    return [
        msgspec.json.decode(one.record.payload, type=Corrected)
        for one in stored(ledger.root)
        if one.record.type == "events.corrected"
    ]


def test_what_is_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    old, other, new = event("old", data={"n": 0.10}), event("other"), event("new", data={"n": 2})
    ledger.commit(other, old)
    ledger.clock.advance(10**9)
    made = correction(old, new, "a meter was read wrong")
    [outcome] = ledger.correct(made)
    [one] = corrected(ledger)
    [_, counting, correcting] = [None, *stored(tmp_path)]
    assert outcome == Outcome(result="counted", seq=correcting.seq)
    assert (one.tenant, one.key_id, one.reason) == ("acme", "key_1", "a meter was read wrong")
    assert [(at.seq, at.at_ns) for at in one.originals] == [(counting.seq, counting.record.at_ns)]
    assert counting.record.at_ns < correcting.record.at_ns
    assert bytes(one.events) == b"[%b,%b]" % (old.canonical, new.canonical)
    assert one.keys == reversal_key(old.key) + new.key and one.contents == made.content + new.content
    assert known_of(correcting) == {
        reversal_key(old.key): Known(made.content, correcting.seq),
        new.key: Known(new.content, correcting.seq),
    }
    ledger.close()


def test_one_reversal_an_entry(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    old, new = event("old"), event("new", data={"n": 2})
    ledger.commit(old)
    [first] = ledger.correct(correction(old, new))
    for _ in range(2):  # what is known from the log is known as what was just written
        assert ledger.correct(correction(old, new)) == [Outcome(result="duplicate", seq=first.seq)]
        others = [correction(old), correction(old, new, "why"), correction(old, event("new2"))]
        for outcome in ledger.correct(*others):
            assert (outcome.result, outcome.code, outcome.seq, outcome.id) == ("conflict", "conflict", first.seq, "old")
            assert f"corrected already, otherwise, in record {first.seq}" in outcome.message
        ledger.close()
        ledger = Ledger(tmp_path)
    assert ledger.results(old, new) == ["duplicate", "duplicate"]  # taken back or in its place: seen is seen
    assert len(corrected(ledger)) == 1
    ledger.close()


def test_a_replacement_may_be_corrected_and_a_reversal_may_stand_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, held_max=1)
    first, second, third = event("1"), event("2", data={"n": 2}), event("3", time="1970-01-01T00:00:00Z")
    ledger.commit(first)
    chain = [correction(first, second), correction(second, third), correction(third), correction(third)]
    assert [one.result for one in ledger.correct(*chain)] == ["counted", "counted", "counted", "duplicate"]
    one, two, three = corrected(ledger)
    seqs = [each.seq for each in stored(tmp_path)]
    assert [each.originals[0].seq for each in (one, two, three)] == seqs[:3]
    assert bytes(two.events) == b"[%b,%b]" % (second.canonical, third.canonical)
    assert bytes(three.events) == b"[%b]" % third.canonical and three.keys == reversal_key(third.key)
    ledger.close()


def test_what_cannot_be_corrected(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    old, other, aside = event("old"), event("other"), event("other", data={"n": 2})
    ledger.commit(old, other, aside)
    before = len(stored(tmp_path))
    globex = msgspec.structs.replace(ORIGIN, tenant="globex")
    elsewhere = read_correction(b'{"source":"app/eu","id":"old","reason":"r"}', globex, NOW_S)
    assert told(ledger.correct(elsewhere, origin=globex)) == [("refused", "event_unknown", "id")]
    named = [correction(event("nobody")), correction(old, other), correction(old, aside), correction(aside, old)]
    assert told(ledger.correct(*named)) == [
        ("refused", "event_unknown", "id"),
        ("conflict", "conflict", "replacement.id"),
        ("conflict", "conflict", "replacement.id"),
        ("conflict", "conflict", "replacement.id"),
    ]
    assert len(stored(tmp_path)) == before, "nothing is written"
    assert told(ledger.correct(correction(old, event("new")))) == [("counted", "", "")]
    ledger.close()


def test_a_key_for_some_customers(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    mine, theirs = event("mine", subject="eu-1"), event("theirs", subject="us-1")
    nobodys = event("nobodys", subject=None)
    ledger.commit(mine, theirs, nobodys)
    origin = msgspec.structs.replace(ORIGIN, subjects=("eu-*",))
    outcomes = ledger.correct(correction(mine), correction(theirs), correction(nobodys), origin=origin)
    assert told(outcomes) == [("counted", "", ""), *[("refused", "subject_refused", "id")] * 2]
    asked = {"source": "app/eu", "id": "mine", "reason": "r", "replacement": document("n", subject="us-1")}
    found = read_correction(msgspec.json.encode(asked), origin, NOW_S)
    assert isinstance(found, Refused) and (found.code, found.field) == ("subject_refused", "replacement.subject")
    ledger.close()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"source": ""}, "source"),
        ({"id": 7}, "id"),
        ({"reason": None}, "reason"),
        ({"reason": " \n"}, "reason"),
        ({"reason": "x" * 1001}, "reason"),
        ({"replacment": document("new")}, "replacment"),
        ({"replacement": "new"}, "replacement"),
        ({"replacement": document("new", time="yesterday")}, "replacement.time"),
        ({"replacement": document("e1")}, "replacement.id"),
    ],
)
def test_what_is_no_correction(asked: dict[str, Any], field: str) -> None:
    found = read(**{"source": "app/eu", "id": "e1", "reason": "wrong", **asked})
    assert isinstance(found, Refused) and (found.code, found.field) == ("invalid_request", field)


@pytest.mark.parametrize("text", [b"", b"[]", b'{"id":1,"id":2}', b"\xff", b"[" * 5000, b" " * (1 << 21)])
def test_what_is_not_even_json(text: bytes) -> None:
    found = read_correction(text, ORIGIN, NOW_S)
    assert isinstance(found, Refused) and found.field == "body"


def test_null_is_no_replacement() -> None:
    assert read(source="app/eu", id="e1", reason="r", replacement=None) == read(source="app/eu", id="e1", reason="r")


def test_an_erased_event_cannot_be_corrected(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, held_max=1)
    old = event("old")
    ledger.commit(old)
    [path] = (tmp_path / "journal/events/0").glob("*.seg")
    lines = path.read_bytes().splitlines(keepends=True)
    chain, head, _ = parse(lines[-1])
    whole = b"".join([*lines[:-1], frame(chain, head, b"")])
    path.write_bytes(whole)
    [outcome] = ledger.correct(correction(old))
    assert told([outcome]) == [("refused", "event_erased", "id")] and "erased" in outcome.message
    path.write_bytes(whole[:-1] + b" \n")
    assert told(ledger.correct(correction(old))) == [("refused", "log_corrupt", "id")]
    ledger.close()


def test_many_at_once(tmp_path: Path) -> None:
    """More than go with one sync, out of many records, large ones among them."""
    ledger = Ledger(tmp_path, held_max=10)
    old = [event(f"o{n}", data={"x": "y" * (60_000 if n % 7 == 0 else 10)}) for n in range(2 * WAVE_MAX + 20)]
    for start in range(0, len(old), 30):
        ledger.commit(*old[start : start + 30])
    made = [correction(one, event(f"n{one.id}")) for one in old]
    assert {outcome.result for outcome in ledger.correct(*made)} == {"counted"}
    assert {outcome.result for outcome in ledger.correct(*made)} == {"duplicate"}
    bodies = [msgspec.json.decode(bytes(one.events), type=list[msgspec.Raw])[0] for one in corrected(ledger)]
    assert [bytes(body) for body in bodies] == [one.canonical for one in old]
    assert len(counted(tmp_path)) == len(old)
    ledger.close()


def test_keys_of_one_event_are_told_apart() -> None:
    one = event()
    assert len({one.key, conflict_key(one), reversal_key(one.key), reversal_key(reversal_key(one.key))}) == 4
