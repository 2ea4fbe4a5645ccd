"""Windows of time with a commitment each: what is above costs more, what is below is topped up. Pure."""

from collections.abc import Sequence
from fractions import Fraction

from interlock.errors import LocalError
from interlock.rating.plan import ZERO, Window, Windowed
from interlock.rating.quantities import price_quantity
from interlock.rating.steps import Work
from interlock.rating.usage import Bucket


def windowed(price: Windowed, buckets: Sequence[Bucket], work: Work) -> Fraction:
    """Every window alone, by its class, then summed; those that are alike are priced once, since most windows of a
    month may hold nothing.

    Raises: LocalError: a window of a class that the price lacks.
    """
    alike: dict[tuple[str, Fraction, bool], list[str]] = {}
    for index, bucket in enumerate(buckets, 1):
        if bucket.in_class not in price.classes:
            known = ", ".join(sorted(price.classes))
            raise LocalError(f"no class {bucket.in_class!r} of windows; there are {known}", field="buckets")
        alike.setdefault((bucket.in_class, bucket.quantity, bucket.ended), []).append(bucket.name or str(index))
    parts = []
    for (in_class, quantity, ended), names in alike.items():
        name = f"window {names[0]} ({in_class})"
        part = _one(name, price.classes[in_class], quantity, ended, work)
        if len(names) > 1:
            part = work.do(f"{name} and those like it", "windows * each", windows=Fraction(len(names)), each=part)
        parts.append(part)
    return work.sum("all windows", parts)


def _one(name: str, window: Window, quantity: Fraction, ended: bool, work: Work) -> Fraction:
    cost = price_quantity(window.price, quantity, work)
    if window.commitment_units is not None:
        commitment = price_quantity(window.price, window.commitment_units, work)
    elif window.commitment is not None:
        commitment = window.commitment
    else:
        return work.do(name, "cost", cost=cost)
    used = work.do(f"{name}: within the commitment", "min(cost, commitment)", cost=cost, commitment=commitment)
    over = work.do(
        f"{name}: above it",
        "max(cost - commitment, 0) * overage_factor",
        cost=cost,
        commitment=commitment,
        overage_factor=window.overage_factor,
    )
    true_up = ZERO
    if window.true_up and ended:
        true_up = work.do(f"{name}: true-up", "max(commitment - cost, 0)", cost=cost, commitment=commitment)
    return work.do(name, "used + overage + true_up", used=used, overage=over, true_up=true_up)
