"""Events from anybody, counted once: read, looked up among all that ever were, written, answered."""

from interlock.intake.cloudevent import Event, Origin, Refused, read_json
from interlock.intake.commit import Committer, Job, Outcome
from interlock.intake.correct import Correction, read_correction
from interlock.intake.eraser import Eraser
from interlock.intake.erasing import Erasure
from interlock.intake.periods import Standing, rfc3339_us
from interlock.intake.quick import Quick
from interlock.intake.records import STREAM
from interlock.intake.service import Intake

__all__ = [
    "STREAM",
    "Committer",
    "Correction",
    "Eraser",
    "Erasure",
    "Event",
    "Intake",
    "Job",
    "Origin",
    "Outcome",
    "Quick",
    "Refused",
    "Standing",
    "read_correction",
    "read_json",
    "rfc3339_us",
]
