"""Replay: past calls decided again under another policy or at other prices, and what would have been different."""

from interlock.replay.engine import Replay
from interlock.replay.report import Compared, Move, Refusal, Report, RuleReport
from interlock.replay.traffic import Baseline, Traffic, baseline_of, read_traffic, replay_traffic

__all__ = [
    "Baseline",
    "Compared",
    "Move",
    "Refusal",
    "Replay",
    "Report",
    "RuleReport",
    "Traffic",
    "baseline_of",
    "read_traffic",
    "replay_traffic",
]
