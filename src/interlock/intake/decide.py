"""Counted, duplicate or conflict: the decision on events of which some were seen before. Pure."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal

import msgspec

from interlock.intake.cloudevent import Event

Result = Literal["counted", "duplicate", "conflict"]


class Known(msgspec.Struct, frozen=True, gc=False):
    """What is known of a key: an event that was counted, or a conflict that was kept aside."""

    content: bytes
    """As `Event.content`."""
    seq: int
    """Of the record that it stands in."""


def decide(events: Sequence[Event], known: Mapping[bytes, Known]) -> list[Result]:
    """A result for each event; of two with one key in the same sequence the first is counted.

    Args:
        known: by `Event.key`; it must hold all that was counted before of these keys.
    """
    results: list[Result] = []
    new: dict[bytes, bytes] = {}
    for event in events:
        before = known.get(event.key)
        content = new.get(event.key) if before is None else before.content
        if content is None:
            new[event.key] = event.content
            results.append("counted")
        else:
            results.append("duplicate" if content == event.content else "conflict")
    return results


def conflict_key(event: Event) -> bytes:
    """16 bytes under which a conflict is known: sent again, it is the same conflict and is not kept twice."""
    return blake2b(event.key + event.content, digest_size=16, person=b"conflict").digest()


def reversal_key(key: bytes) -> bytes:
    """16 bytes under which the reversal of the event with this key is known: there is one for each at most."""
    return blake2b(key, digest_size=16, person=b"reversal").digest()
