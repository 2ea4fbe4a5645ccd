"""Meters on the two ports: define, list, retire, ask. `/api/v1/meters` is the same as OpenMeter's clients speak it.

All of it is one path: a question is read into a `Query`, asked, and written out in one of two shapes. Values are exact:
decimal strings here, JSON numbers with all their digits there.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import decoded, json, misshapen, query
from interlock.control.service import Control
from interlock.errors import LocalError
from interlock.identity import Key, check_tenant
from interlock.instants import instant_ns
from interlock.meters import Answer, Meter, Query, Row, Size, Version
from interlock.meters.catalog import METERS_MAX
from interlock.meters.definition import AGGREGATIONS
from interlock.meters.rows import DAY_MINUTES
from interlock.meters.windows import SIZES

MINUTE_NS = 60_000_000_000
GET = ("from", "to", "window_size", "zone", "group_by", "subject", "version")
OPENMETER_GET = ("from", "to", "windowSize", "windowTimeZone", "subject", "groupBy", "clientId")


class Asked(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    """Body of POST /v1/meters/{slug}/query."""

    since: str = ""
    until: str = ""
    window_size: str | None = None
    zone: str = "UTC"
    group_by: tuple[str, ...] = ()
    filter: dict[str, tuple[str, ...]] = {}
    version: int | None = None


class OpenMeterAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Body of POST /api/v1/meters/{slug}/query. What is not here has no counterpart and is refused."""

    since: str = msgspec.field(default="", name="from")
    until: str = msgspec.field(default="", name="to")
    window_size: str | None = None
    window_time_zone: str = "UTC"
    subject: tuple[str, ...] = ()
    filter_group_by: dict[str, tuple[str, ...]] = {}
    group_by: tuple[str, ...] = ()
    client_id: str = ""


