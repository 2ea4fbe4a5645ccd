"""A bundle, and the script in it, run as a customer runs it: with Python alone, far from our package."""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.intake.events import ORIGIN, Ledger, event
from tests.proof.places import EVENTS, Place

from interlock.errors import LocalError
from interlock.log import LogCorrupt
from interlock.log.journal import Journal
from interlock.log.reader import drop_sealed
from interlock.proof.checkpoint import STREAM, make, read, signed_bytes
from interlock.proof.export import Exported, Period, export, month, script
from interlock.proof.keys import open_signer

NOVEMBER = month("2026-11")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Nine records of events/0 (1, 5 and 8 are their owners'), of two tenants by turns; three checkpoints."""
    place = Place(tmp_path / "data")
    place.identity()
    place.count("acme", "rival", "acme")
    place.sign()
    place.count("acme", "rival")
    place.sign()
    place.count("acme", time="2026-10-31T23:59:59.999999Z")
    place.sign()
    return place


def bundled(place: Place, tmp_path: Path, tenant: str = "acme", period: Period = NOVEMBER) -> tuple[Path, Exported]:
    path = tmp_path / "bundle"
    shutil.rmtree(path, ignore_errors=True)
    return path, export(place.places, tenant, period, path)


def judged(bundle: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """`-I -S`: neither our package nor any other can be imported."""
    command = [sys.executable, "-I", "-S", str(bundle / "verify.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")


def proved(bundle: Path, *options: str) -> str:
    done = judged(bundle, *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_bundle_is_verified_with_python_alone(place: Place, tmp_path: Path) -> None:
    bundle, done = bundled(place, tmp_path)
    assert sorted(path.name for path in bundle.iterdir()) == [
        "checkpoints",
        "heads",
        "manifest.json",
        "payloads",
        "verify.py",
    ]
    assert msgspec.to_builtins(done.manifest.counts) == {"events.counted": {"records": 3, "events": 6}}
    assert (done.manifest.first, done.manifest.last, done.newer, done.checkpoint) == (1, 9, 0, 3)
    said = proved(bundle, "--key", done.manifest.public_key)
    assert "records 1 to 9 of events/0 stand as they were signed at 2026-11-28T10:00:00Z" in said
    assert "events.counted: 6 from 2026-11-01T00:00:00Z to 2026-12-01T00:00:00Z" in said
    assert "checkpoints 1 to 3 are linked" in said and "whose key" not in said and "held back" in said
    assert "not proved: whose key that is" in proved(bundle)
    assert (bundle / "verify.py").read_text() == script()
    assert "interlock." not in script().replace("interlock-bundle", "")


def test_nobody_else_is_in_it(place: Place, tmp_path: Path) -> None:
    bundle, _ = bundled(place, tmp_path)
    content = b"".join(path.read_bytes() for path in bundle.iterdir())
    assert b"rival" not in content and content.count(b"key_of_acme") == 3
    bundle, done = bundled(place, tmp_path, "rival")
    assert done.manifest.counts["events.counted"].events == 4
    assert b"acme" not in (bundle / "payloads").read_bytes() and "proved" in proved(bundle)


def test_the_period_is_the_events_own_and_the_late_ones_are_found(tmp_path: Path) -> None:
    place = Place(tmp_path / "data")
    october = 1_791_000_000 * 10**9  # 2026-10-03
    place.clock = type(place.clock)(october)
    place.count("acme", time="2026-10-03T00:00:00Z")
    place.clock.advance(40 * 86_400 * 10**9)
    place.count("acme", time="2026-11-01T00:00:00Z")
    place.count("acme", time="2026-10-31T23:59:59.5Z")  # late
    place.count("acme", time="")  # no time of its own: written on 2026-11-12
    place.sign()
    bundle, done = bundled(place, tmp_path)
    assert (done.manifest.first, done.manifest.counts["events.counted"].events) == (3, 4)  # from its owner's opening
    assert "proved" in proved(bundle)
    bundle, done = bundled(place, tmp_path, period=month("2026-10"))
    assert (done.manifest.first, done.manifest.counts["events.counted"].events) == (1, 4)
    assert "proved" in proved(bundle)


def test_conflicts_are_in_it(tmp_path: Path) -> None:
    place = Place(tmp_path / "data")
    ledger = Ledger(place.root)
    assert ledger.results(event("a"), event("b"), event("a", data={"n": 2})) == ["counted", "counted", "conflict"]
    ledger.close()
    place.sign()
    bundle, done = bundled(place, tmp_path)
    counts = {"events.counted": {"records": 1, "events": 2}, "events.conflict": {"records": 1, "events": 1}}
    assert msgspec.to_builtins(done.manifest.counts) == counts
    assert "events.conflict: 1 from" in proved(bundle) and ORIGIN.tenant == "acme"


@pytest.mark.parametrize("other_key", [False, True])
def test_an_event_that_was_counted_twice_is_named(tmp_path: Path, other_key: bool) -> None:
    """Signed and chained, and still not right: the server itself was wrong, or its owner."""
    place = Place(tmp_path / "data")
    place.count("acme")
    payload = place.lines(EVENTS)[1][:-1].split(b"\t")[2]
    if other_key:
        payload = payload.replace(b'"id":"e1"', b'"id":"e9"')
    journal = Journal.open(place.places.journal / EVENTS, EVENTS, clock=place.clock, reserve_bytes=0)
    journal.stage("again", "events.counted", place.clock.now_ns(), payload)
    journal.close()
    place.sign()
    bundle, _ = bundled(place, tmp_path)
    done = judged(bundle)
    assert done.returncode == 1 and f"record 4: event 'e{9 if other_key else 1}' of 'app/eu'" in done.stderr


Change = Callable[[Path], None]


def edit(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Change:
    def apply(bundle: Path) -> None:
        lines = (bundle / name).read_bytes().splitlines(keepends=True)
        (bundle / name).write_bytes(b"".join(change(lines)))

    return apply


def in_manifest(**changes: Any) -> Change:
    def apply(bundle: Path) -> None:
        path = bundle / "manifest.json"
        path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | changes))

    return apply


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            edit("payloads", lambda p: [p[0].replace(b'"tokens":7', b'"tokens":8', 1), *p[1:]]),
            "record 2: its payload was changed",
        ),
        (edit("payloads", lambda p: p[1:]), "and the manifest says"),
        (edit("payloads", lambda p: [p[1], p[0], *p[2:]]), "record 2 stands twice"),
        (edit("payloads", lambda p: [p[0], *p]), "record 2 stands twice"),
        (edit("payloads", lambda p: [p[0].replace(b"2\t", b"3\t"), *p[1:]]), "record 3: its payload was changed"),
        (edit("heads", lambda h: [*h[:3], *h[4:]]), "record 5 stands where 4 belongs"),
        (edit("heads", lambda h: [*h[:3], h[4], h[3], *h[5:]]), "record 5 stands where 4 belongs"),
        (edit("heads", lambda h: h[:-1]), "records end at 8, and the newest checkpoint attests 9"),
        (edit("heads", lambda h: h[1:]), "record 2 stands where 1 belongs"),
        (edit("heads", lambda h: [*h, h[-1].replace(b'"seq":9', b'"seq":10')]), "records end at 10, and"),
        (
            edit("heads", lambda h: [*h[:5], h[5].replace(b'"at_ns":"1', b'"at_ns":"2'), *h[6:]]),
            "records 5 to 7: the head of one was changed",
        ),
        (
            edit("checkpoints", lambda c: [c[0].replace(b'"at_ns":"1', b'"at_ns":"2'), *c[1:]]),
            "checkpoint 1 was changed",
        ),
        (edit("checkpoints", lambda c: [c[0], c[2]]), "checkpoint 1 was changed, or what followed it was removed"),
        (
            edit("checkpoints", lambda c: [*c[:2], c[2].replace(b'"at_ns":"1', b'"at_ns":"2')]),
            "checkpoint 3 was changed, or signed by another key",
        ),
        (
            edit("checkpoints", lambda c: [*c[:2], c[2].replace(b'{"', b'{ "', 1)]),
            "checkpoint 3 was changed: it is not spelled",
        ),
        (edit("checkpoints", lambda c: c[:-1]), "records end at 9, and the newest checkpoint attests 7"),
        (edit("checkpoints", lambda c: []), "there is no checkpoint"),
        (in_manifest(chain_before="00" * 32), "records 1 to 4: the head of one was changed"),
        (in_manifest(public_key="ab" * 32), "by another key"),
        (in_manifest(tenant="rival"), "another tenant's"),
        (in_manifest(until="2026-11-02T00:00:00Z"), "and the manifest says"),
        (in_manifest(chain_before=5), "the bundle is damaged"),
        (edit("heads", lambda h: [*h[:1], b"[" * 100_000 + b"\n", *h[2:]]), "the bundle is damaged"),
        (in_manifest(format="x"), "no bundle of format 1"),
        (edit("manifest.json", lambda m: []), "NOT PROVED"),
    ],
)
def test_what_was_done_to_a_bundle_is_named(place: Place, tmp_path: Path, change: Change, what: str) -> None:
    bundle, _ = bundled(place, tmp_path)
    change(bundle)
    done = judged(bundle)
    assert (done.returncode, done.stdout) == (1, "") and what in done.stderr, done.stderr
    assert done.stderr.startswith("NOT PROVED: ") and "Traceback" not in done.stderr


