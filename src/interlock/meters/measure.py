"""What a meter makes of an event: a quantity, or a thing to tell apart, and the groups it belongs to. Pure.

Quantities are integers of PICO, exact: an event's number is taken as it is written or not at all. Events are read from
the JSON that the log holds, and of it only what the tenant's meters ask for. The same code says at the door that an
event cannot be metered and, in the fold, counts one that came before its meter did.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal, InvalidOperation
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from interlock.errors import LocalError
from interlock.meters.definition import Path, Version, parse_path

PLACES = 12
PICO: int = 10**PLACES
"""Units of a quantity in one: twelve decimal places."""
DIGITS = 15
"""Before the point. A sum of 10^11 such quantities still fits DECIMAL(38, 12)."""
ITEM_CHARS_MAX = 1024
"""Of a thing that unique_count tells apart."""
GROUP_CHARS_MAX = 256
_CACHED_MAX = 10_000
"""Of one place."""
_NUMBER = re.compile(r"[0-9eE.+-]{1,64}")

_exact = Context(prec=80)


class Event(msgspec.Struct, gc=False):
    """What every meter reads of an event. Those of `Reader.events` have `data` too."""

    type: str
    source: str
    subject: str | None = None
    time: str = ""
    _minute: str = ""
    """`YYYY-MM-DDTHH:MM`, where it counts, if not at its own time. No event has an attribute of that name, nor of the
    next."""
    _ordinal: int = 0
    """In the order of counting; set where a reader is `ordered`."""


class Who(NamedTuple):
    """What the credential told of a record's events."""

    tenant: str
    principal: str
    application: str
    installation: str
    key_id: str


class Measured(NamedTuple):
    """Some events by one meter: in each list, one place an event."""

    events: Sequence[Any]
    """Those that the filters leave."""
    groups: Sequence[Sequence[str | None]]
    """A list for each of `Meter.group_by`, in its order; None: the event does not say."""
    quantities: Sequence[int]
    """In PICO; of count and unique_count 0."""
    items: Sequence[str | None]
    """What unique_count tells apart."""


class _Texts(dict[bytes, str | None]):
    """The JSON of a scalar to its text, None for none. A dict that fills itself is read from C."""

    def __init__(self, field: str, chars_max: int, *, required: bool) -> None:
        self._field, self._chars_max, self._required = field, chars_max, required

    def __missing__(self, raw: bytes) -> str | None:
        text = _scalar(raw)
        absent = text is None and raw in (b"", b"null") and not self._required
        if not absent and (text is None or len(text) > self._chars_max):
            what = f"{self._field} has to be a string, number or boolean of at most {self._chars_max} characters"
            raise LocalError(what, field=self._field)
        if len(self) >= _CACHED_MAX:
            self.clear()
        self[raw] = text
        return text


class _Quantities(dict[bytes, int]):
    """The JSON of a number to PICO."""

    def __init__(self, field: str, negative: bool) -> None:
        self._field, self._negative = field, negative

    def __missing__(self, raw: bytes) -> int:
        whole = raw.isdigit() and len(raw) <= DIGITS  # as most are
        quantity = int(raw) * PICO if whole else _quantity(raw, self._field)
        if quantity < 0 and not self._negative:
            raise LocalError(f"{self._field} is negative, which the meter does not allow", field=self._field)
        if len(self) >= _CACHED_MAX:
            self.clear()
        self[raw] = quantity
        return quantity


class _Place:
    """Where a text stands: of each event of a list, its text there."""

    def __init__(self, text: str, chars_max: int, *, required: bool = False) -> None:
        self.path = parse_path(text, "value")
        self.texts = _Texts(field_of(self.path), chars_max, required=required)

    def read(self, events: Sequence[Any], who: Who, raws: "Raws") -> list[str | None]:
        match self.path.attribute:
            case "":
                return list(map(self.texts.__getitem__, raws(events, self.path.keys)))
            case "source":
                return [event.source for event in events]
        return [getattr(who, self.path.attribute) or None] * len(events)


Raws = Callable[[Sequence[Any], Sequence[str]], list[bytes]]
"""Of each event, the JSON at the keys in its data; empty: nothing is there."""


