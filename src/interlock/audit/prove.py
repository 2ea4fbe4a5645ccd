"""`prove`: did any byte leave the boundary? The trail summed up, and whether the log that it was read from holds."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from interlock.audit.judge import Crossing
from interlock.audit.trail import Trail, Window
from interlock.datadir import DataDir
from interlock.log.verify import Progress, StreamReport
from interlock.proof.check import verify

EXAMPLES_MAX = 100
"""Of crossings that are listed; all are counted."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The answer."""

    left: bool
    """Whether anything left its boundary, as far as declarations and what was observed say."""
    holds: bool
    """Whether the log holds: every chain, and every checkpoint against it."""
    attempts: int
    """That were under a boundary and sent; those below are of them."""
    declared_inside: int
    """By their deployment's declaration alone: nothing was observed that could speak for or against it."""
    observed_inside: int
    """By an address or a place that was seen, too."""
    outside: int
    unanswered: int
    """Of them: sent, perhaps, and nothing came back, so nothing was observed."""
    unsent: int
    """Beside them: no byte left."""
    refused: int
    """Beside them: calls that nobody within the boundary could serve."""
    unbounded: int
    """Beside them: under no boundary, so nothing can be proved of them."""
    unread: int
    """Records that this version cannot read."""
    regions: dict[str, int]
    """Attempts by the place that the answer named."""
    crossings: tuple[Crossing, ...]
    """The first of those outside."""
    problems: tuple[str, ...]
    """Why the log does not hold."""


def prove(places: DataDir, trail: Trail, window: Window, progress: Progress | None = None) -> Proof:
    """Blocking. The log is verified first: what a broken log says is no proof."""
    problems = _problems(verify(places.root, progress=progress))
    verdicts: Counter[str] = Counter()
    regions: Counter[str] = Counter()
    observed = unanswered = 0
    crossings: list[Crossing] = []
    for line in trail.lines(window):
        verdicts[line.verdict] += 1
        if line.verdict not in ("inside", "outside"):
            continue
        observed += line.verdict == "inside" and line.observed
        unanswered += not line.peer
        if line.region:
            regions[line.region] += 1
        if line.verdict == "outside" and len(crossings) < EXAMPLES_MAX:
            crossings.append(line)
    return Proof(
        left=verdicts["outside"] > 0,
        holds=not problems,
        attempts=verdicts["inside"] + verdicts["outside"],
        declared_inside=verdicts["inside"] - observed,
        observed_inside=observed,
        outside=verdicts["outside"],
        unanswered=unanswered,
        unsent=verdicts["unsent"],
        refused=verdicts["refused"],
        unbounded=verdicts["unbounded"],
        unread=trail.unread,
        regions=dict(sorted(regions.items())),
        crossings=tuple(crossings),
        problems=problems,
    )


def _problems(reports: Iterator[StreamReport]) -> tuple[str, ...]:
    return tuple(f"{one.stream} seq {one.seq}: {one.what}" for report in reports for one in report.problems)
