"""A budget of reasoning tokens as the effort that OpenAI's formats know in its place."""

from interlock.gateway.translate.neutral import Effort, Thinks

_BUDGETS: tuple[tuple[int, Effort], ...] = ((4_096, "low"), (16_384, "medium"))
"""The most tokens of a budget for an effort; `high` beyond. Approximate: OpenAI publishes no figures."""


def effort_of(thinks: Thinks) -> Effort | None:
    """The effort that was asked for, or the nearest to the budget; None: neither was said."""
    if thinks.off:
        return "none"
    budget = thinks.budget_tokens
    if thinks.effort is not None or budget is None:
        return thinks.effort
    return next((effort for most, effort in _BUDGETS if budget <= most), "high")
