"""Prices in blocks: packages, and tiers of blocks, in which a block that is begun counts whole. Pure."""

from collections.abc import Mapping
from fractions import Fraction

from interlock.errors import LocalError
from interlock.rating.plan import ZERO, BlockTier, GraduatedBlocks, Package, VolumeBlocks
from interlock.rating.steps import Work
from interlock.rating.tiers import refuse_past_last


def package(price: Package, quantity: Fraction, work: Work) -> Fraction:
    """Whole packages after the free units."""
    rule = f'round(max(quantity - free_units, 0) / size, 0, "{price.round}")'
    packages = work.do("packages", rule, quantity=quantity, free_units=price.free_units, size=price.size)
    return work.do("price of packages", "packages * price", packages=packages, price=price.price)


def blocks(
    price: GraduatedBlocks | VolumeBlocks, quantity: Fraction, meters: Mapping[str, Fraction], work: Work
) -> Fraction:
    """Tiers of blocks, of one quantity or of each of several meters alone.

    Raises: LocalError: a meter that the price does not have; past the last tier where that is refused.
    """
    one = _graduated if isinstance(price, GraduatedBlocks) else _volume
    if not price.meters:
        return one(price, price.tiers, quantity, "", work)
    for name in meters:
        if name not in price.meters:
            raise LocalError(
                f"the price has no meter {name!r}; it has {', '.join(sorted(price.meters))}", field="meters"
            )
    parts = [one(price, tiers, meters.get(name, ZERO), f"{name}: ", work) for name, tiers in price.meters.items()]
    return work.sum("all meters", parts)


def _bounds(tiers: tuple[BlockTier, ...]) -> list[Fraction | None]:
    """Where each tier ends, in units."""
    found: list[Fraction | None] = []
    end = ZERO
    for tier in tiers:
        if tier.max_blocks is None:
            found.append(None)
        else:
            end += tier.block_size * tier.max_blocks
            found.append(end)
    return found


def _graduated(
    price: GraduatedBlocks | VolumeBlocks, tiers: tuple[BlockTier, ...], quantity: Fraction, prefix: str, work: Work
) -> Fraction:
    bounds = _bounds(tiers)
    refuse_past_last(bounds, quantity, price.past_last)
    parts = []
    below = ZERO
    for index, (tier, bound) in enumerate(zip(tiers, bounds, strict=True)):
        if index and quantity <= below:
            break
        last = index + 1 == len(tiers)
        within = (quantity if last or bound is None else min(quantity, bound)) - below
        parts.append(_priced(f"{prefix}tier {index + 1}", tier, within, work))
        below = bound if bound is not None else below
    return work.sum(f"{prefix}all tiers", parts)


def _volume(
    price: GraduatedBlocks | VolumeBlocks, tiers: tuple[BlockTier, ...], quantity: Fraction, prefix: str, work: Work
) -> Fraction:
    bounds = _bounds(tiers)
    refuse_past_last(bounds, quantity, price.past_last)
    index = next((place for place, bound in enumerate(bounds) if bound is None or quantity <= bound), len(tiers) - 1)
    return _priced(f"{prefix}tier {index + 1}", tiers[index], quantity, work)


def _priced(name: str, tier: BlockTier, units: Fraction, work: Work) -> Fraction:
    count = work.do(
        f"{name}: blocks", 'round(units / block_size, 0, "ceiling")', units=units, block_size=tier.block_size
    )
    return work.do(name, "blocks * price_per_block", blocks=count, price_per_block=tier.price_per_block)
