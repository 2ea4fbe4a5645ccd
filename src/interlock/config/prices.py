"""Prices: the operator's own from the file, otherwise those of genai-prices' offline snapshot, once, at adoption.

The result is part of the policy, so a rebuild years later prices as we did then. A model that is found nowhere stays
unpriced, which is never 0. No network; genai-prices is imported only when a price must be looked up.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.config.reading import Table, shown
from interlock.ledger import KINDS, Price, Step
from interlock.units import price_from_usd

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

STEPS_MAX = 8
PRICE_RULE = 'dollars per million tokens, e.g. "2.50"'
FREE = Price(per_mtok={"input": 0, "output": 0, "web_search": 0}, source="override")

_LIFETIMES = ("cache_write_5m", "cache_write_1h")

_CATALOGUE = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
    "web_searches_kcount": "web_search",
}
"""genai-prices' keys and our kinds. Its keys end in their unit: a million tokens, or a thousand calls."""

_EXTRA = ("requests_kcount", "input_mchars", "input_text_messages_kcount", "audio_hours", "input_audio_hours")
"""Charges that no kind of ours can hold. A model that has one is not priced: part of a price is a wrong price."""


class Found(msgspec.Struct, frozen=True):
    """What a look-up gave: a price, or None; and a remark, or an empty string."""

    price: Price | None
    remark: str = ""


def read_price(table: Table, key: str) -> Price | None:
    """`price`: a table of dollars per million tokens by kind, or "free"; None: not there (or a problem was noted)."""
    value = table.take(key)
    if value == "free":
        return FREE
    if value is None or not isinstance(value, dict):
        if value is not None:
            table.wrong(key, f'"free", or a table with {PRICE_RULE}, by kind', ("free",))
        return None
    inner = table.table(key)
    base = _kinds(inner)
    for kind in ("input", "output"):
        inner.require(kind, PRICE_RULE)
    steps = _steps(inner, base)
    inner.done()
    return Price(per_mtok=_complete(base), above=steps, source="override")


def _kinds(table: Table) -> dict[str, int]:
    return {kind: price for kind in KINDS if (price := _amount(table, kind)) is not None}


def _amount(table: Table, kind: str) -> int | None:
    value = table.take(kind)
    if value is None:
        return None
    try:
        return nanousd(value)
    except ValueError as error:
        table.problem(kind, f"found {shown(value)}; expected {PRICE_RULE}: {error}")
        return None


def nanousd(value: object) -> int:
    """Nano-USD of a decimal as TOML has it: exact, from a string, an integer or a number.

    Raises: ValueError: it is not a price; the message never repeats it.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("it is not a number")
    try:
        exact = Decimal(value)
    except (InvalidOperation, ValueError) as error:
        raise ValueError("it is not a decimal number") from error
    # Beyond this no price can be right, and arithmetic on such numbers would overflow or round.
    if (
        not exact.is_finite()
        or exact < 0
        or (exact and not -12 <= exact.adjusted() <= 9)
        or len(exact.as_tuple().digits) > 24
    ):
        raise ValueError("it must be 0 or more, and neither huge nor finer than a billionth of a dollar")
    try:
        return price_from_usd(exact)
    except ValueError as error:
        raise ValueError("it must be below 9,000,000,000 and not finer than a billionth of a dollar") from error


def _complete(kinds: Mapping[str, int]) -> dict[str, int]:
    """A price of cache writes holds for each lifetime that has none of its own; without one they cost as input."""
    write = kinds.get("cache_write")
    return dict(kinds) if write is None else {**dict.fromkeys(_LIFETIMES, write), **kinds}


def _steps(table: Table, base: Mapping[str, int]) -> tuple[Step, ...]:
    """`above`: what a step does not name costs what it cost before it."""
    value = table.take("above")
    if value is None:
        return ()
    if (
        not isinstance(value, list)
        or not 0 < len(value) <= STEPS_MAX
        or not all(isinstance(item, dict) for item in value)
    ):
        table.wrong("above", f"an array of 1 to {STEPS_MAX} tables with `input_tokens` and prices")
        return ()
    steps: list[Step] = []
    kinds, threshold = dict(base), 0
    for index, item in enumerate(value):
        inner = Table(item, (*table.at("above"), index), table.notes)
        tokens = inner.integer("input_tokens", None, 1, 1 << 40, "tokens")
        inner.require("input_tokens", "the number of input tokens above which these prices hold")
        if tokens is not None and tokens <= threshold:
            inner.problem("input_tokens", f"found {tokens} after {threshold}; expected thresholds to ascend")
        kinds, threshold = {**kinds, **_kinds(inner)}, tokens or threshold
        inner.done()
        steps.append(Step(input_tokens=threshold, per_mtok=_complete(kinds)))
    return tuple(steps)


def look_up(provider: str, model: str, *, now_ns: int) -> Found:
    """The price of a model in genai-prices' own snapshot, as valid at `now_ns`.

    A price that depends on the time of day is taken as it is at that moment, with a remark: it then holds all day.
    """
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    try:
        owner, info = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return Found(None, "genai-prices does not know it")
    at = datetime.fromtimestamp(now_ns // 1_000_000_000, tz=UTC)
    source = f"genai-prices {genai_prices.__version__} {owner.id}/{info.id}"
    price = _from_catalogue(info.get_prices(at), source)
    if price is None:
        return Found(None, f"{source} has no price per token that can be carried over")
    return Found(price, f"{source} changes by the hour; the price of now is used all day" if _hourly(info) else "")


def _hourly(info: "ModelInfo") -> bool:
    from genai_prices.types import TimeOfDateConstraint

    return isinstance(info.prices, list) and any(isinstance(p.constraint, TimeOfDateConstraint) for p in info.prices)


def _from_catalogue(prices: "ModelPrice", source: str) -> Price | None:
    raw: dict[str, Any] = {ours: getattr(prices, theirs) for theirs, ours in _CATALOGUE.items()}
    raw = {kind: value for kind, value in raw.items() if value is not None}
    if "input" not in raw or "output" not in raw or any(getattr(prices, key) is not None for key in _EXTRA):
        return None
    starts = sorted({tier.start for value in raw.values() for tier in getattr(value, "tiers", ())})
    per_mtok = {start: {kind: _usd(kind, _at(value, start)) for kind, value in raw.items()} for start in (-1, *starts)}
    return Price(
        per_mtok=_complete(per_mtok.pop(-1)),
        above=tuple(Step(input_tokens=start, per_mtok=_complete(kinds)) for start, kinds in per_mtok.items()),
        source=source,
    )


def _at(value: Any, start: int) -> Decimal:
    """The price for calls with just more input than `start` (-1: the least)."""
    reached = [tier.price for tier in getattr(value, "tiers", ()) if tier.start <= start]
    base: Decimal = value if isinstance(value, Decimal) else value.base
    return reached[-1] if reached else base


def _usd(kind: str, price: Decimal) -> int:
    exact = price * 1000 if kind == "web_search" else price
    return price_from_usd(exact.quantize(Decimal("1e-9")))
