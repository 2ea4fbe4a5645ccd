"""What may be adopted: plans, the issuer, subscriptions. Each returns the record to write, or None: it stands. Pure."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from interlock.billing.lifecycle import SETTLED
from interlock.billing.periods import bounds_ns, parse_day, start_ns
from interlock.billing.pricing import check_billable
from interlock.billing.state import Accounts
from interlock.billing.value import Every, Party, Subscription
from interlock.errors import LocalError
from interlock.meters.windows import zone_of
from interlock.rating import Plan, places_of, plan_record, read_plan

VERSIONS_MAX = 1000
SUBSCRIPTIONS_MAX = 1000
"""Of one tenant."""
NAME_CHARS_MAX = 200
TEXT_LINES_MAX = 12
PREFIX_CHARS_MAX = 16
_PREFIX = re.compile(r"[A-Za-z0-9._-]*")


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subscription as it is asked for; what is left out stays as it was."""

    since: str
    plan: str
    version: int = 0
    """0: the newest."""
    zone: str = ""
    every: str = ""
    buyer: Party | None = None
    reference: str | None = None


def adopt(accounts: Accounts, document: Mapping[str, Any]) -> tuple[Plan, bool]:
    """The plan as it will stand, and whether it is new. Without a `version` it is the next one, if it differs.

    Raises: LocalError: it is no plan, invoices cannot be made of it, or that version stands with other content.
    """
    name = document.get("name")
    newest = accounts.newest.get(name, 0) if isinstance(name, str) else 0
    told = "version" in document
    if not told and newest:
        standing = accounts.plans[str(name), newest]
        if read_plan({**document, "version": newest}) == standing:
            return standing, False
    plan = read_plan(dict(document) if told else {**document, "version": newest + 1})
    check_billable(plan, places_of(plan))
    standing_version = accounts.plans.get((plan.name, plan.version))
    if standing_version is not None:
        if plan_record(standing_version) != plan_record(plan):
            what = f"version {plan.version} of plan {plan.name} stands with other content, and a version never changes"
            raise LocalError(what, code="conflict", field="version")
        return standing_version, False
    if plan.version != newest + 1:
        raise LocalError(f"the next version of plan {plan.name} is {newest + 1}", field="version")
    if plan.version > VERSIONS_MAX:
        raise LocalError(f"a plan has at most {VERSIONS_MAX} versions", field="version")
    return plan, True


def check_party(party: Party, field: str) -> Party:
    """As it may be printed. Raises: LocalError."""
    check_text(party.name, f"{field}.name", required=True)
    check_text(party.email, f"{field}.email")
    for name in ("address", "tax_ids", "notes"):
        lines: tuple[str, ...] = getattr(party, name)
        if len(lines) > TEXT_LINES_MAX:
            raise LocalError(f"{field}.{name} has at most {TEXT_LINES_MAX} lines", field=f"{field}.{name}")
        for line in lines:
            check_text(line, f"{field}.{name}", required=True)
    if len(party.prefix) > PREFIX_CHARS_MAX or not _PREFIX.fullmatch(party.prefix):
        what = f"a prefix is at most {PREFIX_CHARS_MAX} of A-Z a-z 0-9 . _ -"
        raise LocalError(what, field=f"{field}.prefix")
    return party


def subscribe(accounts: Accounts, tenant: str, wanted: Wanted) -> tuple[Subscription, bool]:
    """The subscription as it will stand, and whether it is new.

    Raises: LocalError: the field that is wrong, or that may not change any more.
    """
    earlier = accounts.subscriptions.get(tenant, [])
    last = earlier[-1] if earlier else None
    if last is None and not wanted.plan:
        raise LocalError(f"{tenant} has no subscription that could end", code="not_found", field="tenant")
    zone, every = wanted.zone or (last.zone if last else "UTC"), wanted.every or (last.every if last else "month")
    zone_of(zone)
    if every not in ("month", "day"):
        raise LocalError(f"{every[:40]!r} is not month or day", field="every")
    if last and (zone, every) != (last.zone, last.every):
        what = f"{tenant} is billed by the {last.every} in {last.zone}, and that stays: its periods would overlap"
        raise LocalError(what, field="zone" if zone != last.zone else "every")
    plan = accounts.plan(wanted.plan, wanted.version) if wanted.plan else None
    buyer = wanted.buyer or (last.buyer if last else None)
    if buyer is None:
        raise LocalError("say who is billed: --name NAME (buyer.name)", field="buyer")
    reference = wanted.reference if wanted.reference is not None else last.reference if last else ""
    check_text(reference, "reference")
    made = Subscription(
        tenant=tenant,
        since=parse_day(wanted.since, "since").isoformat(),
        plan=plan.name if plan else "",
        version=plan.version if plan else 0,
        zone=zone,
        every=_every(every),
        buyer=check_party(buyer, "buyer"),
        reference=reference,
    )
    if made == last:
        return made, False
    _check_change(accounts, made, plan, earlier)
    return made, True


def _check_change(accounts: Accounts, made: Subscription, plan: Plan | None, earlier: list[Subscription]) -> None:
    """Raises: LocalError."""
    if len(earlier) >= SUBSCRIPTIONS_MAX:
        raise LocalError(f"a tenant has at most {SUBSCRIPTIONS_MAX} subscriptions", field="tenant")
    currencies = {accounts.plans[one.plan, one.version].currency for one in earlier if one.plan}
    if plan and currencies and plan.currency not in currencies:
        what = f"{made.tenant} is billed in {', '.join(currencies)}, and that stays: the plan is in {plan.currency}"
        raise LocalError(what, field="plan")
    begins = start_ns(parse_day(made.since, "since"), made.zone)
    for held in accounts.of_tenant(made.tenant):
        _, until_ns = bounds_ns(held.header.period, held.header.every, held.header.zone)
        if held.state not in SETTLED and begins < until_ns:
            what = f"{held.header.period} has an invoice ({held.header.id}, {held.state}): begin after it, or void it"
            raise LocalError(what, code="conflict", field="since")


def _every(text: str) -> Every:
    return "day" if text == "day" else "month"


def check_text(text: str, field: str, *, required: bool = False) -> None:
    """One line that can be printed, not too long. Raises: LocalError."""
    if len(text) > NAME_CHARS_MAX or not text.isprintable() or (required and not text.strip()):
        raise LocalError(f"{field} is {int(required)} to {NAME_CHARS_MAX} printable characters", field=field)
