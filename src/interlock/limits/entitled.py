"""What a tenant's plan lets it use, as limits see it: its own limits, and the models that may be called. Pure."""

import msgspec

from interlock.limits.call import Denied
from interlock.limits.limit import Limit

PLAN_PREFIX = "plan/"
"""Of the names of plans' limits. Counters are kept by name, and no limit of a configuration has a `/` in its own."""
SHOWN_MAX = 10
SHOWN_CHARS_MAX = 200


class Entitled(msgspec.Struct, frozen=True, kw_only=True):
    """Of one tenant, as it stands now."""

    tenant: str
    plan: str = ""
    """As people call it: `gold version 2`."""
    models: tuple[str, ...] | None = None
    """Patterns; None: all models."""
    limits: tuple[Limit, ...] = ()
    """Each with the tenant first in `per`, so that its counters are the tenant's own."""

    @property
    def restricts(self) -> bool:
        """Whether any call of the tenant may be refused by it."""
        return self.models is not None or bool(self.limits)

    def lets(self, model: str) -> bool:
        """Whether the model may be called."""
        return self.models is None or any(matches(pattern, model) for pattern in self.models)

    def refusal(self, model: str) -> Denied | None:
        """The answer to a call of a model that is not entitled; None: it is."""
        if self.lets(model):
            return None
        models = self.models or ()
        shown = ", ".join(models[:SHOWN_MAX])[:SHOWN_CHARS_MAX] or "no model"
        shown += f" and {len(models) - SHOWN_MAX} more" if len(models) > SHOWN_MAX else ""
        says = f"model {model[:SHOWN_CHARS_MAX]} is not in plan {self.plan}, which entitles to {shown}"
        return Denied(reason="not_entitled", limit=f"{PLAN_PREFIX}models", says=says)


def matches(pattern: str, text: str) -> bool:
    """Whether the text is the pattern, in which `*` stands for any text, also none; nothing else is special.

    In time proportional to both, however many `*` there are.

    >>> [matches("small-*", text) for text in ("small-1", "small-", "xsmall-1")]
    [True, True, False]
    """
    first, *rest = pattern.split("*")
    if not (rest and text.startswith(first)):  # most are not: patterns are many, and each call's model is of few
        return text == pattern
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
