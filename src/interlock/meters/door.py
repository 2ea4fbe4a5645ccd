"""What meters do not let in: an event of a type that they read, but whose quantity or groups they cannot. Pure.

Better told to the sender, who can mend it, than found in the fold. An event that no meter reads is let in: its meter
may be defined later.
"""

from collections.abc import Sequence
from typing import Any

from interlock.errors import LocalError
from interlock.intake import Event, Origin, Refused
from interlock.meters.catalog import Catalog
from interlock.meters.definition import Version
from interlock.meters.measure import Lens, Reader, Who


class Door:
    """A tenant's meters as they stand. One thread at a time."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self.versions = versions
        self._reader = Reader(versions)

    def admit(self, origin: Origin, items: Sequence[Event | Refused]) -> list[Event | Refused]:
        """The same in the same order, those refused that cannot be measured."""
        events = [item for item in items if isinstance(item, Event)]
        if not events or not self._reader.lenses:
            return list(items)
        who = Who(origin.tenant, origin.principal, origin.application, origin.installation, origin.key_id)
        read = self._reader.events(b"[%b]" % b",".join([event.canonical for event in events]))
        of_type: dict[str, list[int]] = {}
        for place, event in enumerate(read):
            if event.type in self._reader.lenses:
                of_type.setdefault(event.type, []).append(place)
        refused: dict[int, Refused] = {}
        for type_, places in of_type.items():
            for lens in self._reader.lenses[type_]:
                self._check(lens, read, events, places, who, refused)
        if not refused:
            return list(items)
        each = iter(refused.get(place, event) for place, event in enumerate(events))
        return [next(each) if isinstance(item, Event) else item for item in items]

    def _check(
        self,
        lens: Lens,
        read: Sequence[Any],
        events: Sequence[Event],
        places: Sequence[int],
        who: Who,
        refused: dict[int, Refused],
    ) -> None:
        """All at once, and only if one of them is wrong each for itself. Adds to `refused`, by place."""
        try:
            lens.read([read[place] for place in places], who, self._reader.raws)
        except LocalError as error:
            if len(places) > 1:
                for place in places:
                    self._check(lens, read, events, [place], who, refused)
                return
            [place] = places
            event, slug = events[place], lens.version.meter.slug
            refused.setdefault(
                place,
                Refused(
                    code=error.code,
                    message=f"{error.message} (meter {slug})",
                    field=error.field or "data",
                    source=event.source,
                    id=event.id,
                ),
            )


class Doors:
    """Of all tenants."""

    def __init__(self) -> None:
        self._doors: dict[str, Door] = {}

    def adopt(self, catalog: Catalog) -> None:
        """Their meters as they stand."""
        self._doors = {
            tenant: held if (held := self._doors.get(tenant)) and held.versions == newest else Door(newest)
            for tenant in catalog.tenants
            if (newest := catalog.newest(tenant))
        }

    def admit(self, origin: Origin, items: Sequence[Event | Refused]) -> list[Event | Refused]:
        """As `Door.admit`; all, where a tenant has no meters."""
        door = self._doors.get(origin.tenant)
        return door.admit(origin, items) if door else list(items)