class Lens:
    """One version, ready to read events of its type."""

    def __init__(self, version: Version) -> None:
        meter = version.meter
        self.version = version
        self._groups = [_Place(place, GROUP_CHARS_MAX) for place in meter.group_by.values()]
        self._where = [(_Place(place, GROUP_CHARS_MAX), frozenset(values)) for place, values in meter.where.items()]
        self._item = _Place(meter.value, ITEM_CHARS_MAX, required=True) if meter.aggregation == "unique_count" else None
        self._value = parse_path(meter.value, "value") if meter.value and not self._item else None
        self._quantities = _Quantities(field_of(self._value), meter.allow_negative) if self._value else None

    @property
    def paths(self) -> list[Path]:
        """Where it reads."""
        places = [*self._groups, *(place for place, _ in self._where), *([self._item] if self._item else [])]
        return [place.path for place in places] + ([self._value] if self._value else [])

    def read(self, events: Sequence[Any], who: Who, raws: Raws) -> Measured:
        """Raises: LocalError: one of them cannot be measured; the message says why."""
        for place, allowed in self._where:
            texts = place.read(events, who, raws)
            events = [event for event, text in zip(events, texts, strict=True) if text in allowed]
        count = len(events)
        groups = [place.read(events, who, raws) for place in self._groups]
        items: Sequence[str | None] = self._item.read(events, who, raws) if self._item else [None] * count
        quantities: Sequence[int] = [0] * count
        if self._value and self._quantities is not None:
            quantities = list(map(self._quantities.__getitem__, raws(events, self._value.keys)))
        return Measured(events, groups, quantities, items)


class Reader:
    """A tenant's meters, and of its events what they read."""

    def __init__(self, versions: Iterable[Version]) -> None:
        self.lenses: dict[str, list[Lens]] = {}
        """By the type of event they read."""
        for version in versions:
            self.lenses.setdefault(version.meter.event_type, []).append(Lens(version))
        lenses = [lens for of_type in self.lenses.values() for lens in of_type]
        self.ordered = any(lens.version.meter.aggregation == "latest" for lens in lenses)
        """Whether the order of events matters."""
        names = sorted({path.keys[0] for lens in lenses for path in lens.paths if path.keys})
        self._getters = {name: attrgetter(f"data.f{place}") for place, name in enumerate(names)}
        self._decode: Callable[[bytes | msgspec.Raw], list[Any]] = msgspec.json.Decoder(list[_shape(names)]).decode  # type: ignore[misc]  # made at run time

    def events(self, text: bytes | msgspec.Raw) -> list[Any]:
        """The events of a JSON list, as the ledger stores them: `Event` with `data`."""
        return self._decode(text)

    def raws(self, events: Sequence[Any], keys: Sequence[str]) -> list[bytes]:
        """As `Raws`."""
        found = list(map(bytes, map(self._getters[keys[0]], events)))
        for key in keys[1:]:
            found = [_inner(raw, key) for raw in found]
        return found


def field_of(path: Path) -> str:
    """What an error calls a place."""
    return path.attribute or "data." + ".".join(path.keys)


def _shape(names: Sequence[str]) -> type[msgspec.Struct]:
    """A struct of what is read: `data.f0` is the JSON of the first name, and so on."""
    fields = [(f"f{place}", msgspec.Raw, msgspec.Raw(b"")) for place in range(len(names))]
    renamed = {f"f{place}": name for place, name in enumerate(names)}
    data = msgspec.defstruct("Data", fields, rename=renamed, gc=False, frozen=True)
    return msgspec.defstruct("EventWithData", [("data", data, data())], bases=(Event,), gc=False)


def _inner(raw: bytes, key: str) -> bytes:
    if raw[:1] != b"{":
        return b""
    return bytes(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get(key, b""))


def _scalar(raw: bytes) -> str | None:
    """The text of a string, a number or a boolean; None: it is neither."""
    match raw[:1]:
        case b'"':
            text: str = msgspec.json.decode(raw, type=str)
            return text
        case b"{" | b"[" | b"n" | b"":
            return None
    return raw.decode()


def _quantity(raw: bytes, field: str) -> int:
    """A number, or a string that holds one, in PICO. Raises: LocalError."""
    text = _scalar(raw)
    if text is None or raw[:1] in b"tf":
        raise LocalError(f"{field} has to be a number" + ("" if raw else ", and is not there"), field=field)
    try:
        number = Decimal(text) if _NUMBER.fullmatch(text) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise LocalError(f"{field} is no number: {text[:40]!r}", field=field)
    if not number:
        return 0
    if number.adjusted() >= DIGITS:  # arithmetic with an exponent from outside may overflow
        raise LocalError(f"{field} is not below 10^{DIGITS} in size", field=field)
    scaled = _exact.scaleb(number, PLACES) if number.adjusted() >= -PLACES else number
    whole = int(scaled)
    if scaled != whole:
        raise LocalError(f"{field} has more than {PLACES} decimal places", field=field)
    return whole
