"""Prices from genai-prices: its own arithmetic is the oracle, on its real snapshot."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import genai_prices
import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TimeOfDateConstraint

from interlock.config import parse, resolve_prices
from interlock.config.prices import look_up, nanousd
from interlock.ledger import PARENTS, Price
from interlock.units import NANO, amount_nanousd

NOW = datetime(2026, 9, 21, 12, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000


def ours(price: Price, usage: dict[str, int]) -> Decimal:
    """The dollars of exclusive quantities by kind."""
    per_mtok = price.per_mtok
    total = sum(usage.get(kind, 0) for kind in usage if kind == "input" or PARENTS.get(kind) == "input")
    for step in price.above:
        if total > step.input_tokens:
            per_mtok = step.per_mtok
    priced = [(count, per_mtok.get(kind, per_mtok.get(PARENTS.get(kind, ""), 0))) for kind, count in usage.items()]
    return Decimal(amount_nanousd(priced)) / NANO


MODELS = [
    ("anthropic", "claude-opus-4-5"),
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-5"),
    ("openai", "gpt-4o-mini"),
    ("google", "gemini-2.5-pro"),
    ("deepseek", "deepseek-chat"),
    ("azure", "gpt-4o"),
]


@pytest.mark.parametrize(("provider", "model"), MODELS)
@pytest.mark.parametrize("scale", [1, 1000, 100_000])
def test_the_same_dollars_as_genai_prices(provider: str, model: str, scale: int) -> None:
    found = look_up(provider, model, now_ns=NOW_NS)
    assert found.price is not None
    usage = {
        "input": scale,
        "cache_read": 2 * scale,
        "cache_write_5m": scale,
        "cache_write_1h": scale,
        "output": 3 * scale,
    }
    theirs = calc_price(
        Usage(
            input_tokens=5 * scale,
            cache_read_tokens=2 * scale,
            cache_write_tokens=2 * scale,
            cache_write_5m_tokens=scale,
            cache_write_1h_tokens=scale,
            output_tokens=3 * scale,
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=NOW,
    )
    assert abs(ours(found.price, usage) - theirs.total_price) <= Decimal("1e-9")


def test_every_price_of_the_snapshot_is_carried_or_refused() -> None:
    carried = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            price = look_up(provider.id, model.id, now_ns=NOW_NS).price
            if price is not None:
                assert {"input", "output"} <= set(price.per_mtok)
                starts = [step.input_tokens for step in price.above]
                assert starts == sorted(set(starts))
                carried += 1
    assert carried > 500


def test_the_source_names_version_provider_and_model() -> None:
    found = look_up("anthropic", "claude-opus-4-5-20251101", now_ns=NOW_NS)
    assert found.price is not None
    assert found.price.source == f"genai-prices {genai_prices.__version__} anthropic/claude-opus-4-5"
    assert found.price.per_mtok["web_search"] == 10_000 * NANO


def test_a_price_by_the_hour_is_that_of_the_moment_and_says_so() -> None:
    provider, model = next(
        (provider.id, model)
        for provider in get_snapshot().providers
        for model in provider.models
        if isinstance(model.prices, list) and any(isinstance(p.constraint, TimeOfDateConstraint) for p in model.prices)
    )
    day = int(datetime(2025, 6, 1, tzinfo=UTC).timestamp())
    found = [look_up(provider, model.id, now_ns=(day + hour * 3600) * 1_000_000_000) for hour in range(24)]
    assert len({tuple((f.price or Price(per_mtok={})).per_mtok.items()) for f in found}) > 1
    assert all("by the hour" in f.remark for f in found)


def test_unknown_is_unpriced_and_warned_about_never_free() -> None:
    text = """\
default_tier = "t"
tiers.t = ["mine", "openai"]
[deployments.mine]
provider = "vllm"
base_url = "http://10.0.0.1:8000/v1"
[deployments.openai]
provider = "openai"
model = "gpt-4o"
credential = { env = "K" }
"""
    loaded = resolve_prices(parse(text, file="f", folder=Path("/"), env={"K": "x"}), now_ns=NOW_NS)
    assert loaded.policy.deployments["mine"].price is None
    assert loaded.policy.deployments["openai"].price is not None
    assert len(loaded.warnings) == 1
    assert (
        'f: deployments.mine: unpriced: genai-prices does not know it; set `price` (or price = "free")'
        in loaded.warnings[0]
    )


def test_the_version_covers_the_prices() -> None:
    text = 'default_tier = "t"\ntiers.t = ["gpt-4o"]\n[deployments.gpt-4o]\nprovider = "openai"\n'
    loaded = parse(text, file="f", folder=Path("/"), env={})
    assert resolve_prices(loaded, now_ns=NOW_NS).policy.version != loaded.policy.version


@pytest.mark.parametrize(
    "bad", [True, None, "", "x", "NaN", "inf", "-1", -1, "1e30", 10**40, "9300000000", "1e-10", "0.12345678901"]
)
def test_what_is_not_a_price(bad: object) -> None:
    with pytest.raises(ValueError, match="it "):
        nanousd(bad)


@pytest.mark.parametrize(
    ("good", "nano"), [("0", 0), ("0.0", 0), (Decimal("2.50"), 2_500_000_000), ("1e-9", 1), (3, 3 * NANO)]
)
def test_what_is(good: object, nano: int) -> None:
    assert nanousd(good) == nano
