"""Guard: what sensitive content a text or a request holds, by kind. Deterministic, linear, and it never shows it."""

from interlock.guard.detector import KINDS, Detector
from interlock.guard.kind import COUNT_MAX
from interlock.guard.value import Detection, Pattern

__all__ = ["COUNT_MAX", "KINDS", "Detection", "Detector", "Pattern"]
