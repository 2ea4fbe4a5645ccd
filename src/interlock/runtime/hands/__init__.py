"""Hands: sandboxes in which an agent's commands run. The adapters are imported by their modules."""

from interlock.runtime.hands.ports import (
    Command,
    Delta,
    Hands,
    Output,
    Sandbox,
    Shell,
    Start,
    Stop,
    Strength,
)
from interlock.runtime.hands.resources import Resources

__all__ = ["Command", "Delta", "Hands", "Output", "Resources", "Sandbox", "Shell", "Start", "Stop", "Strength"]
