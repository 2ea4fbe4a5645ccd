"""From samples to the table: the median of the rounds, ratios to nginx, latency added to the direct call. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from bench.load import Sample

Samples = Mapping[str, Sequence[Sample]]
"""By kind of load, one a round."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one peer, or why it was not."""

    name: str
    samples: Samples = {}
    void: str = ""
    """Why nothing was measured."""
    failed: Mapping[str, str] = {}
    """By kind of load: why its figures are missing though the others are there."""


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that Interlock promises."""

    what: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        """At most the limit."""
        return self.value <= self.limit


def middle(row: Row, kind: str, field: str) -> float | None:
    """The median over the rounds; None if the row has no such figure."""
    values = [getattr(sample, field) for sample in row.samples.get(kind, ())]
    return median(values) if values else None


def ratio(value: float | None, base: float | None) -> str:
    """How many times `base`."""
    return f"{value / base:.1f}×" if value and base else "—"


def number(value: float | None, scale: float = 1.0, places: int = 1) -> str:
    """A figure for a cell, or a dash."""
    return "—" if value is None else f"{value / scale:,.{places}f}"


COLUMNS = (
    "", "CPU µs/call", "× nginx", "all processes", "calls/s", "p50 ms", "p99 ms", "+p50 µs", "+p99 µs", "CPU µs/event",
    "× nginx", "reads/event",
)  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """The Markdown table. Added latency is at one connection, against the row `direct`."""
    by_name = {row.name: row for row in rows}
    none = Row(name="")
    nginx, direct = by_name.get("nginx", none), by_name.get("direct", none)
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- |" + " ---: |" * (len(COLUMNS) - 1)]
    for row in rows:
        if row.void:
            lines.append(f"| {row.name} | not measured: {row.void.replace('|', '/')} |" + " |" * (len(COLUMNS) - 2))
        else:
            lines.append("| " + " | ".join(cells(row, nginx, direct)) + " |")
    lines += [""] if any(row.failed for row in rows) else []
    lines += [f"- {row.name}, {kind}: not measured: {why}" for row in rows for kind, why in row.failed.items()]
    return "\n".join(lines)


def cells(row: Row, nginx: Row, direct: Row) -> list[str]:
    """One row's cells, in the order of COLUMNS."""
    proxied = row.name != "direct"
    call = middle(row, "whole", "worker_cpu_ns") if proxied else None
    event = middle(row, "stream", "worker_cpu_ns") if proxied else None
    added = []
    for field in ("p50_ns", "p99_ns"):
        own, base = middle(row, "single", field), middle(direct, "single", field)
        added.append(number(own - base if proxied and own and base else None, 1e3, 0))
    return [
        row.name,
        number(call, 1e3),
        ratio(call, middle(nginx, "whole", "worker_cpu_ns")),
        number(middle(row, "whole", "all_cpu_ns") if proxied else None, 1e3),
        number(middle(row, "whole", "rate_per_s"), 1, 0),
        number(middle(row, "whole", "p50_ns"), 1e6, 2),
        number(middle(row, "whole", "p99_ns"), 1e6, 2),
        *added,
        number(event, 1e3),
        ratio(event, middle(nginx, "stream", "worker_cpu_ns")),
        number(middle(row, "stream", "reads_per_unit"), 1, 2),
    ]


def promises(rows: Sequence[Row]) -> list[Promise]:
    """Interlock's speed targets, as far as this run measured them."""
    by_name = {row.name: row for row in rows}
    own, nginx = by_name.get("interlock"), by_name.get("nginx")
    found = []
    if own and (call := middle(own, "whole", "worker_cpu_ns")):
        found.append(Promise(what="worker CPU µs a call", value=call / 1e3, limit=50.0))
    if (
        own
        and nginx
        and (event := middle(own, "stream", "worker_cpu_ns"))
        and (base := middle(nginx, "stream", "worker_cpu_ns"))
    ):
        found.append(Promise(what="CPU a relayed event, times nginx", value=event / base, limit=2.5))
    return found


def verdicts(targets: Sequence[Promise]) -> str:
    """One line a target: met, or by how much not."""
    lines = []
    for target in targets:
        verdict = "met" if target.met else f"MISSED by {100 * (target.value / target.limit - 1):.0f} %"
        lines.append(f"- {target.what}: {target.value:.2f}, at most {target.limit:g}: {verdict}")
    return "\n".join(lines)
