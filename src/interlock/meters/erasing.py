"""Names that go from the meters' tables: each row of theirs becomes a row of the name that stands for them. Pure.

A row becomes what the fold makes of the residue that stands in the log from then on, so the tables are what a rebuild
would make, and every sum stays.
"""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from interlock.intake.erasing import Erasure, Told
from interlock.intake.residue import residue
from interlock.log import Stored
from interlock.log.redaction import REDACTED
from interlock.meters.entries import EVENTS
from interlock.meters.folding import ROLLUPS
from interlock.tables import Change, literal

Names = Callable[[str], Erasure | None]
"""By id, an erasure that is not done; None: it is, or there is none."""


def ending(stored: Stored, names: Names) -> Erasure | None:
    """The erasure whose last record this is, if its names are still to go."""
    if stored.record.type != REDACTED:
        return None
    told = msgspec.json.decode(stored.record.payload, type=Told)
    return names(told.erasure) if told.last else None


def changes(erasure: Erasure) -> Mapping[str, Change]:
    """By table."""
    where = f"subject IN ({', '.join(map(literal, erasure.subjects))})"
    becomes = " ".join(f"WHEN {literal(name)} THEN {literal(to)}" for name, to in erasure.subjects.items())
    subject = f"CASE subject {becomes} END"
    return {
        ROLLUPS.name: Change(where, {"subject": subject, **_forgotten(erasure)}),
        EVENTS.name: Change(
            where,
            {
                "subject": subject,
                "id": "''",
                "source": "source" if erasure.keep.source else "''",
                "event": "residue_of(event)",
            },
            {"residue_of": partial(_residue_of, erasure)},
        ),
    }


def _forgotten(erasure: Erasure) -> Mapping[str, str]:
    """Of each column of groups, what it becomes: by the meters' versions that forget it, nothing."""
    by_column: dict[int, list[str]] = {}
    for version, numbers in erasure.groups.items():
        for number in numbers:
            by_column.setdefault(number, []).append(literal(version))
    key = "tenant || '/' || meter || '/' || version"
    return {
        f"g{number}": f"CASE WHEN {key} IN ({', '.join(versions)}) THEN NULL ELSE g{number} END"
        for number, versions in by_column.items()
    }


def _residue_of(erasure: Erasure, event: str) -> str:
    """Of an event of another subject the event itself: which rows it is asked of is the engine's choice."""
    to = erasure.subjects.get(msgspec.json.decode(event, type=_Subject).subject or "")
    return residue(event.encode(), erasure.id, to, erasure.keep).decode() if to else event


class _Subject(msgspec.Struct):
    subject: str | None = None
