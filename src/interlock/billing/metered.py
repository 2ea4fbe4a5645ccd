"""The counter over the ledger's view and the tenants' meters.

What the gateway metered is counted attempt by attempt. A meter that adds up (sum, count) is counted event by event; one
that does not says its own figure, and its events are listed with what each of them told. The figure and the list are
of the same records, or the question is refused until they are.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

from interlock.billing.counting import SUM_ALONE, Counted, Counter, Cut, Detail, Found, Item, Tally, quantity_text
from interlock.billing.value import Evidence
from interlock.billing.windowing import MINUTE_NS, WINDOWS_MAX, Grid, too_many_windows
from interlock.errors import LocalError, TransientError
from interlock.ledger import Billable, Ledger, Question
from interlock.meters import Entry, Meters, Query, Version, Wanted
from interlock.meters.measure import PICO, Lens, Reader, Who
from interlock.rating import Source, text_of
from interlock.units import NANO

GROUPS_MAX = 10_000
EVENTS_MAX = 100_000
"""That are priced one by one."""
PAGE = 20_000
EVENTS = "events/0"


class _Event(NamedTuple):
    """One time that a meter's event counts."""

    id: str
    at_ns: int
    pico: int
    group: Mapping[str, str]


class _Tallies:
    """By group; without groups there is one, whatever was counted."""

    def __init__(self, scale: int, detail: Detail, *, grouped: bool) -> None:
        self._scale, self._detail, self._events, self._windows = scale, detail, 0, 0
        self.found: dict[tuple[str, ...], Tally] = {} if grouped else {(): Tally(scale, detail)}

    def add(self, group: tuple[str, ...], id: str, at_ns: int, quantity: int) -> None:
        """Raises: LocalError: too many groups, or too many events or windows to be priced one by one."""
        self._events += 1
        if self._detail.values and self._events > EVENTS_MAX:
            raise LocalError(f"more than {EVENTS_MAX} events would be priced one by one", field="source")
        tally = self.found.get(group)
        if tally is None:
            if len(self.found) >= GROUPS_MAX:
                raise LocalError(f"more than {GROUPS_MAX} groups: group by less", field="by")
            tally = self.found[group] = Tally(self._scale, self._detail)
        self._windows += tally.add(id, at_ns, quantity)
        if self._windows > WINDOWS_MAX:
            raise too_many_windows()


