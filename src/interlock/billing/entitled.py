"""What subscriptions entitle tenants to, from when on. Pure."""

from collections.abc import Iterator

from interlock.billing.periods import parse_day, start_ns
from interlock.billing.state import Accounts
from interlock.entitlements import Standing


def standings(accounts: Accounts, tenant: str = "") -> Iterator[Standing]:
    """A tenant's (all tenants'), in the order in which they were set. A tenant has one zone, so that moments are in the
    order of the days (`periods.current`)."""
    chosen = {tenant: accounts.subscriptions.get(tenant, [])} if tenant else accounts.subscriptions
    for of, ones in chosen.items():
        for one in ones:
            plan = accounts.plans[one.plan, one.version] if one.plan else None
            yield Standing(
                tenant=of,
                since_ns=start_ns(parse_day(one.since, "since"), one.zone),
                plan=one.plan,
                version=one.version,
                entitlements=plan.entitlements if plan is not None else None,
            )
