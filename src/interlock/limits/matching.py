"""Which limits apply to a call, and which counter of each is its own. Pure but for a bounded memory of calls seen."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from operator import attrgetter
from types import MappingProxyType
from typing import Protocol

from interlock.limits.call import Denied
from interlock.limits.entitled import Entitled
from interlock.limits.limit import MEASURES, Limit, Scope

KEY_BYTES = 16
_SEEN_MAX = 16_384
_TENANTS_OWN: tuple[Scope, ...] = ("principal", "session")
"""Scopes whose names tenants choose: the same name of two tenants is two values."""
_PLACES: tuple[Scope, ...] = ("deployment", "model")
_FILTERS = {"tenants": "tenant", "principals": "principal", "deployments": "deployment", "models": "model"}


Owner = tuple[str, str]
"""Whose an account is: a tenant, and a principal of it or nothing."""


class Names(Protocol):
    """What of a call limits look at: a `Claim`, or what a log says of one."""

    @property
    def key(self) -> str: ...
    @property
    def principal(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def session(self) -> str: ...
    @property
    def deployment(self) -> str: ...
    @property
    def model(self) -> str: ...


class Target:
    """One counter that a call counts against, and where this process last found it."""

    __slots__ = ("at", "byte", "generation", "key", "limit", "measure", "scope", "sends")

    def __init__(self, limit: Limit, scope: tuple[tuple[Scope, str], ...]) -> None:
        self.limit = limit
        self.measure = MEASURES.index(limit.measure)
        self.sends = limit.measure == "requests" and (
            bool(limit.deployments or limit.models) or any(name in _PLACES for name, _ in scope)
        )
        """It counts what is sent to one place: each attempt, not each request."""
        self.scope = scope
        """The values of `limit.per`; a principal or session has its tenant before it."""
        self.key = counter_key(limit, scope)
        self.at = 0
        """First word of its row on the page."""
        self.byte = 0
        """The same in bytes."""
        self.generation = -1
        """Of the row when it was found; -1: not yet. Rows never have that one."""


def counter_key(limit: Limit, scope: tuple[tuple[Scope, str], ...]) -> bytes:
    """16 bytes that name a counter on every machine. The amount is not in them: a new amount keeps what was counted."""
    parts = (limit.name, limit.measure, limit.window or "", *(part for pair in scope for part in pair))
    text = "".join(f"{len(part)}:{part}" for part in parts)  # lengths, so that no two lists read alike
    return blake2b(text.encode(), digest_size=KEY_BYTES, person=b"interlocklimits1").digest()


class Matcher:
    """The limits of one policy, prepaid accounts, and what tenants' plans say."""

    def __init__(
        self,
        limits: Sequence[Limit],
        accounts: Mapping[Owner, Limit] = MappingProxyType({}),
        plans: Mapping[str, Entitled] = MappingProxyType({}),
    ) -> None:
        """`plans`: by tenant; of those that restrict anything."""
        self.limits = tuple(limits)
        self.accounts = dict(accounts)
        self.plans = dict(plans)
        own = [limit for plan in self.plans.values() for limit in plan.limits]
        self.warns = any(limit.warn_at for limit in (*self.limits, *own))
        """Whether any limit has a threshold."""
        self._own_fields: set[str] = {name for limit in own for name in limit.per}
        fields = {field for limit in self.limits for field in _fields(limit)} | self._own_fields
        if any(principal for _, principal in accounts):
            fields.add("principal")
        ordered = sorted(fields | {"key", "tenant"})  # at least two: attrgetter of one gives no tuple
        self._fields = attrgetter(*ordered)
        self._seen: dict[object, tuple[Target, ...]] = {}
        self._targets: dict[bytes, Target] = {}
        self._verdicts: dict[tuple[str, str], Denied | None] = {}

    def refusal(self, tenant: str, model: str) -> Denied | None:
        """Why a tenant's plan does not let it call a model; None: it does."""
        names = tenant, model
        if names in self._verdicts:
            return self._verdicts[names]
        if len(self._verdicts) >= _SEEN_MAX:
            self._verdicts.clear()
        plan = self.plans.get(tenant)
        found = self._verdicts[names] = plan.refusal(model) if plan is not None else None
        return found

    def entitle(self, changed: Iterable[Entitled]) -> "Matcher":
        """Plans as they are now. Counters are found again by their names; if a limit is by what no limit was by before,
        it is another matcher that does."""
        own: list[Limit] = []
        for one in changed:
            if one.restricts:
                self.plans[one.tenant] = one
                own += one.limits
            else:
                self.plans.pop(one.tenant, None)
        if not {name for limit in own for name in limit.per} <= self._own_fields:
            return Matcher(self.limits, self.accounts, self.plans)
        self.warns = self.warns or any(limit.warn_at for limit in own)
        self._seen.clear()
        self._targets.clear()
        self._verdicts.clear()
        return self

    def targets(self, call: Names) -> tuple[Target, ...]:
        """The counters that a call counts against, in the order of the limits; the same objects for the same names."""
        names = self._fields(call)
        found = self._seen.get(names)
        return self._find(names, call) if found is None else found

    def fund(self, limits: Iterable[Limit]) -> "Matcher":
        """Accounts as they are now: new amounts of those that are known take effect at once; with others it is another
        matcher that knows them."""
        fresh = {owner_of(limit): limit for limit in limits}
        if fresh.keys() <= self.accounts.keys():
            self.accounts.update(fresh)
            for limit in fresh.values():
                target = self._targets.get(counter_key(limit, ()))
                if target is not None:
                    target.limit = limit
            return self
        return Matcher(self.limits, {**self.accounts, **fresh}, self.plans)

    def _find(self, names: object, call: Names) -> tuple[Target, ...]:
        if len(self._seen) >= _SEEN_MAX:  # sessions come and go; what is still in use is soon back
            self._seen.clear()
            self._targets.clear()
        plan = self.plans.get(call.tenant)
        limits = (*self.limits, *plan.limits) if plan is not None else self.limits
        targets = [Target(limit, scope_of(limit, call)) for limit in limits if applies(limit, call)]
        owners = dict.fromkeys(((call.tenant, ""), (call.tenant, call.principal)))
        targets += [Target(self.accounts[owner], ()) for owner in owners if owner in self.accounts]
        found = tuple(self._targets.setdefault(target.key, target) for target in targets)
        self._seen[names] = found
        return found


def owner_of(account: Limit) -> Owner:
    """Whose account a limit is."""
    return account.tenants[0], account.principals[0] if account.principals else ""


def applies(limit: Limit, call: Names) -> bool:
    """Whether the limit is for such calls at all."""
    return all(
        not (wanted := getattr(limit, filter_)) or getattr(call, field) in wanted for filter_, field in _FILTERS.items()
    )


def scope_of(limit: Limit, call: Names) -> tuple[tuple[Scope, str], ...]:
    """The values of `limit.per` in a call, the tenant's first where others are the tenant's own."""
    per = limit.per
    if "tenant" not in per and any(scope in _TENANTS_OWN for scope in per):
        per = ("tenant", *per)
    return tuple((scope, getattr(call, scope)) for scope in per)


def _fields(limit: Limit) -> set[str]:
    return {field for filter_, field in _FILTERS.items() if getattr(limit, filter_)} | set(limit.per)