class Metered(Counter):
    """Of one process."""

    def __init__(
        self,
        ledger: Ledger,
        fold: Callable[[], Awaitable[None]],
        meters: Meters,
        refresh: Callable[[], Awaitable[None]],
        events_head: Callable[[], Awaitable[int]],
        find: Callable[[str, str, int | None], Version],
    ) -> None:
        """
        Args:
            fold: brings the ledger up to date. refresh: has the meters take up definitions. find: a tenant's meter by
                slug and version (None: the newest).
            events_head: the record of events up to which everybody was answered.
        """
        self._ledger = ledger
        self._fold = fold
        self._meters = meters
        self._refresh = refresh
        self._events_head = events_head
        self._find = find

    async def cut(self, sources: Sequence[Source]) -> dict[str, int]:
        await self._fold()
        positions = await asyncio.to_thread(self._ledger.positions)
        found = {stream: seq for stream, seq in sorted(positions.items()) if _is_usage(stream)}
        if any(source.meter for source in sources):
            await self._refresh()
            found[EVENTS] = await self._events_head()
        return found

    async def count(
        self, tenant: str, source: Source, since_ns: int, until_ns: int, cut: Cut, detail: Detail = SUM_ALONE
    ) -> Found:
        if source.meter:
            return await self._metered(tenant, source, since_ns, until_ns, cut, detail)
        question = Question(
            tenant=tenant,
            since_ns=since_ns,
            until_ns=until_ns,
            measure=source.usage,
            by=source.by,
            where=dict(source.where),
            cut={stream: seq for stream, seq in cut.items() if _is_usage(stream)},
        )
        return await asyncio.to_thread(self._used, question, source, detail)

    async def changed(self, tenant: str, source: Source, since_ns: int, until_ns: int, recorded_ns: int) -> bool:
        if not source.meter:
            return await asyncio.to_thread(self._ledger.changed, tenant, since_ns, until_ns, recorded_ns)
        meter = self._find(tenant, source.meter, None)
        wanted = Wanted(
            since_us=since_ns // 1000,
            until_us=until_ns // 1000,
            type=meter.meter.event_type,
            limit=1,
            taken_since_us=recorded_ns // 1000,
        )
        return bool((await self._meters.events(tenant, wanted, await self._events_head())).found)

    async def items(self, tenant: str, evidence: Evidence) -> AsyncIterator[Item]:
        kind, _, name = evidence.source.partition("/")
        if kind == "usage":
            question = Question(
                tenant=tenant,
                since_ns=evidence.since_ns,
                until_ns=evidence.until_ns,
                measure=name,
                where=dict(evidence.where) | {key: (value,) for key, value in evidence.group.items()},
                cut=dict(evidence.cut),
            )
            for used in await asyncio.to_thread(self._attempts, question):
                if used.quantity:
                    yield Item(used.id, used.at_ns, quantity_text(used.quantity, scale_of(name)), evidence.group)
            return
        slug, _, version = name.partition("/")
        meter = self._find(tenant, slug, int(version))
        wanted = dict(evidence.where) | {key: (value,) for key, value in evidence.group.items()}
        async for event in self._events(tenant, meter, evidence.since_ns, evidence.until_ns, evidence.cut[EVENTS]):
            if _matches(event.group, wanted):
                yield Item(event.id, event.at_ns, quantity_text(event.pico, PICO), evidence.group)

    def _attempts(self, question: Question) -> list[Billable]:
        with self._ledger.billable(question) as rows:
            return list(rows)

    def _used(self, question: Question, source: Source, detail: Detail) -> Found:
        tallies = _Tallies(scale_of(source.usage), detail, grouped=bool(source.by))
        unpriced = 0
        with self._ledger.billable(question) as rows:
            for row in rows:
                unpriced += row.unpriced
                if row.quantity:
                    tallies.add(row.group, row.id, row.at_ns, row.quantity)
        evidence = Evidence(
            source=f"usage/{source.usage}",
            since_ns=question.since_ns,
            until_ns=question.until_ns,
            where=dict(source.where),
            cut=question.cut,
        )
        return Found(
            counted=tuple(
                _counted(evidence, dict(zip(source.by, group, strict=True)), tally)
                for group, tally in sorted(tallies.found.items())
            ),
            unpriced=unpriced if source.usage == "cost" else 0,
            open=self._ledger.open_attempts(question),
        )

    async def _metered(
        self, tenant: str, source: Source, since_ns: int, until_ns: int, cut: Cut, detail: Detail
    ) -> Found:
        meter = self._find(tenant, source.meter, None)
        tallies = _Tallies(PICO, detail, grouped=bool(source.by))
        async for event in self._events(tenant, meter, since_ns, until_ns, cut.get(EVENTS, 0)):
            if _matches(event.group, source.where):
                group = tuple(event.group.get(name) or "" for name in source.by)
                tallies.add(group, event.id, event.at_ns, event.pico)
        evidence = Evidence(
            source=f"meter/{source.meter}/{meter.version}",
            since_ns=since_ns,
            until_ns=until_ns,
            where=dict(source.where),
            cut={EVENTS: cut.get(EVENTS, 0)},
        )
        counted = [
            _counted(evidence, dict(zip(source.by, group, strict=True)), tally)
            for group, tally in sorted(tallies.found.items())
        ]
        if meter.meter.aggregation not in ("sum", "count"):
            counted = await self._own_figures(tenant, source, meter, cut, counted, evidence, detail.grid)
        return Found(counted=tuple(counted))

    async def _own_figures(
        self,
        tenant: str,
        source: Source,
        meter: Version,
        cut: Cut,
        counted: list[Counted],
        of: Evidence,
        grid: Grid | None,
    ) -> list[Counted]:
        """What the meter says itself of the time, or of each window of it, and then their sum.

        Raises: TransientError: it has read events that the list has not.
        """
        query = Query(
            since=of.since_ns // MINUTE_NS,
            until=-(-of.until_ns // MINUTE_NS),
            size=grid.size if grid else None,
            zone=grid.zone if grid else "UTC",
            by=source.by,
            where=dict(source.where),
        )
        answer = await self._meters.ask(tenant, source.meter, meter.version, query, cut.get(EVENTS, 0))
        later = Wanted(
            since_us=of.since_ns // 1000,
            until_us=of.until_ns // 1000,
            type=meter.meter.event_type,
            limit=1,
            beyond_seq=cut.get(EVENTS, 0),
        )
        if (await self._meters.events(tenant, later, self._meters.seq)).found:
            raise TransientError(f"events of the time came while {source.meter} was asked; retry", code="not_ready")
        said: dict[tuple[str, ...], list[tuple[int, Fraction]]] = {}
        for row in answer.found.rows:
            group = tuple(row.by[name] or "" for name in source.by)
            said.setdefault(group, []).append((row.window_start * MINUTE_NS, Fraction(row.value)))
        made = []
        for one in counted:
            figures = said.get(tuple(one.group[name] for name in source.by), [])
            sum_ = sum((figure for _, figure in figures), Fraction(0))
            evidence = msgspec.structs.replace(one.evidence, sum=text_of(sum_))
            windows = tuple(figures) if grid else ()
            made.append(msgspec.structs.replace(one, quantity=sum_, evidence=evidence, windows=windows))
        return made

    async def _events(
        self, tenant: str, version: Version, since_ns: int, until_ns: int, cut_seq: int
    ) -> AsyncIterator[_Event]:
        reader = Reader([version])
        wanted = Wanted(
            since_us=since_ns // 1000,
            until_us=until_ns // 1000,
            type=version.meter.event_type,
            limit=PAGE,
            by_key=True,
            through_seq=cut_seq,
        )
        while True:
            page = (await self._meters.events(tenant, wanted, cut_seq)).found
            read = await asyncio.to_thread(lambda of: list(_items(reader, version, tenant, of)), page)
            for item in read:
                yield item
            if len(page) < PAGE:
                return
            last = page[-1]
            source, id = _named(last)
            wanted = msgspec.structs.replace(wanted, after=(source, id, last.seq, last.n))


def scale_of(measure: str) -> int:
    """Of a measure's figures, which are integers: cost is told in USD, all else as it is."""
    return NANO if measure == "cost" else 1


def _items(reader: Reader, version: Version, tenant: str, entries: Iterable[Entry]) -> Iterator[_Event]:
    """What a meter makes of each; those that it cannot read it does not count either."""
    (lens,) = reader.lenses[version.meter.event_type]
    for entry in entries:
        who = Who(tenant, entry.principal, entry.application, entry.installation, entry.key_id)
        found = _measured(reader, lens, entry, who)
        if found is None:
            continue
        pico, group, event = found
        id = msgspec.json.encode([event.source, _named(entry)[1], entry.seq]).decode()
        names = dict(zip(version.meter.group_by, group, strict=True))
        named = {**{name: value or "" for name, value in names.items()}, "subject": event.subject or ""}
        yield _Event(id, entry.counts_at_us * 1000, entry.n * pico, {**named, "corrects": entry.corrects})


def _measured(reader: Reader, lens: Lens, entry: Entry, who: Who) -> tuple[int, list[str | None], Any] | None:
    try:
        events = reader.events(b"[" + bytes(entry.event) + b"]")
        measured = lens.read(events, who, reader.raws)
    except (LocalError, msgspec.DecodeError):
        return None
    if not measured.events:
        return None
    counts = lens.version.meter.aggregation in ("count", "unique_count")
    return PICO if counts else measured.quantities[0], [column[0] for column in measured.groups], measured.events[0]


class _Named(msgspec.Struct):
    source: str = ""
    id: str = ""


def _named(entry: Entry) -> tuple[str, str]:
    found = msgspec.json.decode(entry.event, type=_Named)
    return found.source, found.id


def _matches(group: Mapping[str, str], where: Mapping[str, Sequence[str]]) -> bool:
    return all(group.get(name, "") in values for name, values in where.items())


def _counted(evidence: Evidence, group: dict[str, str], tally: Tally) -> Counted:
    made = msgspec.structs.replace(
        evidence, group=group, count=tally.count, sum=text_of(tally.sum), sha256=tally.sha256
    )
    return Counted(group=group, quantity=tally.sum, evidence=made, values=tally.values, windows=tally.windows)


def _is_usage(stream: str) -> bool:
    """Whether attempts stand in it, or what a provider's bill changed of them."""
    return stream.startswith("usage/") or stream == "adjustments"
