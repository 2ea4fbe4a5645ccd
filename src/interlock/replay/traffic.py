"""Traffic from a file of token counts: what a call was, one a row, for a company that has no ledger of ours yet.

Comma-separated, with a header. Needed: how many tokens went in and came out. Optional: the agent's mode, the model that
was asked for. A row is one call of format chat. Of caches nothing is known, so none are reckoned with.
"""

import csv
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from interlock.errors import LocalError
from interlock.gateway import Policy, Signals
from interlock.gateway.router import Routed, Router
from interlock.ledger import Price, amount
from interlock.replay.sums import Sums

TOKENS_MAX = 1 << 40
FIELD_CHARS_MAX = 4096
KINDS_MAX = 4096


class Traffic(NamedTuple):
    """One call."""

    row: int
    """From 1, the header not counted."""
    input: int
    output: int
    mode: str
    model: str


GUESSES = {
    "input": ("input", "input_tokens", "prompt_tokens", "ContextTokens"),
    "output": ("output", "output_tokens", "completion_tokens", "GeneratedTokens"),
    "mode": ("mode",),
    "model": ("model",),
}
"""Headers that are understood without being named."""


def read_traffic(path: Path, named: dict[str, str]) -> Iterator[Traffic]:
    """The calls of a file. `named`: columns by what they hold (keys of GUESSES).

    Raises: LocalError: a column is missing, or a row cannot be read; it names the line.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        csv.field_size_limit(FIELD_CHARS_MAX)
        rows = csv.reader(file)
        try:
            header = next(rows, [])
            places = [_place(header, what, named.get(what, "")) for what in GUESSES]
            input_, output, mode, model = places
            for number, row in enumerate(rows, 1):
                if row:
                    yield Traffic(
                        number,
                        _tokens(row, input_, number),
                        _tokens(row, output, number),
                        _text(row, mode).lower(),
                        _text(row, model) or "auto",
                    )
        except csv.Error as error:
            raise LocalError(f"{path}: line {rows.line_num}: {error}", field="--csv") from error


def _place(header: list[str], what: str, named: str) -> int:
    """Where a column stands; -1: nowhere, and it need not."""
    for name in (named,) if named else GUESSES[what]:
        if name in header:
            return header.index(name)
    if named or what in ("input", "output"):
        wanted = repr(named) if named else f"none of {', '.join(GUESSES[what])}"
        there = ", ".join(header)[:200] or "nothing"
        raise LocalError(f"no column for {what} ({wanted}); the header has {there}", field=f"--{what}")
    return -1


def _tokens(row: list[str], place: int, number: int) -> int:
    text = row[place] if place < len(row) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 13 and int(text) <= TOKENS_MAX):
        raise LocalError(f"row {number}: {text[:40]!r} is not a number of tokens", field="--csv")
    return int(text)


def _text(row: list[str], place: int) -> str:
    return row[place] if 0 <= place < len(row) else ""


class Deciding:
    """A policy that decides traffic. Calls that differ in their size alone share a route up to the policy's bounds."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._router = Router(policy, {})
        self._edges = self._router.edges
        self._known: dict[tuple[str, str, int], Routed] = {}

    def route(self, call: Traffic) -> Routed:
        """Where it goes."""
        kind = (call.mode, call.model, bisect_right(self._edges, call.input))
        routed = self._known.get(kind)
        if routed is None:
            if len(self._known) >= KINDS_MAX:
                self._known.clear()
            signals = Signals(
                format="chat", model=call.model, tenant="", principal="", mode=call.mode, input_tokens=call.input
            )
            routed = self._known[kind] = self._router.route(signals, ())
        return routed


class Baseline(NamedTuple):
    """Everything at one price."""

    name: str
    price: Price


def baseline_of(policy: Policy) -> Baseline:
    """What a policy's `savings` compares with. Raises: LocalError: it has none with a price."""
    name = policy.baseline or ""
    deployment = policy.deployments.get(name)
    price = policy.baseline_price or (deployment.price if deployment else None)
    if price is None:
        raise LocalError(
            "the policy has no priced savings.baseline to compare with: set one, or name --against FILE",
            field="--against",
        )
    return Baseline(name, price)


def replay_traffic(calls: Iterable[Traffic], policy: Policy, against: Baseline | Policy) -> Sums:
    """Decide calls by `policy`, and price them there and at `against`."""
    deciding, sums = Deciding(policy), Sums()
    other = Deciding(against) if isinstance(against, Policy) else None
    for call in calls:
        route = deciding.route(call).route
        example = f"row {call.row}"
        if not route.winner:
            why = "; ".join(f"{c.deployment}: {c.refused}" for c in route.candidates) or route.code
            sums.refused(route.rule, route.code, why, example)
            continue
        usage = {"input": call.input, "output": call.output}
        was, price = _against(call, against, other)
        actual, replayed = amount(usage, price), amount(usage, policy.deployments[route.winner].price)
        if actual is None:
            sums.unpriced += 1
        elif replayed is None:
            sums.replay_unpriced += 1
        else:
            sums.compared(route.rule, route.tier, was, route.winner, actual, replayed, 0, example)
    return sums


def _against(call: Traffic, against: Baseline | Policy, other: Deciding | None) -> tuple[str, Price | None]:
    """Where the call went, and the price there."""
    if isinstance(against, Baseline):
        return against
    assert other is not None
    winner = other.route(call).route.winner
    return winner, against.deployments[winner].price if winner else None
