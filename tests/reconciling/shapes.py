"""Each provider's export of a world, read as the product reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.reconciling import bills
from tests.reconciling.worlds import ANTHROPIC, BEDROCK, OPENAI, Model, World, world

from interlock.reconciling import Statement, read


class Shape(NamedTuple):
    """An export: whose usage it is, of which models, and how it is made and read."""

    provider: str
    models: tuple[Model, ...]
    read: Callable[[World, Path], Statement]
    places: int | None = None
    """To which the bill rounds each row; None: not at all."""

    def world(self, seed: int) -> World:
        """A random month at the provider."""
        return world(self.provider, self.models, seed, self.places)


def openai(one: World, place: Path) -> Statement:
    """Usage and costs by line item."""
    return read(
        "openai", [bills.openai_usage(one, place / "usage.json"), bills.openai_costs(one, place / "costs.json")]
    )


def openai_usage(one: World, place: Path) -> Statement:
    """Usage alone: no money."""
    return read("openai", [bills.openai_usage(one, place / "usage.json")])


def openai_costs(one: World, place: Path) -> Statement:
    """Costs by line item, with their quantities."""
    return read("openai", [bills.openai_costs(one, place / "costs.json")])


def anthropic(one: World, place: Path) -> Statement:
    """Usage and costs by description."""
    usage, costs = bills.anthropic_usage(one, place / "usage.json"), bills.anthropic_costs(one, place / "costs.json")
    return read("anthropic", [usage, costs])


def aws(one: World, place: Path) -> Statement:
    """A legacy report, compressed."""
    return read("aws", [bills.table(place / "cur.csv.gz", bills.aws_rows(one, bills.LEGACY))])


def aws_2(one: World, place: Path) -> Statement:
    """CUR 2.0."""
    return read("aws", [bills.table(place / "cur.csv", bills.aws_rows(one, bills.CUR_2))])


def focus(one: World, place: Path) -> Statement:
    """FOCUS, with AWS's usage type."""
    path = bills.table(place / "focus.csv", bills.focus_rows(one))
    return read("focus", [path], providers=["bedrock"])


def plain(one: World, place: Path) -> Statement:
    """Columns that are named by hand."""
    path = bills.table(place / "bill.csv", bills.plain_rows(one))
    return read("csv", [path], providers=["openai"], named=bills.COLUMNS)


SHAPES = {
    "openai": Shape("openai", OPENAI, openai),
    "openai costs": Shape("openai", OPENAI, openai_costs),
    "anthropic": Shape("anthropic", ANTHROPIC, anthropic, 7),
    "aws": Shape("bedrock", BEDROCK, aws, 10),
    "aws 2": Shape("bedrock", BEDROCK, aws_2, 10),
    "focus": Shape("bedrock", BEDROCK, focus),
    "plain": Shape("openai", OPENAI, plain, 6),
}