class OpenMeterMeter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Body of POST /api/v1/meters. What is not here has no counterpart and is refused."""

    slug: str
    event_type: str
    aggregation: Literal["SUM", "COUNT", "UNIQUE_COUNT", "AVG", "MIN", "MAX", "LATEST"]
    value_property: str = ""
    group_by: dict[str, str] = {}
    description: str = ""
    name: str = ""


class MeterPaths:
    """The handlers of one port."""

    def __init__(self, control: Control, *, own: bool) -> None:
        """`own`: a key's own tenant; else the parameter `tenant` names one."""
        self._control = control
        self._own = own

    async def show_all(self, request: Request) -> Response:
        _, tenant = self._asked(request)
        await self._control.refresh_meters()
        return json({"meters": [self._shown(one) for one in self._control.catalog.newest(tenant)]})

    async def show(self, request: Request) -> Response:
        _, tenant = self._asked(request)
        await self._control.refresh_meters()
        versions = self._control.catalog.find(tenant, request.path_params["slug"])
        return json({**self._shown(versions[0]), "versions": [self._shown(one) for one in versions]})

    async def define(self, request: Request) -> Response:
        _, tenant = self._asked(request)
        version, new = await self._control.define(tenant, await decoded(request, Meter))
        await self._control.refresh_meters()
        return json(self._shown(version), 201 if new else 200)

    async def retire(self, request: Request) -> Response:
        slug = await self._retired(request)
        return json({"slug": slug, "retired": True})

    async def ask(self, request: Request) -> Response:
        """Both methods: parameters, or a body."""
        if request.method == "POST":
            _, tenant = self._asked(request)
            asked = await decoded(request, Asked)
        else:
            params, tenant = self._asked(request, *GET)
            asked = _from_parameters(params)
        question = Query(
            since=self._minute(asked.since, "from"),
            until=self._minute(asked.until, "to"),
            size=_size(asked.window_size, "window_size", {size: size for size in SIZES}),
            zone=asked.zone,
            by=asked.group_by,
            where=asked.filter,
        )
        answer = await self._answer(request, tenant, asked.version, question)
        version, (rows, unreadable), first_day = answer
        return json(
            {
                "meter": version.meter.slug,
                "version": version.version,
                "aggregation": version.meter.aggregation,
                "window_size": asked.window_size,
                "zone": asked.zone,
                "group_by": asked.group_by,
                "unreadable": unreadable,
                "complete_from": complete_from(first_day),
                "rows": [_row(row) for row in rows],
            }
        )

    async def openmeter_list(self, request: Request) -> Response:
        params, tenant = self._asked(request, "page", "pageSize")
        page, size = (_whole(params, name, default) for name, default in (("page", 1), ("pageSize", METERS_MAX)))
        await self._control.refresh_meters()
        found = self._control.catalog.newest(tenant)[(page - 1) * size : page * size]
        return json([_openmeter_meter(one) for one in found])

    async def openmeter_show(self, request: Request) -> Response:
        _, tenant = self._asked(request)
        await self._control.refresh_meters()
        return json(_openmeter_meter(self._control.catalog.find(tenant, request.path_params["slug"])[0]))

    async def openmeter_define(self, request: Request) -> Response:
        _, tenant = self._asked(request)
        wanted = await decoded(request, OpenMeterMeter)
        meter = Meter(
            slug=wanted.slug,
            event_type=wanted.event_type,
            aggregation=next(name for name in AGGREGATIONS if name.upper() == wanted.aggregation),
            value="" if wanted.aggregation == "COUNT" else wanted.value_property,
            group_by=wanted.group_by,
            description=wanted.description or wanted.name,
            allow_negative=True,
        )
        version, _ = await self._control.define(tenant, meter)
        await self._control.refresh_meters()
        return json(_openmeter_meter(version), 201)

    async def openmeter_retire(self, request: Request) -> Response:
        await self._retired(request)
        return Response(status_code=204)

    async def openmeter_ask(self, request: Request) -> Response:
        if request.method == "POST":
            _, tenant = self._asked(request)
            asked = await decoded(request, OpenMeterAsked)
        else:
            asked, tenant = _openmeter_parameters(request), request.state.key.tenant
        where = dict(asked.filter_group_by)
        by = asked.group_by
        if asked.subject:  # they are told apart then, as OpenMeter does
            where["subject"] = asked.subject
            by = (*by, "subject") if "subject" not in by else by
        question = Query(
            since=self._minute(asked.since, "from", whole=False),
            until=self._minute(asked.until, "to", whole=False),
            size=_size(asked.window_size, "windowSize", {size.upper(): size for size in SIZES}),
            zone=asked.window_time_zone,
            by=by,
            where=where,
        )
        answer = await self._answer(request, tenant, None, question)
        times = {"from": question.since, "to": question.until}
        if question.since is None and answer.first_day:
            times["from"] = answer.first_day * DAY_MINUTES
        told = {name: minute and _moment(minute) for name, minute in times.items()} | {"windowSize": asked.window_size}
        data = [_openmeter_row(row) for row in answer.found.rows]
        return json({name: value for name, value in told.items() if value} | {"data": data})

    async def _retired(self, request: Request) -> str:
        _, tenant = self._asked(request)
        slug: str = request.path_params["slug"]
        await self._control.registry.retire(tenant, slug)
        await self._control.refresh_meters()
        return slug

    async def _answer(self, request: Request, tenant: str, version: int | None, question: Query) -> Answer:
        await self._control.refresh_meters()
        head = await self._control.events_head()
        return await self._control.meters.ask(tenant, request.path_params["slug"], version, question, head)

    def _asked(self, request: Request, *names: str) -> tuple[dict[str, str], str]:
        if self._own:
            key: Key = request.state.key
            return query(request, names), key.tenant
        params = query(request, (*names, "tenant"))
        if "tenant" not in params:
            raise LocalError("name the tenant whose meters are meant", field="tenant")
        return params, check_tenant(params["tenant"])

    def _minute(self, text: str, field: str, *, whole: bool = True) -> int | None:
        """Nothing finer is kept: without `whole` the minutes that the time asked for touches are meant.

        Raises: LocalError: no moment, or within a minute.
        """
        if not text:
            return None
        at_ns = instant_ns(text, self._control.clock.now_ns(), field)
        if text[-1:] in ("m", "h", "d"):  # so long ago: the minute that it falls in
            return at_ns // MINUTE_NS
        if not whole:
            return at_ns // MINUTE_NS if field == "from" else -(-at_ns // MINUTE_NS)
        if at_ns % MINUTE_NS:
            raise LocalError(f"{field} has to be a whole minute: 2026-11-28T10:00:00Z", field=field)
        return at_ns // MINUTE_NS

    def _shown(self, version: Version) -> dict[str, Any]:
        state = self._control.meters.state(version)
        meter = msgspec.to_builtins(version.meter)
        return {**meter, "version": version.version, "ready": state.ready, "folded_seq": state.seq}