def test_another_key_and_another_history(place: Place, tmp_path: Path) -> None:
    """Signed anew, all of it, by somebody who has a key: only what the customer has from elsewhere says so."""
    kept = tmp_path / "kept.json"
    first = place.lines(STREAM)[1].split(b"\t")[2]  # checkpoint 1, from before
    kept.write_bytes(first)
    bundle, done = bundled(place, tmp_path)
    assert "the checkpoint that you kept is of this same history" in proved(bundle, "--checkpoint", str(kept))
    shutil.rmtree(place.places.journal)
    place.count("acme", "acme", "acme", "acme")
    place.sign()
    other, _ = bundled(place, tmp_path)
    said = judged(other, "--checkpoint", str(kept))
    assert said.returncode == 1 and "the head of one was changed" in said.stderr
    shutil.rmtree(place.places.journal)
    place.places.checkpoint_key.unlink()
    place.count("acme")
    place.sign()
    other, _ = bundled(place, tmp_path)
    assert "not proved: whose key that is" in proved(other)
    said = judged(other, "--key", done.manifest.public_key)
    assert said.returncode == 1 and "the bundle is signed by another key" in said.stderr
    assert "by another key" in judged(other, "--checkpoint", str(kept)).stderr


def test_a_kept_checkpoint_that_says_nothing_of_the_range(place: Place, tmp_path: Path) -> None:
    bundle, _ = bundled(place, tmp_path)
    place.count("acme")
    later = tmp_path / "later.json"
    later.write_bytes(place.sign().document)
    assert "not proved: that no other history was signed" in proved(bundle, "--checkpoint", str(later))
    forged = read(later.read_bytes())
    statement = msgspec.structs.replace(forged.statement, at_ns="1")
    later.write_bytes(make(statement, bytes(64)).document)
    assert "was changed" in judged(bundle, "--checkpoint", str(later)).stderr
    later.write_bytes(make(statement, open_signer(place.places, may_make=False).sign(signed_bytes(statement))).document)
    proved(bundle, "--checkpoint", str(later))


