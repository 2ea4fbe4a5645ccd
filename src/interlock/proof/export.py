"""A bundle: what a customer needs to check, without us, what we counted of theirs.

    manifest.json   whose, which period, the range of records, the chain value before it, the key, the counts
    heads           the heads of all records of the range, whoever's: they hold numbers, times and hashes, no names
    payloads        NUMBER <tab> PAYLOAD of the tenant's records with an event in the period, and of its erasures
    checkpoints     the newest ones, linked; the last of them attests the range's end
    verify.py       verify_bundle.py, which imports nothing of Interlock

An event is of the period by its own time, and may have come late: so the range begins with the first record that can
hold one, and ends with the last that is attested. The chain from its start to a signed end fixes every head between.
Reads a stopped or a running directory, and writes nothing to it.
"""

import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from interlock.datadir import DataDir
from interlock.errors import LocalError
from interlock.intake import STREAM
from interlock.intake.cloudevent import AHEAD_S_MAX
from interlock.log import LogCorrupt, Stored
from interlock.log.reader import JournalReader, last_seq
from interlock.log.record import chain_next, head_json
from interlock.log.redaction import REDACTED
from interlock.log.segments import position_before, segment_numbers
from interlock.proof import verify_bundle
from interlock.proof.checkpoint import Checkpoint
from interlock.proof.writing import last_ones

FORMAT = "interlock-bundle/1"
CHECKPOINTS_MAX = 1000
"""About a megabyte; the last one's signature is over all of them."""

_NS = 10**9
_PROGRESS_EVERY = 1000


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Of events, by their own time; whole seconds, Unix epoch."""

    since_s: int
    until_s: int
    """Exclusive."""


class Count(msgspec.Struct, kw_only=True):
    """What the payloads of one type of record hold."""

    records: int = 0
    events: int = 0
    """Those of the period."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `manifest.json` holds."""

    format: str = FORMAT
    tenant: str
    since: str
    until: str
    stream: str = STREAM
    first: int
    last: int
    chain_before: str
    """Hex: the chain value before record `first`."""
    public_key: str
    counts: dict[str, Count]
    """By type of record."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was written."""

    manifest: Manifest
    checkpoint: int
    """The number of the newest in it."""
    newer: int
    """Records that came after it and are left out."""


class _Timed(msgspec.Struct, frozen=True):
    time: str = ""


class _Whose(msgspec.Struct, frozen=True):
    """What is read of a payload of another tenant."""

    tenant: str


class _Events(msgspec.Struct, frozen=True):
    events: list[_Timed] = []


Progress = Callable[[str, int], None]


def month(text: str) -> Period:
    """`2026-11`, in UTC. Raises: LocalError."""
    try:
        begin = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise LocalError(f"{text!r} is not a month: write 2026-11", field="--period") from error
    after = (begin + timedelta(days=31)).replace(day=1)
    return Period(since_s=int(begin.timestamp()), until_s=int(after.timestamp()))


def script() -> str:
    """The stand-alone verifier."""
    return Path(verify_bundle.__file__).read_text()


def export(places: DataDir, tenant: str, period: Period, output: Path, progress: Progress | None = None) -> Exported:
    """Write a bundle to `output`: a directory, or a tar if its name ends in `.tar`; whole or not at all. Blocking.

    Raises: LocalError: `not_found`: no checkpoint attests events, or none of the tenant's is of the period; `conflict`:
    something is there. LogCorrupt. OSError.
    """
    if output.exists():
        raise LocalError(f"{output} is there already", code="conflict", field="--output")
    checkpoints = last_ones(places, CHECKPOINTS_MAX)
    if not checkpoints or STREAM not in checkpoints[-1].streams:
        raise LocalError("no checkpoint attests any events yet: a server writes them", code="not_found", field="data")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as scratch:
        bundle = Path(scratch) / "bundle"
        bundle.mkdir(mode=0o755)
        manifest = _write(bundle, places, tenant, period, checkpoints, progress)
        if output.suffix == ".tar":
            path = Path(scratch) / "bundle.tar"
            with tarfile.open(path, "w") as tar:
                tar.add(bundle, output.stem)
            path.rename(output)
        else:
            bundle.rename(output)
    newer = last_seq(places.journal / STREAM, STREAM) - manifest.last
    return Exported(manifest=manifest, checkpoint=checkpoints[-1].number, newer=newer)


