"""What a meter is: which events it reads, what it makes of them, what it can be asked by. Pure.

A meter is a record and never changes: defining it again makes the next version, and each version is a fold of all
events from the first one. It does not read events (measure.py) and stores nothing.
"""

import re
from typing import NamedTuple

import msgspec

from interlock.errors import LocalError

AGGREGATIONS = ("sum", "count", "unique_count", "min", "max", "avg", "latest")
ATTRIBUTES = ("source", "principal", "application", "installation", "key_id")
"""What a meter may group by besides the event's data: its source, and what the credential told."""

GROUPS_MAX = 8
VALUES_MAX = 100
"""Of one filter."""
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_STEP = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_-]{0,99})|\["([^"'\\]{1,100})"\]|\['([^"'\\]{1,100})'\]""")
_STEPS_MAX = 8
_TEXT_CHARS_MAX = 256
RESERVED = frozenset({"subject", "corrects", "window_start", "window_end", "value"})
"""Names that an answer has already."""


class Path(NamedTuple):
    """Where a meter reads: an attribute, or (it is empty) the keys that lead to a value in the event's data."""

    attribute: str
    keys: tuple[str, ...]


class Meter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A definition as it is written down; `check` says whether it holds."""

    slug: str
    event_type: str
    aggregation: str
    """One of AGGREGATIONS."""
    value: str = ""
    """What is summed, compared or told apart: `$.tokens`. Of `count`: nothing."""
    group_by: dict[str, str] = {}
    """Name in answers to place: `{"model": "$.model", "app": "application"}`."""
    where: dict[str, tuple[str, ...]] = {}
    """Place to the values that count; all of them have to hold."""
    allow_negative: bool = False
    description: str = ""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a tenant's meter, as it stands in the log."""

    tenant: str
    version: int
    """Counts from 1."""
    meter: Meter
    defined_at_ns: int = 0

    @property
    def key(self) -> str:
        """Its name among all versions of all tenants; neither a tenant nor a slug holds a slash."""
        return f"{self.tenant}/{self.meter.slug}/{self.version}"


def parse_path(text: str, field: str) -> Path:
    """`$.usage.tokens`, `$["input tokens"]`, or one of ATTRIBUTES. Raises: LocalError.

    >>> parse_path('$.usage["input tokens"]', "value")
    Path(attribute='', keys=('usage', 'input tokens'))
    """
    if text in ATTRIBUTES:
        return Path(text, ())
    keys: list[str] = []
    place = 1
    while text[:1] == "$" and place < len(text) and len(keys) < _STEPS_MAX and (step := _STEP.match(text, place)):
        keys.append(step[1] or step[2] or step[3])
        place = step.end()
    if not keys or place < len(text) or not text.isprintable():
        what = f'{text[:80]!r} is no place in an event: write $.name, $.outer.inner, $["a name"]'
        raise LocalError(f"{what}, or one of {', '.join(ATTRIBUTES)}", field=field)
    return Path("", tuple(keys))


def names_of(meter: Meter) -> set[str]:
    """Of an event's data, what it reads. Raises: LocalError: a place is none."""
    texts = [*meter.group_by.values(), *meter.where, *([meter.value] if meter.value else [])]
    return {path.keys[0] for path in (parse_path(text, "value") for text in texts) if path.keys}


def check(meter: Meter) -> Meter:
    """The definition, if it is one. Raises: LocalError: the field that is wrong is named."""
    if not _SLUG.fullmatch(meter.slug):
        raise LocalError("a slug is 1 to 63 of a-z 0-9 _ -, beginning with a letter or digit", field="slug")
    if not 0 < len(meter.event_type) <= _TEXT_CHARS_MAX or not meter.event_type.isprintable():
        raise LocalError(f"event_type is 1 to {_TEXT_CHARS_MAX} printable characters", field="event_type")
    if len(meter.description) > _TEXT_CHARS_MAX or not meter.description.isprintable():
        raise LocalError(f"a description is at most {_TEXT_CHARS_MAX} printable characters", field="description")
    if meter.aggregation not in AGGREGATIONS:
        what = f"{meter.aggregation[:80]!r} is no aggregation; there are: {', '.join(AGGREGATIONS)}"
        raise LocalError(what, field="aggregation")
    if meter.aggregation == "count":
        if meter.value:
            raise LocalError("count reads no value: leave it out", field="value")
    elif not meter.value:
        raise LocalError(f"{meter.aggregation} needs the place of a value: $.tokens, say", field="value")
    elif parse_path(meter.value, "value").attribute and meter.aggregation != "unique_count":
        raise LocalError(f"{meter.value} is no number", field="value")
    if len(meter.group_by) > GROUPS_MAX:
        raise LocalError(f"a meter groups by at most {GROUPS_MAX} places", field="group_by")
    for name, place in meter.group_by.items():
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise LocalError(
                f"{name[:80]!r} cannot name a group: letters, digits and _, and none of an answer's names "
                f"({', '.join(sorted(RESERVED))})",
                field="group_by",
            )
        parse_path(place, f"group_by.{name}")
    if len(meter.where) > GROUPS_MAX:
        raise LocalError(f"a meter filters by at most {GROUPS_MAX} places", field="where")
    for place, values in meter.where.items():
        parse_path(place, "where")
        if not 0 < len(values) <= VALUES_MAX or any(len(value) > _TEXT_CHARS_MAX for value in values):
            raise LocalError(
                f"{place}: 1 to {VALUES_MAX} values of at most {_TEXT_CHARS_MAX} characters", field="where"
            )
    return meter
