"""Audit: where each call's bytes went, by the log; and whether any left the boundary it was under."""

from interlock.audit.judge import Crossing, Verdict
from interlock.audit.prove import Proof, prove
from interlock.audit.trail import Trail, Window

__all__ = ["Crossing", "Proof", "Trail", "Verdict", "Window", "prove"]
