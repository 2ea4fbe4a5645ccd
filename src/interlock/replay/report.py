"""What a replay found. Plain values; amounts are integers of nano-USD."""

import msgspec


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Both figures of the attempts that have both, and how many have not."""

    attempts: int
    """Compared. One without usage compares as 0 with 0."""
    changed: int
    """Of them: those that would have gone to another deployment."""
    actual_nanousd: int
    """As it was, or under the policy compared against."""
    replayed_nanousd: int
    """The same tokens where they would have gone, at its prices."""
    difference_nanousd: int
    """replayed - actual: negative if the replayed policy is cheaper."""
    cache_nanousd: int
    """What prompt caches change of `replayed_nanousd`, reckoned conversation by conversation: positive where they
    would have been lost, negative where they would have been kept."""


class RuleReport(Compared, frozen=True, kw_only=True):
    """Of the attempts that one rule of the replayed policy would have routed."""

    rule: str
    tier: str


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts that went to one deployment and would go to another."""

    rule: str
    was: str
    would_be: str
    attempts: int
    difference_nanousd: int
    example: str
    """A request id; of traffic from a file its row."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts that nobody would have served."""

    rule: str
    code: str
    why: str
    attempts: int
    example: str


class Report(Compared, frozen=True, kw_only=True):
    """Of everything replayed."""

    policy: str
    against: str
    """What `actual` is: `as it was`, a policy's version, or a baseline's name."""
    rules: tuple[RuleReport, ...]
    """The largest difference first."""
    moves: tuple[Move, ...]
    """The same."""
    refused: tuple[Refusal, ...]
    """The most first. They are left out of the comparison."""
    open: int
    """Left out: nothing is known yet."""
    unpriced: int
    """Left out: no actual amount."""
    replay_unpriced: int
    """Left out: the deployment it would have gone to has no price, or none for a kind that was used."""
    given_again: int
    """Left out: answers from the cache, for which no deployment was asked."""
    unread: int
    """Left out: recorded by a version that said less of its decisions."""