def test_a_tar(place: Place, tmp_path: Path) -> None:
    export(place.places, "acme", NOVEMBER, tmp_path / "out" / "acme.tar")
    with tarfile.open(tmp_path / "out" / "acme.tar") as tar:
        tar.extractall(tmp_path / "there", filter="data")
    assert "proved" in proved(tmp_path / "there" / "acme")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["acme.tar"]


def test_what_is_not_attested_is_left_out_and_told(place: Place, tmp_path: Path) -> None:
    place.count("acme")
    bundle, done = bundled(place, tmp_path)
    assert (done.newer, done.manifest.last) == (2, 9) and "proved" in proved(bundle)


def test_when_the_oldest_were_dropped(tmp_path: Path) -> None:
    place = Place(tmp_path / "data")
    journal = Journal.open(place.places.journal / EVENTS, EVENTS, clock=place.clock, segment_bytes=200, reserve_bytes=0)
    journal.close()
    place.count("acme", "acme")
    journal = Journal.open(place.places.journal / EVENTS, EVENTS, clock=place.clock, segment_bytes=200, reserve_bytes=0)
    journal.stage("x", "t", 1, b"1")
    journal.flush()
    journal.close()
    place.count("acme")
    place.sign()
    assert drop_sealed(place.places.journal / EVENTS, EVENTS, before_seq=5)
    bundle, done = bundled(place, tmp_path)
    assert done.manifest.first > 1 and "proved" in proved(bundle)


def test_what_cannot_be_exported(place: Place, tmp_path: Path) -> None:
    for tenant, period in (("nobody", NOVEMBER), ("acme", month("2025-01"))):
        with pytest.raises(LocalError, match="no event of tenant"):
            bundled(place, tmp_path, tenant, period)
    (tmp_path / "bundle").mkdir()
    with pytest.raises(LocalError, match="is there already"):
        export(place.places, "acme", NOVEMBER, tmp_path / "bundle")
    place.put(EVENTS, place.lines(EVENTS)[:-1])
    with pytest.raises(LogCorrupt, match="seq 9: checkpoint 3 attests another record here, or it is missing"):
        bundled(place, tmp_path)
    empty = Place(tmp_path / "empty")
    empty.identity()
    empty.sign()
    with pytest.raises(LocalError, match="no checkpoint attests any events"):
        bundled(empty, tmp_path)
    assert not (tmp_path / "bundle").exists() and not list(tmp_path.glob(".bundle*"))


@pytest.mark.parametrize("text", ["2026", "2026-13", "11-2026", "2026-11-01", "x"])
def test_months(text: str) -> None:
    with pytest.raises(LocalError, match="write 2026-11"):
        month(text)
    assert month("2026-12").until_s - month("2026-12").since_s == 31 * 86_400
