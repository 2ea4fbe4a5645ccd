"""Calls that one side counts in a bucket and the other in the next: they ran over its end. Pure.

We count a call when it is opened, a provider may when it ends. No sum shows that, but what moved takes all of its kinds
along: the differences of two neighbouring buckets of a model cancel, every kind of them, and a call of ours ran over.
"""

from collections.abc import Collection, Mapping
from fractions import Fraction
from itertools import pairwise

from interlock.reconciling.books import Bucket
from interlock.reconciling.report import Class
from interlock.reconciling.sides import Key

_MAY_BE: frozenset[Class] = frozenset(("quantity", "not_billed", "not_metered"))


def shifted(
    differences: Mapping[Key, Fraction], why: Mapping[Key, Class], late: Collection[tuple[Bucket, str]]
) -> list[Key]:
    """The keys whose differences are those of calls that stand in the neighbouring bucket at the provider.

    Args:
        differences: of quantities, theirs less ours, where they differ.
        why: what else is known of them: with a better reason they are left alone.
        late: buckets and models of calls that ended after their bucket.
    """
    places: dict[tuple[str, Bucket], dict[str, Fraction]] = {}
    better: set[tuple[str, Bucket]] = set()
    for (bucket, model, kind), difference in differences.items():
        places.setdefault((model, bucket), {})[kind] = difference
        if why[bucket, model, kind] not in _MAY_BE:
            better.add((model, bucket))
    free = sorted(place for place in places if place not in better)
    found: list[Key] = []
    moved: set[tuple[str, Bucket]] = set()
    for (model, bucket), (other_model, other) in pairwise(free):
        here, there = places[model, bucket], places[other_model, other]
        if model != other_model or bucket[1] != other[0] or (model, bucket) in moved or (bucket, model) not in late:
            continue
        if here == {kind: -difference for kind, difference in there.items()}:
            moved |= {(model, bucket), (model, other)}
            found += [(place, model, kind) for place in (bucket, other) for kind in here]
    return found
