"""Reasoning between formats: what a client is shown of another family's, and what it hands back a turn later.

carrier.py says what a carrier is; each format decides where in a message it stands.
"""

from typing import Literal

from interlock.gateway.translate.carrier import Carried, carried, carry
from interlock.gateway.translate.neutral import Reasoning, Target

Kind = Literal["thinking", "redacted", "item", "plain"]
"""As in `neutral.Reasoning`."""
BREAK = "\n\n"
"""Between two blocks, or two parts of a summary, where they are one text."""


def sealed(kind: Kind, seal: str, id: str, family: str) -> str:
    """The carrier of a block: also where there is nothing to carry, so that the next turn knows whose the text is."""
    return carry(Carried(family=family, kind=kind, seal=seal, id=id))


def opened(seal: str, text: str, path: str) -> Reasoning | None:
    """The reasoning whose seal a client gave back in a carrier; None: it is a seal of the client's own format."""
    inner = carried(seal)
    if inner is None:
        return None
    return Reasoning(kind=inner.kind, text=text, seal=inner.seal, id=inner.id, family=inner.family, path=path)


def is_readable(part: Reasoning, target: Target, *kinds: Kind) -> bool:
    """Whether the target can read it: it is of these kinds, and its own family's or no carrier's."""
    return part.kind in kinds and part.family in ("", target.family)