def _write(
    bundle: Path,
    places: DataDir,
    tenant: str,
    period: Period,
    checkpoints: list[Checkpoint],
    progress: Progress | None,
) -> Manifest:
    end = checkpoints[-1].streams[STREAM]
    first, before, last, counts = 0, b"", _chain_before(places), dict[str, Count]()
    with ExitStack() as stack:
        heads, payloads = (stack.enter_context((bundle / name).open("wb")) for name in ("heads", "payloads"))
        for stored in _attested(places, end.seq):
            record = stored.record
            if not first and record.at_ns // _NS < period.since_s - AHEAD_S_MAX:
                last = stored.chain
                continue
            if not first:
                first, before = stored.seq, last
            head = head_json(stored.seq, record, stored.payload_sha256)
            heads.write(head + b"\n")
            if chain_next(last, head) != stored.chain:
                raise LogCorrupt(STREAM, stored.seq, "the record's head is of a version that this one cannot write")
            last = stored.chain
            count = _events_of(stored, tenant, period)
            if count or _tells_of(stored, tenant):
                payloads.write(b"%d\t%b\n" % (stored.seq, record.payload))
            if count:
                of_type = counts.setdefault(record.type, Count())
                of_type.records += 1
                of_type.events += count
            if progress and stored.seq % _PROGRESS_EVERY == 0:
                progress(STREAM, stored.seq)
    if last.hex() != end.chain:
        what = f"checkpoint {checkpoints[-1].number} attests another record here, or it is missing"
        raise LogCorrupt(STREAM, end.seq, what)
    if not counts:
        raise LocalError(f"no event of tenant {tenant!r} is of that period", code="not_found", field="--tenant")
    linked = [one.document for one in checkpoints if STREAM in one.streams and one.streams[STREAM].seq >= first]
    (bundle / "checkpoints").write_bytes(b"\n".join(linked) + b"\n")
    manifest = Manifest(
        tenant=tenant,
        since=_moment(period.since_s),
        until=_moment(period.until_s),
        first=first,
        last=end.seq,
        chain_before=before.hex(),
        public_key=checkpoints[-1].statement.public_key,
        counts=counts,
    )
    (bundle / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    shutil.copyfile(verify_bundle.__file__, bundle / "verify.py")
    return manifest


def _chain_before(places: DataDir) -> bytes:
    """Of the first record that is still there."""
    directory = places.journal / STREAM
    return position_before(directory, segment_numbers(directory)[0], STREAM).chain


def _attested(places: DataDir, end: int) -> Iterator[Stored]:
    reader = JournalReader(places.journal)
    for stored in reader.scan(STREAM, after=reader.first(STREAM) - 1):
        yield stored
        if stored.seq == end:
            return


def _events_of(stored: Stored, tenant: str, period: Period) -> int:
    """How many events of the tenant and the period are in a record."""
    record = stored.record
    if not record.type.startswith("events.") or not record.payload:
        return 0
    if msgspec.json.decode(record.payload, type=_Whose).tenant != tenant:
        return 0
    events = msgspec.json.decode(record.payload, type=_Events).events
    since, until, written = _moment(period.since_s), _moment(period.until_s), _moment(record.at_ns // _NS)
    # To the second, as texts in one spelling: see `cloudevent`.
    return sum(since[:19] <= (event.time or written)[:19] < until[:19] for event in events)


def _tells_of(stored: Stored, tenant: str) -> bool:
    """Whether a record says what an erasure put in the place of the tenant's payloads."""
    record = stored.record
    if record.type != REDACTED or not record.payload:
        return False
    return msgspec.json.decode(record.payload, type=_Whose).tenant == tenant


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
