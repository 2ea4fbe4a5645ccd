"""Weighted spread by rendezvous hashing: which of several equals serves a conversation. Pure, and nothing is stored.

Every worker, and a replay a year later, finds the same order for the same conversation. Each deployment draws a number
from the conversation and its own name; the largest goes first. So one that is added or taken away moves only the
conversations that it wins or held, and weights share them out: w of W conversations go to weight w of a sum W.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import log


def spread(deployments: Sequence[str], groups: Sequence[Mapping[str, int]], conversation: str) -> tuple[str, ...]:
    """A tier's deployments in this conversation's order: those of a group change places among themselves.

    Args:
        groups: weights, from 1 on, of deployments that follow one another.
    """
    order: list[str] = []
    for group in groups:
        while deployments[len(order)] not in group:
            order.append(deployments[len(order)])
        order.extend(sorted(group, key=lambda name: (_score(conversation, name, group[name]), name)))
    order.extend(deployments[len(order) :])
    return tuple(order)


def _score(conversation: str, name: str, weight: int) -> float:
    """Exponentially distributed with rate `weight`, so that the smallest of all is its own with weight's share."""
    drawn = int.from_bytes(blake2b(f"{conversation}\0{name}".encode(), digest_size=8).digest(), "big")
    return -log((drawn + 1) / ((1 << 64) + 1)) / weight
