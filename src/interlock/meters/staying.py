"""What has to stay of an erased event, for a tenant's meters to count it as they did. Pure."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from interlock.errors import LocalError
from interlock.intake.residue import Keep, Node
from interlock.meters.definition import Version, parse_path
from interlock.meters.measure import GROUP_CHARS_MAX, ITEM_CHARS_MAX


class Staying(NamedTuple):
    """What stays."""

    keep: Keep
    groups: dict[str, list[int]]
    """By a version's key, which of its groups are forgotten, counted from 1."""


def what_stays(versions: Iterable[Version], forget: Collection[str] = ()) -> Staying:
    """Of all that these versions read.

    Args:
        forget: places that some of them group by (`$.user`), whose values go nevertheless.
    Raises: LocalError (field `forget`): no meter groups by it, or one needs it to count.
    """
    data: dict[str, Any] = {}
    source, groups, needed = False, dict[str, list[int]](), dict[str, str]()
    for version in versions:
        meter = version.meter
        for number, place in enumerate(meter.group_by.values(), 1):
            if place in forget:
                groups.setdefault(version.key, []).append(number)
                _enter(data, place, forgotten=GROUP_CHARS_MAX)
            else:
                _enter(data, place, chars=GROUP_CHARS_MAX)
                source = source or place == "source"
        for place in (*meter.where, *([meter.value] if meter.value else [])):
            needed[place] = meter.slug
            source = source or place == "source"
        for place in meter.where:
            _enter(data, place, chars=GROUP_CHARS_MAX)
        if meter.value and meter.aggregation == "unique_count":
            _enter(data, meter.value, chars=ITEM_CHARS_MAX)
        elif meter.value:
            _enter(data, meter.value, number=True)
    for place in forget:
        _check(place, needed)
        if not any(place in version.meter.group_by.values() for version in versions):
            raise LocalError(f"no meter groups by {place[:80]!r}", field="forget")
    return Staying(Keep(source=source, data=_node(data)), groups)


def _check(place: str, needed: dict[str, str]) -> None:
    if parse_path(place, "forget").attribute:
        raise LocalError(f"{place} is no place in an event's data", field="forget")
    if place in needed:
        what = f"meter {needed[place]} filters or counts by {place[:80]!r}: retire it first, or define it otherwise"
        raise LocalError(what, field="forget")


def _enter(data: dict[str, Any], place: str, **what: int) -> None:
    """Under the last key of a path: `""` to what stays there. No key of a path is empty."""
    for key in (path := parse_path(place, "value")).keys:
        data = data.setdefault(key, {})
    if path.keys:
        there = data.setdefault("", {})
        there.update({name: max(there.get(name, 0), value) for name, value in what.items()})


def _node(data: dict[str, Any]) -> Node:
    here = data.get("", {})
    return Node(
        chars=here.get("chars", 0),
        number=bool(here.get("number")),
        forgotten=here.get("forgotten", 0),
        inner={key: _node(below) for key, below in data.items() if key},
    )
