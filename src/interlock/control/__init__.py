"""The control side: keys, configuration, the ledger's answers, metrics. One process, which no call waits for."""

from interlock.control.metrics import METRICS, render, series

__all__ = ["METRICS", "render", "series"]
