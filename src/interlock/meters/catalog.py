"""The meters of all tenants: a fold of the stream `meters`, and the one who writes it.

    meter.defined   {"tenant","version","meter":{…}}      id TENANT/SLUG/VERSION
    meter.retired   {"tenant","slug","version"}           id TENANT/SLUG/VERSION/retired

A retired meter is neither asked of new events nor answered; its records stay, and defining it again goes on counting
versions.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from interlock.clock import Clock
from interlock.errors import InterlockError, LocalError, TransientError
from interlock.log import Conflict, Log, Record, Stored
from interlock.meters.definition import Meter, Version, check, names_of

STREAM = "meters"
METERS_MAX = 200
"""Of one tenant: each event of a type is read by all meters of that type."""
VERSIONS_MAX = 20
"""Of one meter: all of them are folded until it is retired."""
NAMES_MAX = 100
"""Of the data of a tenant's events, that its meters read: each event is decoded with room for all of them."""
_TRIES = 32


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """A meter that is no longer there. `version` is its last one."""

    tenant: str
    slug: str
    version: int


class Catalog:
    """What stands after record `seq` of the stream. Changed only by `apply`."""

    def __init__(self) -> None:
        self.seq = 0
        self.tenants: dict[str, dict[str, list[Version]]] = {}
        """By tenant and slug, the versions that are not retired, oldest first."""
        self._versions: dict[tuple[str, str], int] = {}

    def apply(self, stored: Stored) -> None:
        """Fold the next record; one that was folded before is skipped. Raises: TransientError: it cannot be read."""
        if stored.seq <= self.seq:
            return
        try:
            match stored.record.type:
                case "meter.defined":
                    version = msgspec.json.decode(stored.record.payload, type=Version)
                    slug = version.meter.slug
                    self._versions[version.tenant, slug] = version.version
                    with suppress(LocalError):  # one of another time's rules: it must not stop anybody's fold
                        check(version.meter)
                        self.tenants.setdefault(version.tenant, {}).setdefault(slug, []).append(version)
                case "meter.retired":
                    retired = msgspec.json.decode(stored.record.payload, type=Retired)
                    self.tenants[retired.tenant].pop(retired.slug, None)
                case type_:
                    raise ValueError(f"type {type_!r} is not known here")
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            what = f"record {stored.seq} of {STREAM} cannot be folded: {error}"
            raise TransientError(what, code="view_unavailable") from error
        self.seq = stored.seq

    def all(self) -> list[Version]:
        """Every version that is not retired."""
        return [one for slugs in self.tenants.values() for versions in slugs.values() for one in versions]

    def newest(self, tenant: str) -> list[Version]:
        """A tenant's meters as they stand, by slug."""
        return [versions[-1] for _, versions in sorted(self.tenants.get(tenant, {}).items())]

    def find(self, tenant: str, slug: str, version: int | None = None) -> list[Version]:
        """Those that may answer, newest first: all versions, or the one. Raises: LocalError `not_found`."""
        versions = self.tenants.get(tenant, {}).get(slug, [])
        found = [one for one in reversed(versions) if version in (None, one.version)]
        if not found:
            known = ", ".join(sorted(self.tenants.get(tenant, {}))[:20]) or "none"
            what = f"there is no meter {slug[:80]!r}" + (
                f" of version {version}" if versions else f" of tenant {tenant}; there are: {known}"
            )
            raise LocalError(what, code="not_found", field="version" if versions else "meter")
        return found

    def next_version(self, tenant: str, slug: str) -> int:
        """What the next definition of that name will be called."""
        return self._versions.get((tenant, slug), 0) + 1


class Registry:
    """Changes to the stream `meters`: durable before they are answered. Other processes may write it too."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self.catalog = Catalog()
        self._log = log
        self._clock = clock

    async def refresh(self) -> Catalog:
        """Fold what has been appended since."""
        async for stored in self._log.read(STREAM, after=self.catalog.seq):
            self.catalog.apply(stored)
        return self.catalog

    async def define(self, tenant: str, meter: Meter) -> tuple[Version, bool]:
        """The version that stands now, and whether it is new: defining what stands already changes nothing.

        Raises: LocalError: the definition is wrong, or the tenant has as many meters as it may.
        """
        check(meter)

        def decide(catalog: Catalog) -> list[Record]:
            mine = catalog.tenants.get(tenant, {})
            if meter.slug in mine and mine[meter.slug][-1].meter == meter:
                return []
            self._check_room(mine, meter)
            number, now_ns = catalog.next_version(tenant, meter.slug), self._clock.now_ns()
            version = Version(tenant=tenant, version=number, meter=meter, defined_at_ns=now_ns)
            return [self._record(version.key, "meter.defined", version)]

        new = await self._change(decide)
        return self.catalog.find(tenant, meter.slug)[0], new

    async def retire(self, tenant: str, slug: str) -> None:
        """From now on it is not there. Raises: LocalError `not_found`."""

        def decide(catalog: Catalog) -> list[Record]:
            last = catalog.find(tenant, slug)[0]
            retired = Retired(tenant=tenant, slug=slug, version=last.version)
            return [self._record(f"{last.key}/retired", "meter.retired", retired)]

        await self._change(decide)

    def _check_room(self, mine: Mapping[str, Sequence[Version]], meter: Meter) -> None:
        """Raises: LocalError: the tenant has as much as it may."""
        if meter.slug not in mine and len(mine) >= METERS_MAX:
            raise LocalError(f"a tenant has at most {METERS_MAX} meters", field="slug")
        if len(mine.get(meter.slug, ())) >= VERSIONS_MAX:
            what = f"a meter has at most {VERSIONS_MAX} versions: retire it, and define it anew"
            raise LocalError(what, field="slug")
        names = set().union(*(names_of(one.meter) for versions in mine.values() for one in versions), names_of(meter))
        if len(names) > NAMES_MAX:
            what = f"a tenant's meters read at most {NAMES_MAX} different names of data: retire some that are not asked"
            raise LocalError(what, field="group_by")

    async def _change(self, decide: Callable[[Catalog], Sequence[Record]]) -> bool:
        """Decide on the newest state, append if it is still the newest, fold it; whether there was anything to do."""
        for _ in range(_TRIES):
            catalog = await self.refresh()
            records = decide(catalog)
            if not records:
                return False
            if not isinstance(await self._log.append(STREAM, records, expect=catalog.seq), Conflict):
                await self.refresh()
                return True
        raise InterlockError(f"the stream {STREAM} moved on {_TRIES} times in a row; retry", code="conflict")

    def _record(self, id: str, type_: str, value: msgspec.Struct) -> Record:
        return Record(id=id, type=type_, at_ns=self._clock.now_ns(), payload=msgspec.json.encode(value))
