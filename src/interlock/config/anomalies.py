"""[anomalies]: what counts as costing too much."""

from interlock.config.prices import nanousd
from interlock.config.reading import Table
from interlock.ledger import Watching

FACTOR_MAX, PEERS_MIN, PEERS_MAX, HOURS_MAX = 1_000, 3, 10_000, 168
"""The median of two is no one's; a week is kept in memory."""


def read_anomalies(table: Table) -> Watching:
    """[anomalies]"""
    default = Watching()
    value = Watching(
        enabled=table.flag("enabled", default.enabled) is not False,
        factor=table.integer("factor", default.factor, 2, FACTOR_MAX, "times the median") or default.factor,
        peers=table.integer("peers", default.peers, PEERS_MIN, PEERS_MAX, "others") or default.peers,
        floor_nanousd=_floor(table, default.floor_nanousd),
        window_hours=table.integer("window_hours", default.window_hours, 1, HOURS_MAX, "hours") or default.window_hours,
    )
    table.done()
    return value


def _floor(table: Table, default: int) -> int:
    value = table.take("floor_usd")
    if value is None:
        return default
    try:
        return nanousd(value)
    except ValueError:
        table.wrong("floor_usd", 'dollars, e.g. "1.00", to a billionth, below 9,000,000,000')
        return default