def _size(name: str | None, field: str, sizes: Mapping[str, Size]) -> Size | None:
    if name is not None and name not in sizes:
        raise LocalError(f"{name[:80]!r} is no window; there are: {', '.join(sizes)}", field=field)
    return sizes[name] if name is not None else None


def _from_parameters(params: Mapping[str, str]) -> Asked:
    """Raises: LocalError: a value is not one of those it may be."""
    given: dict[str, Any] = {name: params[name] for name in ("from", "to", "window_size", "zone") if name in params}
    if "group_by" in params:
        given["group_by"] = params["group_by"].split(",")
    if "subject" in params:
        given["filter"] = {"subject": [params["subject"]]}
    if "version" in params:
        given["version"] = int(params["version"]) if params["version"].isdecimal() else params["version"]
    try:
        return msgspec.convert(given, Asked)
    except msgspec.ValidationError as error:
        raise misshapen(error, Asked, "query") from error


def _openmeter_parameters(request: Request) -> OpenMeterAsked:
    """Lists repeat a parameter; `filterGroupBy[name]=value` filters. Raises: LocalError."""
    lists: dict[str, list[str]] = {"subject": [], "groupBy": []}
    filters: dict[str, list[str]] = {}
    plain: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in lists:
            lists[name].append(value)
        elif name.startswith("filterGroupBy[") and name.endswith("]"):
            filters.setdefault(name[14:-1], []).append(value)
        elif name in OPENMETER_GET:
            plain[name] = value
        else:
            what = f"unknown parameter {name[:80]!r}; there are: {', '.join((*OPENMETER_GET, 'filterGroupBy[name]'))}"
            raise LocalError(what, field=name[:80])
    return msgspec.convert({**plain, **lists, "filterGroupBy": filters}, OpenMeterAsked)


def _whole(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise LocalError(f"{name} is a whole number from 1", field=name)
    return int(text)


def _moment(minute: int) -> str:
    return f"{datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%dT%H:%M:%SZ}"


def complete_from(first_day: int) -> str | None:
    """The first moment from which there is anything; None: from ever."""
    return _moment(first_day * DAY_MINUTES) if first_day else None


def _row(row: Row) -> dict[str, Any]:
    return {
        "window_start": _moment(row.window_start),
        "window_end": _moment(row.window_end),
        "group_by": row.by,
        "value": row.value,
    }


def _openmeter_row(row: Row) -> dict[str, Any]:
    return {
        "value": msgspec.Raw(row.value.encode()),
        "windowStart": _moment(row.window_start),
        "windowEnd": _moment(row.window_end),
        "subject": row.by.get("subject"),
        "groupBy": {name: value for name, value in row.by.items() if name != "subject"},
    }


def _openmeter_meter(version: Version) -> dict[str, Any]:
    meter, created = version.meter, _moment(version.defined_at_ns // MINUTE_NS)
    return {
        "id": meter.slug,
        "slug": meter.slug,
        "name": meter.slug,
        "description": meter.description,
        "aggregation": meter.aggregation.upper(),
        "eventType": meter.event_type,
        **({"valueProperty": meter.value} if meter.value else {}),
        "groupBy": meter.group_by,
        "createdAt": created,
        "updatedAt": created,
    }
