"""Sums by rule and by move, kept while rows are replayed."""

from interlock.replay.report import Move, Refusal, Report, RuleReport

MOVES_MAX = 1_000
"""Kinds of moves and refusals that are told apart; rules and deployments are few, but model names need not be."""


class Sums:
    """Of one replay."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], list[int]] = {}
        self._moves: dict[tuple[str, str, str], tuple[list[int], str]] = {}
        self._refused: dict[tuple[str, str, str], tuple[list[int], str]] = {}
        self.open = self.unpriced = self.replay_unpriced = self.given_again = self.unread = 0

    def compared(
        self, rule: str, tier: str, was: str, target: str, actual: int, replayed: int, cache: int, example: str
    ) -> None:
        """One attempt with both figures."""
        sums = self._rules.get((rule, tier))
        if sums is None:
            sums = self._rules[rule, tier] = [0, 0, 0, 0, 0]
        sums[0] += 1
        sums[2] += actual
        sums[3] += replayed
        sums[4] += cache
        if was != target:
            sums[1] += 1
            move = self._moves.get((rule, was, target))
            if move is None and len(self._moves) < MOVES_MAX:
                move = self._moves[rule, was, target] = ([0, 0], example)
            if move is not None:
                move[0][0] += 1
                move[0][1] += replayed - actual

    def refused(self, rule: str, code: str, why: str, example: str) -> None:
        """One attempt that nobody would have served."""
        found = self._refused.get((rule, code, why))
        if found is None and len(self._refused) < MOVES_MAX:
            found = self._refused[rule, code, why] = ([0], example)
        if found is not None:
            found[0][0] += 1

    def report(self, policy: str, against: str) -> Report:
        """All of it."""
        rules = [
            RuleReport(rule=rule, tier=tier, **_figures(sums)) for (rule, tier), sums in sorted(self._rules.items())
        ]
        moves = [
            Move(rule=rule, was=was, would_be=to, attempts=n, difference_nanousd=difference, example=example)
            for (rule, was, to), ((n, difference), example) in sorted(self._moves.items())
        ]
        refused = [
            Refusal(rule=rule, code=code, why=why, attempts=n, example=example)
            for (rule, code, why), ((n,), example) in sorted(self._refused.items())
        ]
        total = [sum(column) for column in zip(*self._rules.values(), strict=True)] or [0, 0, 0, 0, 0]
        return Report(
            policy=policy,
            against=against,
            rules=tuple(sorted(rules, key=lambda one: -abs(one.difference_nanousd))),
            moves=tuple(sorted(moves, key=lambda one: -abs(one.difference_nanousd))),
            refused=tuple(sorted(refused, key=lambda one: -one.attempts)),
            open=self.open,
            unpriced=self.unpriced,
            replay_unpriced=self.replay_unpriced,
            given_again=self.given_again,
            unread=self.unread,
            **_figures(total),
        )


def _figures(sums: list[int]) -> dict[str, int]:
    attempts, changed, actual, replayed, cache = sums
    return {
        "attempts": attempts,
        "changed": changed,
        "actual_nanousd": actual,
        "replayed_nanousd": replayed,
        "difference_nanousd": replayed - actual,
        "cache_nanousd": cache,
    }
