"""Events from anybody, counted once: read, looked up among all that ever were, written, answered."""

from interlock.intake.cloudevent import Event, Origin, Refused, read_json
from interlock.intake.commit import STREAM, Committer, Job, Outcome
from interlock.intake.service import Intake

__all__ = ["STREAM", "Committer", "Event", "Intake", "Job", "Origin", "Outcome", "Refused", "read_json"]
