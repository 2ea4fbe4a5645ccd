"""From stored records to the ledger's values. Pure.

A record that cannot be read (another version's type or schema, a payload of another shape) is a value here, None: one
of them must not stop a fold. Whoever folds counts it.
"""

import msgspec

from interlock.ledger.event import Adjusted, Opened, Refused, Settled
from interlock.ledger.pricing import Price
from interlock.log import Record
from interlock.log.record import SCHEMA
from interlock.units import INT64_MAX

CONFIG_STREAM = "config"
ADJUSTMENTS = "adjustments"
USAGE_STREAMS = "usage/"
USAGE_TYPES = "usage."
"""Other types in a usage stream (`journal.opened`) are the journal's own."""
POLICY_ADOPTED = "policy.adopted"
ADJUSTED = "usage.adjusted"

Event = Opened | Settled | Refused

_DECODERS: dict[str, msgspec.json.Decoder[Opened] | msgspec.json.Decoder[Settled] | msgspec.json.Decoder[Refused]] = {
    "usage.opened": msgspec.json.Decoder(Opened),
    "usage.settled": msgspec.json.Decoder(Settled),
    "usage.refused": msgspec.json.Decoder(Refused),
}


class PricedDeployment(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ledger reads of a policy's deployment."""

    price: Price | None = None


class PricedHits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ledger reads of a rule's caching: what an answer given again costs, or its share of the first one's
    cost, in millionths."""

    hit_nanousd: int = 0
    hit_ppm: int = 0


class PricedRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ledger reads of a policy's rule."""

    name: str
    cache: PricedHits | None = None


class PriceBook(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ledger reads of a policy (`gateway.policy.Policy`): the gateway is above us, so not its type."""

    version: str
    deployments: dict[str, PricedDeployment]
    baseline: str | None = None
    baseline_price: Price | None = None
    rules: tuple[PricedRule, ...] = ()


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_PRICE_BOOK = msgspec.json.Decoder(PriceBook)
_ADJUSTED = msgspec.json.Decoder(Adjusted)


def decode(record: Record) -> Event | None:
    """The usage event in a record; None if this version cannot read it, or its numbers do not fit int64."""
    decoder = _DECODERS.get(record.type)
    if decoder is None or not _readable(record):
        return None
    try:
        event: Event = decoder.decode(record.payload)
    except _UNREADABLE:
        return None
    return event if isinstance(event, Refused) or 1 <= event.attempt <= INT64_MAX else None


def decode_adjusted(record: Record) -> Adjusted | None:
    """The adjustment in a record; None if this version cannot read it, or its numbers do not fit int64."""
    if not _readable(record):
        return None
    try:
        event = _ADJUSTED.decode(record.payload)
    except _UNREADABLE:
        return None
    numbers = (event.attempt, event.period_start_ns, event.amount_nanousd or 0, *event.usage.values())
    good = event.attempt >= 1 and event.period_start_ns >= 0 and max(map(abs, numbers)) <= INT64_MAX
    return event if good else None


def decode_policy(record: Record) -> PriceBook | None:
    """The prices in a `policy.adopted` record; None if this version cannot read it."""
    if not _readable(record):
        return None
    try:
        return _PRICE_BOOK.decode(record.payload)
    except _UNREADABLE:
        return None


def _readable(record: Record) -> bool:
    return record.schema <= SCHEMA and 0 <= record.at_ns <= INT64_MAX
