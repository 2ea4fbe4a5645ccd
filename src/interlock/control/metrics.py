"""Metrics: what there is, how the workers' numbers become one, and the text that Prometheus reads.

Each worker writes DIR/run/metrics-N once a second: a JSON object `{SERIES: number}` (`series` makes the keys), written
beside and renamed. The control process merges them when it is asked; it measures nothing itself.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

FRESH_NS = 5_000_000_000
"""A worker that wrote nothing for this long (five of its periods) is not up."""
SNAPSHOT_BYTES_MAX = 1 << 20
SERIES_MAX = 10_000
"""In one snapshot; names of deployments times outcomes stay far below."""


class Metric(NamedTuple):
    """One name. `merge` is how the workers' values become one."""

    type: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    merge: Literal["sum", "min", "max"]
    help: str


METRICS: Mapping[str, Metric] = {
    "interlock_requests_total": Metric("counter", ("format", "code"), "sum", "Requests answered, by format and code."),
    "interlock_attempts_total": Metric("counter", ("deployment", "outcome"), "sum", "Upstream attempts settled."),
    "interlock_tokens_total": Metric("counter", ("deployment", "kind"), "sum", "Tokens settled, by kind."),
    "interlock_cache_answers_total": Metric(
        "counter", ("format", "result"), "sum", "Calls that a caching rule matched: hit, shared, miss or bypass."
    ),
    "interlock_cache_bytes": Metric("gauge", (), "sum", "Bytes of answers that workers keep in memory."),
    "interlock_cache_entries": Metric("gauge", (), "sum", "Answers that workers keep in memory."),
    "interlock_cache_server_away": Metric(
        "gauge", (), "sum", "Workers that leave the cache's server alone, because it does not answer."
    ),
    "interlock_cost_nanousd_total": Metric("counter", (), "sum", "Cost of all priced usage in the ledger, nano-USD."),
    "interlock_anomalies_total": Metric(
        "counter", ("kind",), "sum", "Who was found to cost far more than their peers, by kind."
    ),
    "interlock_anomalies_unwatched_total": Metric(
        "counter", (), "sum", "Costs of sessions, tasks and principals that there was no room to watch."
    ),
    "interlock_open_attempts": Metric("gauge", (), "sum", "Attempts opened and not settled yet."),
    "interlock_connections": Metric("gauge", (), "sum", "Client connections on the data port."),
    "interlock_journal_bytes_total": Metric("counter", (), "sum", "Bytes appended to the usage journals."),
    "interlock_events_total": Metric(
        "counter", ("result",), "sum", "Events that were sent in, by what became of them."
    ),
    "interlock_corrections_total": Metric(
        "counter", ("result",), "sum", "Corrections of events that were asked for, by what became of them."
    ),
    "interlock_meters_behind_records": Metric(
        "gauge", (), "max", "Records of events that are on the disk and not in the meters yet."
    ),
    "interlock_retention_rows_total": Metric(
        "counter", ("table", "then"), "sum", "Rows that left the tables by the ledger's retention."
    ),
    "interlock_retention_look_timestamp_seconds": Metric(
        "gauge", (), "max", "Unix time of the last look for rows that are to leave that came to its end."
    ),
    "interlock_policy_info": Metric("gauge", ("version",), "max", "1 for each policy version that a process holds."),
    "interlock_deployment_ready": Metric("gauge", ("deployment",), "min", "1 if every worker may send to it."),
    "interlock_deployment_resting": Metric(
        "gauge",
        ("deployment",),
        "sum",
        "Workers for which it ranks last: its circuit is open, or it asked for a pause.",
    ),
    "interlock_worker_up": Metric("gauge", ("worker",), "max", "1 if the worker wrote its metrics lately."),
}

_SERIES = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"(?:,|(?=\})))+)\})?')
_LABEL = re.compile(r'([a-z_]+)="(?:[^"\\\n]|\\[\\"n])*"')
_MERGE: Mapping[str, Callable[[float, float], float]] = {"sum": lambda a, b: a + b, "min": min, "max": max}


def series(name: str, **labels: str) -> str:
    """The key of one series, labels in the order of `METRICS`.

    >>> series("interlock_tokens_total", kind="input", deployment='a"b')
    'interlock_tokens_total{deployment="a\\\\"b",kind="input"}'
    """
    assert set(labels) == set(METRICS[name].labels), (name, labels)
    pairs = [f'{label}="{_escaped(labels[label])}"' for label in METRICS[name].labels]
    return f"{name}{{{','.join(pairs)}}}" if pairs else name


def render(snapshots: Mapping[str, Mapping[str, float]]) -> str:
    """The text exposition (format 0.0.4) of all snapshots merged; a series of no known name and labels is left out."""
    merged: dict[str, dict[str, float]] = {name: {} for name in METRICS}
    for snapshot in snapshots.values():
        for key, value in snapshot.items():
            name = _name(key)
            if name is not None:
                values = merged[name]
                values[key] = _MERGE[METRICS[name].merge](values[key], value) if key in values else value
    lines = []
    for name, metric in METRICS.items():
        if merged[name]:
            lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.type}"]
            lines += [f"{key} {_number(value)}" for key, value in sorted(merged[name].items())]
    return "\n".join(lines) + "\n"


def read_snapshots(run_dir: Path, now_ns: int) -> dict[str, dict[str, float]]:
    """Each worker's snapshot by its slot, `interlock_worker_up` added. A stale one keeps its counters and no gauge.

    A file that is torn, too large or not ours counts as a worker that is down: metrics never fail a scrape.
    """
    snapshots = {}
    for path in sorted(run_dir.glob("metrics-*")):
        worker = path.name.removeprefix("metrics-")
        if not worker.isdigit():
            continue
        found, fresh = _read(path, now_ns)
        kept = {key: value for key, value in found.items() if fresh or _is_counter(key)}
        snapshots[worker] = {**kept, series("interlock_worker_up", worker=worker): int(fresh)}
    return snapshots


def _read(path: Path, now_ns: int) -> tuple[dict[str, float], bool]:
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(SNAPSHOT_BYTES_MAX), type=dict[str, int | float])
            age_ns = now_ns - path.stat().st_mtime_ns
    except (OSError, msgspec.DecodeError):
        return {}, False
    return (found, age_ns < FRESH_NS) if len(found) <= SERIES_MAX else ({}, False)


def _is_counter(key: str) -> bool:
    name = _name(key)
    return name is not None and METRICS[name].type == "counter"


def _name(key: str) -> str | None:
    found = _SERIES.fullmatch(key)
    if found is None or found[1] not in METRICS:
        return None
    labels = _LABEL.findall(found[2] or "")
    return found[1] if tuple(labels) == METRICS[found[1]].labels else None


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
