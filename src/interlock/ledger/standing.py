"""Which of an attempt's records stand, and which prices apply to it: what the fold and `explain` must agree on.

It reads rows of the view; it writes none.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

from interlock.ledger import book
from interlock.ledger.event import Adjusted, Opened, Refused, Settled
from interlock.ledger.pricing import Price
from interlock.ledger.reading import ADJUSTED, Event, PriceBook

Standing = Literal["stands", "duplicate", "conflict", "superseded"]

E = TypeVar("E", Opened, Settled, Refused)


class Row(NamedTuple):
    """A row of `records`."""

    stream: str
    seq: int
    id: str
    type: str
    at_ns: int
    schema: int
    payload: bytes


class Found(NamedTuple, Generic[E]):
    """The record of one type that stands, if any does, and how many others there are."""

    row: Row | None
    event: E | None
    duplicates: int
    conflicts: int


Seen = Mapping[tuple[str, int], Event]
"""Events decoded already, by (stream, seq): the rest are decoded from their rows."""

_TYPES: dict[type[Opened] | type[Settled] | type[Refused], str] = {
    Opened: "usage.opened",
    Settled: "usage.settled",
    Refused: "usage.refused",
}


def judge(rows: Sequence[Row]) -> Iterator[tuple[Row, Standing]]:
    """Say of each record, in order of (stream, seq), whether it stands: the first of its type does.

    A later one with the same content is a duplicate, with other content a conflict. Neither is counted. Of adjustments,
    which have one stream and one writer, the last stands: a bill may be restated.
    """
    first: dict[str, Row] = {}
    for row in rows:
        if row.type == ADJUSTED:
            yield row, "stands" if row is adjusting(rows) else "superseded"
            continue
        stands = first.setdefault(row.type, row)
        if stands is row:
            yield row, "stands"
        else:
            same = (row.schema, row.payload) == (stands.schema, stands.payload)
            yield row, "duplicate" if same else "conflict"


def standing(rows: Sequence[Row], kind: type[E], seen: Seen) -> Found[E]:
    """The record of type `kind` that stands among an attempt's rows, given in order of (stream, seq)."""
    of_kind = [row for row in rows if row.type == _TYPES[kind]]
    if not of_kind:
        return Found(None, None, 0, 0)
    first = of_kind[0]
    known = seen.get((first.stream, first.seq))
    event = known if isinstance(known, kind) else msgspec.json.decode(first.payload, type=kind)
    if len(of_kind) == 1:
        return Found(first, event, 0, 0)
    verdicts = [verdict for _, verdict in judge(of_kind)]
    return Found(first, event, verdicts.count("duplicate"), verdicts.count("conflict"))


def adjusting(rows: Sequence[Row]) -> Row | None:
    """The adjustment that stands among the rows of an attempt, given in order of (stream, seq)."""
    return next((row for row in reversed(rows) if row.type == ADJUSTED), None)


def adjusted(rows: Sequence[Row]) -> Adjusted | None:
    """The same, decoded."""
    row = adjusting(rows)
    return msgspec.json.decode(row.payload, type=Adjusted) if row else None


class PriceBooks:
    """The folded policies' prices, each read and decoded once. Lives as long as one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._books: dict[str, PriceBook | None] = {}

    def get(self, version: str) -> PriceBook | None:
        """The prices of a policy version; None if it has not been folded."""
        if version not in self._books:
            row = self._db.execute("SELECT body FROM policies WHERE version = ?", (version,)).fetchone()
            self._books[version] = row and msgspec.json.decode(row[0], type=PriceBook)
        return self._books[version]

    def price(self, version: str, deployment: str) -> tuple[Price | None, book.Unpriced]:
        """A deployment's price under a policy version, and the reason if there is none."""
        prices = self.get(version)
        if prices is None:
            return None, "policy_unknown"
        if deployment not in prices.deployments:
            return None, "deployment_unknown"
        return prices.deployments[deployment].price, "no_price"

    def baseline(self, version: str, asked: str | None) -> tuple[str, Price | None, book.Unpriced]:
        """What a version's attempts are compared with, `asked` or its own baseline: the name, and as `price`.

        A price that the policy gives its baseline goes before that of a deployment of the same name. The name is empty
        if there is no baseline.
        """
        prices = self.get(version)
        named = asked or (prices.baseline if prices else None) or ""
        if prices and prices.baseline_price and named == prices.baseline:
            return named, prices.baseline_price, "no_price"
        return named, *self.price(version, named)

    def entry(self, opened: Opened, settled: Settled | None, adjusted: Adjusted | None = None) -> book.Entry:
        """The attempt's entry at the price its own policy held; with `adjusted`, for what was billed."""
        if settled is not None and adjusted is not None:
            settled = msgspec.structs.replace(settled, usage=adjusted.usage, source="billed")
        price, missing = self.price(opened.policy, opened.deployment)
        if opened.answer_of and settled is not None:
            price, missing = self._hit(opened, settled, price, missing)
        return book.entry(opened, settled, price, missing=missing)

    def _hit(
        self, opened: Opened, settled: Settled, price: Price | None, missing: book.Unpriced
    ) -> tuple[Price | None, book.Unpriced]:
        """What an answer given again costs by the rule that let it be; the reason if that is not known."""
        prices = self.get(opened.policy)
        name = _cached_by(opened)
        hits = next((rule.cache for rule in prices.rules if rule.name == name), None) if prices else None
        if hits is None:
            return None, missing if prices is None else "no_price"
        return book.hit_price(hits.hit_nanousd, hits.hit_ppm, settled.avoided, price, f"rule {name}")


class _Decision(msgspec.Struct):
    cache: str = ""


def _cached_by(opened: Opened) -> str:
    """The rule whose caching applies, as the decision names it; empty: it is not readable, or names none."""
    try:
        return msgspec.json.decode(opened.decision, type=_Decision).cache
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
