"""What `verify` finds with checkpoints that it cannot find without: cut tails, and histories written anew."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from tests.proof.places import EVENTS, Place, chained

from interlock.errors import LocalError
from interlock.log.record import chain_start
from interlock.log.verify import StreamReport
from interlock.proof.check import read_kept, verify
from interlock.proof.checkpoint import STREAM, Checkpoint, make, read, signed_bytes
from interlock.proof.keys import open_signer


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """identity 6, usage/0 8, events/0 7 records, three checkpoints, each attesting more of all streams."""
    place = Place(tmp_path / "data")
    for _ in range(2):
        place.identity()
        place.usage()
        place.count("acme", "other")
        place.sign()
    place.count("acme")
    place.sign()
    return place


def by_stream(place: Place) -> dict[str, StreamReport]:
    return {report.stream: report for report in verify(place.root)}


def test_what_was_signed_verifies(place: Place) -> None:
    reports = by_stream(place)
    assert {name: (one.head, one.attested) for name, one in reports.items()} == {
        "identity": (6, 6),
        "checkpoints": (6, 0),  # each writer's `journal.opened` and its checkpoint
        EVENTS: (8, 8),
        "usage/0": (8, 8),
    }
    assert place.problems() == []
    place.usage()  # what came after the last checkpoint is not attested, and not wrong
    assert (by_stream(place)["usage/0"].head, by_stream(place)["usage/0"].attested) == (12, 8)
    assert place.problems() == []


def test_a_tail_that_was_cut_off(place: Place) -> None:
    lines = place.lines(EVENTS)
    place.put(EVENTS, lines[:-1])
    assert place.problems() == [
        (EVENTS, 8, "the stream ends at 7, and checkpoint 3 attests 8: records were cut off"),
    ]
    place.put(EVENTS, lines[:2])
    assert [(stream, seq) for stream, seq, _ in place.problems()] == [(EVENTS, 3)]


def test_a_tail_that_was_cut_off_in_sqlite(place: Place) -> None:
    with closing(sqlite3.connect(place.places.log, isolation_level=None)) as db:
        db.execute("DELETE FROM records WHERE seq > 4")
    assert place.problems() == [
        ("identity", 5, "the stream ends at 4, and checkpoint 2 attests 6: records were cut off"),
    ]


@pytest.mark.parametrize("change", ["payload", "removed", "swapped"])
def test_a_history_written_anew(place: Place, change: str) -> None:
    """By somebody who knows the format, and lets the chain hold: named at the first record that is attested."""
    lines = place.lines(EVENTS)
    altered = {
        "payload": [lines[0], lines[1].replace(b'"tokens":7', b'"tokens":9'), *lines[2:]],
        "removed": [lines[0], *lines[2:], lines[1]],
        "swapped": [lines[0], lines[2], lines[1], *lines[3:]],
    }[change]
    place.put(EVENTS, chained([_unframed(line) for line in altered], chain_start(EVENTS)))
    assert place.problems() == [(EVENTS, 3, "checkpoint 1 attests another record here: the stream was written anew")]


def _unframed(line: bytes) -> bytes:
    """A line whose length and CRC are right again, whatever was done to it."""
    from interlock.log.lines import frame

    prefix, head, payload = line[17:-1].split(b"\t")
    return frame(bytes.fromhex(prefix.decode()), head, payload)


def test_a_history_written_anew_and_gone_on_with(place: Place) -> None:
    """A later checkpoint agrees with the forgery; the earlier one does not."""
    lines = place.lines(EVENTS)
    altered = [lines[0], _unframed(lines[1].replace(b'"tokens":7', b'"tokens":9')), *lines[2:]]
    forged = chained(altered, chain_start(EVENTS))
    place.put(EVENTS, forged)
    _sign_as_it_stands(place)
    assert [(stream, seq) for stream, seq, _ in place.problems()] == [(EVENTS, 3)]


def _sign_as_it_stands(place: Place) -> None:
    """What a server would do that did not look."""
    with place.writer() as writer:
        writer._check_continues = lambda last, streams: None  # type: ignore[method-assign]  # the look is taken out
        writer.write()


def test_nothing_is_signed_over_a_contradiction(place: Place) -> None:
    place.put(EVENTS, place.lines(EVENTS)[:3])
    place.count("acme", "acme", "acme", "acme", "acme", "acme")  # past the attested end again
    with place.writer() as writer:
        for _ in range(2):
            with pytest.raises(Exception, match="checkpoint 3 attests another record here: nothing more is signed"):
                writer.write()
        assert "nothing more is signed" in writer.problem and writer.newest and writer.newest.number == 3
    place.put(EVENTS, place.lines(EVENTS)[:3])
    with place.writer() as writer, pytest.raises(Exception, match="ends at 3, and checkpoint 3 attests 8"):
        writer.write()
    shutil.rmtree(place.places.journal / "usage")
    shutil.rmtree(place.places.journal / "events")
    with place.writer() as writer, pytest.raises(Exception, match="ends at 0, and checkpoint 3 attests 8"):
        writer.write()


def test_a_stream_that_is_gone(place: Place) -> None:
    shutil.rmtree(place.places.journal / "usage")
    assert place.problems() == [("usage/0", 1, "the stream is missing, and checkpoint 3 attests 8 records")]
    with closing(sqlite3.connect(place.places.log, isolation_level=None)) as db:
        db.execute("DELETE FROM records")
    assert [(stream, seq) for stream, seq, _ in place.problems()] == [("identity", 1), ("usage/0", 1)]


def test_streams_and_checkpoints_cut_off_together(place: Place) -> None:
    """Nothing in the directory says it; a checkpoint kept elsewhere does."""
    kept = read_kept(place.sign().document.decode())
    checkpoints = place.lines(STREAM)
    place.put(EVENTS, place.lines(EVENTS)[:6])
    place.put(STREAM, checkpoints[:4])
    assert place.problems() == []
    assert place.problems(kept=kept) == [
        (STREAM, 5, "checkpoints end at 2, and 3 was kept elsewhere: checkpoints were cut off"),
        (EVENTS, 7, "the stream ends at 6, and the checkpoint kept elsewhere attests 8: records were cut off"),
    ]
    shutil.rmtree(place.places.journal / STREAM)
    assert place.problems() == []
    assert [(stream, seq) for stream, seq, _ in place.problems(kept=kept)] == [(EVENTS, 7), (STREAM, 1)]
    key = kept.statement.public_key
    assert [what for _, _, what in place.problems(public_key=key)] == [
        "there is no checkpoint, by this key or any other"
    ]


def test_everything_begun_anew_with_another_key(place: Place, tmp_path: Path) -> None:
    kept = place.sign()
    place.places.checkpoint_key.unlink()
    place.places.checkpoint_pub.unlink()
    shutil.rmtree(place.places.journal / STREAM)
    forged = place.sign()
    assert place.problems() == []
    key = kept.statement.public_key
    found = place.problems(public_key=key)
    assert found == [(STREAM, 2, f"checkpoint 1 is signed by another key: {forged.statement.public_key}")]
    assert (STREAM, 0, "the checkpoint that was kept is signed by another key") in place.problems(kept=kept)


Change = Callable[[Checkpoint], bytes]


def _with(checkpoint: Checkpoint, **changes: object) -> bytes:
    statement = msgspec.structs.replace(checkpoint.statement, **changes)
    return make(statement, bytes.fromhex(checkpoint.signature)).document


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda one: _with(one, at_ns="1"), "checkpoint 2 is not signed by the key that it names"),
        (lambda one: _with(one, number=5), "checkpoint 5 does not follow on the one before it"),
        (lambda one: _with(one, previous="0" * 64), "checkpoint 2 does not follow on the one before it"),
        (lambda one: _with(one, public_key="zz"), "checkpoint 2 is not signed by the key that it names"),
        (lambda one: b"{}", "this is no checkpoint"),
        (lambda one: one.document.replace(b',"', b', "', 1), "not spelled as it was written"),
    ],
)
def test_a_changed_checkpoint(place: Place, change: Change, what: str) -> None:
    lines = place.lines(STREAM)
    prefix, head, payload = lines[3][17:-1].split(b"\t")
    from interlock.log.lines import frame

    changed = frame(bytes.fromhex(prefix.decode()), head, change(read(payload)))
    place.put(STREAM, chained([*lines[:3], changed, *lines[4:]], chain_start(STREAM)))
    [(stream, seq, found)] = place.problems()
    assert (stream, seq) == (STREAM, 4) and what in found
    place.put(STREAM, [*lines[:2], *lines[3:]])
    assert [(stream, seq) for stream, seq, _ in place.problems()] == [(STREAM, 3)]


def test_a_checkpoint_taken_out_of_the_middle(place: Place) -> None:
    lines = place.lines(STREAM)
    place.put(STREAM, chained([*lines[:3], *lines[4:]], chain_start(STREAM)))
    assert place.problems() == [(STREAM, 5, "checkpoint 3 does not follow on the one before it")]


def test_a_kept_one_that_was_changed_or_is_none(place: Place) -> None:
    kept = place.sign()
    with pytest.raises(LocalError, match="not signed by the key"):
        read_kept(_with(kept, at_ns="1").decode())
    with pytest.raises(LocalError, match="this is no checkpoint"):
        read_kept("[]")
    assert place.problems(kept=read_kept(f"\n{kept.document.decode()}\n")) == []
    fork = msgspec.structs.replace(kept.statement, at_ns="1")
    signer = open_signer(place.places, may_make=False)
    other = make(fork, signer.sign(signed_bytes(fork)))
    assert place.problems(kept=other) == [(STREAM, 6, "checkpoint 3 is not the one that was kept elsewhere")]


def test_what_was_dropped_is_passed_over(tmp_path: Path) -> None:
    """Retention took the oldest segments; what stands is still held against what was attested."""
    from tests.log.journals import STREAM as USAGE
    from tests.log.journals import write

    from interlock.log.reader import drop_sealed

    place = Place(tmp_path)
    for _ in range(3):
        write(tmp_path, 20, segment_bytes=2000)
        place.sign()
    assert drop_sealed(tmp_path / "journal" / USAGE, USAGE, before_seq=50)
    assert place.problems() == []
    place.sign()
    directory = tmp_path / "journal" / USAGE
    for path in sorted(directory.glob("*.seg"))[-2:]:
        path.unlink()
    for path in sorted(directory.glob("*.seal"))[-2:]:
        path.unlink()
    assert [(stream, seq > 40) for stream, seq, _ in place.problems()] == [(USAGE, True)]


def test_an_empty_directory(tmp_path: Path) -> None:
    assert list(verify(tmp_path)) == []
