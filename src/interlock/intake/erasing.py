"""Subjects are erased: which records hold their events, and the records that say what stands in their place.

    journal.redacted    {"tenant","principal","key_id","erasure","reason","subjects":[…],"events","last","records"}

`subjects` are the names that stand for those that went. Of one erasure there may be several records; the last is
written in the same turn in which the newest records were looked through, so that every event of the subject before it
is in one of them, and every one after it is new. It holds no name that goes.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from secrets import token_hex
from typing import Literal

import msgspec

from interlock.errors import LocalError
from interlock.ids import new_id
from interlock.intake.cloudevent import SUBJECT_CHARS_MAX, Origin, is_allowed
from interlock.intake.commit import Committer
from interlock.intake.records import CONFLICT, CORRECTED, COUNTED, Draft
from interlock.intake.residue import Keep, redacted
from interlock.log import Stored
from interlock.log.redaction import REDACTED

SUBJECTS_MAX = 1000
"""Of one erasure: all of them cost one reading of the log."""
REASON_CHARS_MAX = 200
PART_MAX = 5000
"""Records that one record of an erasure names."""
_ID = re.compile(r"er_[0-9a-f]{32}")


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """One that was asked for, as it is kept beside the log until it is done; then without the names."""

    id: str
    tenant: str
    principal: str
    key_id: str
    reason: str
    subjects: dict[str, str]
    """By each that goes, the name that stands for it; empty when it is done."""
    pseudonyms: list[str]
    keep: Keep
    groups: dict[str, list[int]]
    """As `meters.staying.Staying`."""
    asked_at_ns: int
    after_seq: int
    """The last record when it was asked for."""
    state: Literal["running", "done"] = "running"
    done_at_ns: int = 0
    seq: int = 0
    """Of its last record in the stream."""
    events: int = 0
    records: int = 0
    first_seq: int = 0
    """What stood before this record was not in the log any more, and was not looked at."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a record of an erasure."""

    tenant: str
    principal: str
    key_id: str
    erasure: str
    reason: str
    subjects: list[str]
    events: int
    last: bool
    records: list[tuple[int, str]]
    """Each seq, with the hex SHA-256 of what stands there then."""


class Found(msgspec.Struct):
    """Records of the subjects', as they were found so far."""

    seq: int = 0
    """Up to this record."""
    events: int = 0
    records: list[tuple[int, str]] = []


def erasure_of(
    origin: Origin,
    subjects: Iterable[str],
    reason: str,
    keep: Keep,
    groups: dict[str, list[int]],
    now_ns: int,
    after_seq: int,
) -> Erasure:
    """Raises: LocalError: a subject is none, or not the key's; a reason is missing or too long."""
    names = list(dict.fromkeys(subjects))
    if not 0 < len(names) <= SUBJECTS_MAX:
        raise LocalError(f"1 to {SUBJECTS_MAX} subjects are erased at once", field="subjects")
    for name in names:
        if not 0 < len(name) <= SUBJECT_CHARS_MAX or not name.isprintable():
            what = f"{name[:40]!r} is no subject: 1 to {SUBJECT_CHARS_MAX} printable characters"
            raise LocalError(what, field="subjects")
        if origin.subjects and not is_allowed(name, origin.subjects):
            raise LocalError("the key may not erase this subject", code="subject_refused", field="subjects")
    if not 0 < len(reason) <= REASON_CHARS_MAX or not reason.isprintable():
        raise LocalError(f"a reason is 1 to {REASON_CHARS_MAX} printable characters", field="reason")
    if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", reason) for name in names):
        raise LocalError("the reason stays in the log: it must not name whom it is about", field="reason")
    chosen = {name: f"erased-{token_hex(10)}" for name in names}
    return Erasure(
        id=new_id("er", now_ns),
        tenant=origin.tenant,
        principal=origin.principal,
        key_id=origin.key_id,
        reason=reason,
        subjects=chosen,
        pseudonyms=sorted(chosen.values()),
        keep=keep,
        groups=groups,
        asked_at_ns=now_ns,
        after_seq=after_seq,
    )


def is_erasure_id(text: str) -> bool:
    """Whether it names a file."""
    return bool(_ID.fullmatch(text))


def change(erasure: Erasure) -> Callable[[bytes], tuple[bytes, int] | None]:
    """What a payload becomes by it, as `residue.redacted`."""
    return lambda payload: redacted(payload, erasure.tenant, erasure.id, erasure.subjects, erasure.keep)


def look(erasure: Erasure, records: Iterable[Stored], found: Found) -> bool:
    """Add to `found` which of these records are to be redacted; False: it holds as many as one record may name."""
    make = change(erasure)
    for stored in records:
        found.seq = stored.seq
        made = make(stored.record.payload) if stored.record.type in (COUNTED, CONFLICT, CORRECTED) else None
        if made:
            found.records.append((stored.seq, sha256(made[0]).hexdigest()))
            found.events += made[1]
            if len(found.records) >= PART_MAX:
                return False
    return True


def tell(committer: Committer, erasure: Erasure, found: Found, *, last: bool) -> int:
    """Write what was found into the stream; `last`: with what came since. On the committer's thread. The record's seq.

    Raises: InterlockError: the log cannot be read or written; it can be repeated.
    """
    drafts: list[_Telling] = []
    while last and not look(erasure, committer.read(found.seq), found):
        drafts.append(_Telling(_told(erasure, found, last=False)))
        found.events, found.records = 0, []
    drafts.append(_Telling(_told(erasure, found, last=last)))
    committer.write(drafts)
    for draft in drafts:
        if draft.error:
            raise draft.error
    return drafts[-1].seq


def told_since(erasure: Erasure, records: Iterable[Stored]) -> Iterator[tuple[int, Told]]:
    """What the stream says of an erasure: each record's seq, and its payload."""
    for stored in records:
        if stored.record.type == REDACTED and stored.record.payload:
            told = msgspec.json.decode(stored.record.payload, type=Told)
            if told.erasure == erasure.id:
                yield stored.seq, told


def _told(erasure: Erasure, found: Found, *, last: bool) -> Told:
    return Told(
        tenant=erasure.tenant,
        principal=erasure.principal,
        key_id=erasure.key_id,
        erasure=erasure.id,
        reason=erasure.reason,
        subjects=erasure.pseudonyms,
        events=found.events,
        last=last,
        records=found.records,
    )


class _Telling(Draft):
    """Such a record on its way."""

    __slots__ = ("told",)

    def __init__(self, told: Told) -> None:
        super().__init__(REDACTED)
        self.told = told

    def payload(self) -> bytes:
        """As `Told`."""
        return msgspec.json.encode(self.told)
