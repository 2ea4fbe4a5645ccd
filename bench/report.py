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
    failed = [(row.name, kind, why) for row in rows for kind, why in row.failed.items() if " to " not in kind]
    lines += [""] if failed else []
    lines += [f"- {name}, {kind}: not measured: {why}" for name, kind, why in failed]
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


def beside(rows: Sequence[Row]) -> str:
    """The Markdown table of what stands beside nginx: one connection, a large prompt, conversations of one call."""
    nginx = next((row for row in rows if row.name == "nginx"), Row(name=""))
    lines = [
        "| | one connection: p50 µs | × nginx | p99 µs | × nginx | 200 KB prompt: CPU µs/call | × nginx "
        "| all conversations new: CPU µs/call | × nginx |",
        "| --- |" + " ---: |" * 8,
    ]
    for row in rows:
        if row.void:
            continue
        cells = []
        for kind, field in (
            ("single", "p50_ns"),
            ("single", "p99_ns"),
            ("large", "worker_cpu_ns"),
            ("fresh", "worker_cpu_ns"),
        ):
            value = None if (row.name, field) == ("direct", "worker_cpu_ns") else middle(row, kind, field)
            cells += [number(value, 1e3, 0), ratio(value, middle(nginx, kind, field))]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def translations(rows: Sequence[Row]) -> str:
    """The Markdown table of Interlock's translated calls beside those passed through; empty if there were none."""
    own = next((row for row in rows if row.name == "interlock"), Row(name=""))
    kinds = [kind for kind in (*own.samples, *own.failed) if " to " in kind]
    lines = ["| client to upstream | CPU µs/call or event | above passed through |", "| --- | ---: | ---: |"]
    for kind in kinds:
        passed = middle(own, "stream" if kind.endswith("streamed") else "whole", "worker_cpu_ns")
        cost = middle(own, kind, "worker_cpu_ns")
        above = cost - passed if cost and passed else None
        shown = number(cost, 1e3) if cost else own.failed.get(kind, "—").replace("|", "/")
        lines.append(f"| {kind} | {shown} | {number(above, 1e3)} |")
    return "\n".join(lines) if kinds else ""


RATIOS = (
    ("whole", None, "worker_cpu_ns", "worker CPU µs a call", 45.0),
    ("stream", "nginx", "worker_cpu_ns", "CPU a relayed event, times nginx", 1.8),
    ("single", "nginx", "p50_ns", "p50 at one connection, times nginx", 1.6),
    ("single", "nginx", "p99_ns", "p99 at one connection, times nginx", 2.0),
    ("large", "nginx", "worker_cpu_ns", "CPU of a 200 KB prompt, times nginx", 3.0),
)
"""Kind of load, what it is divided by (None: a thousand), figure, promise, limit."""
TRANSLATED_CALL_US_MAX, TRANSLATED_EVENT_ABOVE_US_MAX, POLICED_US_MAX = 90.0, 12.0, 55.0


def promises(rows: Sequence[Row]) -> list[Promise]:
    """Interlock's speed targets, as far as this run measured them."""
    by_name = {row.name: row for row in rows}
    own, nginx = by_name.get("interlock", Row(name="")), by_name.get("nginx", Row(name=""))
    found = []
    for kind, base, field, what, limit in RATIOS:
        value, by = middle(own, kind, field), middle(nginx, kind, field) if base else 1e3
        if value and by:
            found.append(Promise(what=what, value=value / by, limit=limit))
    policed = by_name.get("policed", Row(name=""))
    for kind, what in (("whole", "one conversation"), ("fresh", "each its own")):
        value = middle(policed, kind, "worker_cpu_ns")
        if value:
            what = f"worker CPU µs a call, all of the policy plane on, {what}"
            found.append(Promise(what=what, value=value / 1e3, limit=POLICED_US_MAX))
    passed = middle(own, "stream", "worker_cpu_ns")
    for kind in (kind for kind in own.samples if " to " in kind):
        cost = middle(own, kind, "worker_cpu_ns")
        if cost and passed and kind.endswith("streamed"):
            above_us = (cost - passed) / 1e3
            what = f"CPU µs an event, {kind}, above one passed through"
            found.append(Promise(what=what, value=above_us, limit=TRANSLATED_EVENT_ABOVE_US_MAX))
        elif cost:
            found.append(Promise(what=f"CPU µs a call, {kind}", value=cost / 1e3, limit=TRANSLATED_CALL_US_MAX))
    return found


def verdicts(targets: Sequence[Promise]) -> str:
    """One line a target: met, or by how much not."""
    lines = []
    for target in targets:
        verdict = "met" if target.met else f"MISSED by {100 * (target.value / target.limit - 1):.0f} %"
        lines.append(f"- {target.what}: {target.value:.2f}, at most {target.limit:g}: {verdict}")
    return "\n".join(lines)
