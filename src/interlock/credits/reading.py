"""A grant as it is asked for, and what is written of it. Pure; every refusal names its field."""

import re

import msgspec

from interlock.credits.book import grant_of
from interlock.credits.records import Anchor, Applies, Granted, Reset
from interlock.errors import LocalError
from interlock.identity import check_name, check_reason, check_tenant, duration_ns
from interlock.instants import instant_ns
from interlock.units import NANO

AMOUNT_USD_MAX = 1_000_000_000
PRIORITY_MAX = 1_000
ID_MAX = 128
_AMOUNT = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?")
_DURATION = re.compile(r"[0-9]+[mhd]")


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/credits. Amounts are decimal strings of USD."""

    tenant: str
    amount: str
    id: str = ""
    """The caller's own name for it, by which a repeat is known; empty: one is made up."""
    principal: str = ""
    priority: int = 0
    effective: str = ""
    expires: str = ""
    every: str = ""
    anchor: str = ""
    rollover_min: str = "0"
    rollover_max: str = "0"
    applies: Applies = "usage"
    note: str = ""


class WantedReset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/credits/TENANT/reset."""

    id: str
    """The caller's own name for it, by which a repeat is known."""
    keep_overage: bool
    anchor: Anchor
    principal: str = ""
    at: str = ""
    """Empty: now."""
    reason: str = ""


def read_usd(text: str, field: str) -> int:
    """Nano-USD. Raises: LocalError.

    >>> read_usd("12.5", "amount")
    12500000000
    """
    found = _AMOUNT.fullmatch(text)
    amount = int(found[1]) * NANO + int((found[2] or "").ljust(9, "0")) if found else -1
    if not 0 <= amount <= AMOUNT_USD_MAX * NANO:
        rule = f'write dollars such as "12.50", at most nine decimals and at most {AMOUNT_USD_MAX}'
        raise LocalError(f"{text[:40]!r} is not an amount: {rule}", field=field)
    return amount


def read_grant(wanted: Wanted, id: str, now_ns: int) -> Granted:
    """What is written. `id` is used if none was given. Raises: LocalError."""
    amount = read_usd(wanted.amount, "amount")
    low, high = read_usd(wanted.rollover_min, "rollover_min"), read_usd(wanted.rollover_max, "rollover_max")
    if not amount:
        raise LocalError("nothing is granted: the amount is 0", field="amount")
    if low > high:
        raise LocalError(
            f"rollover_min, {wanted.rollover_min}, is more than rollover_max, {wanted.rollover_max}",
            field="rollover_min",
        )
    if high and wanted.applies == "invoices" and not wanted.every:
        rule = "what rolls over of credit for invoices is only asked when it comes again: set every"
        raise LocalError(rule, field="rollover_max")
    if wanted.anchor and not wanted.every:
        raise LocalError("an anchor is of a grant that comes again: set every", field="anchor")
    if not 0 <= wanted.priority <= PRIORITY_MAX:
        raise LocalError(f"{wanted.priority} is not between 0 (burned first) and {PRIORITY_MAX}", field="priority")
    if wanted.applies == "invoices" and wanted.principal:
        raise LocalError("invoices are a tenant's: credit for them cannot be one principal's", field="principal")
    after = _DURATION.fullmatch(wanted.expires)
    made = Granted(
        id=check_name(wanted.id, "id") if wanted.id else id,
        tenant=check_tenant(wanted.tenant),
        amount_nanousd=amount,
        principal=check_name(wanted.principal, "principal") if wanted.principal else "",
        priority=wanted.priority,
        effective_at_ns=_moment(wanted.effective, "effective"),
        expires_at_ns=None if after else _moment(wanted.expires, "expires"),
        expires_after_ns=duration_ns(wanted.expires, "expires") if after else None,
        every=wanted.every,
        anchor_ns=_moment(wanted.anchor, "anchor"),
        rollover_min_nanousd=low,
        rollover_max_nanousd=high,
        applies=wanted.applies,
        note=_note(wanted.note),
    )
    grant = grant_of(made, now_ns, 0)
    if grant.effective_at_ns >= grant.expires_at_ns:
        raise LocalError(f"{wanted.expires!r} is not after the grant is effective, nor after now", field="expires")
    return made


def read_reset(tenant: str, wanted: WantedReset, now_ns: int) -> Reset:
    """What is written, but for its cut. Raises: LocalError."""
    asked_at_ns = _moment(wanted.at, "at")
    if asked_at_ns is not None and asked_at_ns > now_ns:
        raise LocalError(f"{wanted.at} has not come yet: leave it out, or ask again then", field="at")
    return Reset(
        id=check_name(wanted.id, "id"),
        tenant=check_tenant(tenant),
        principal=check_name(wanted.principal, "principal") if wanted.principal else "",
        keep_overage=wanted.keep_overage,
        anchor=wanted.anchor,
        asked_at_ns=asked_at_ns,
        at_ns=now_ns if asked_at_ns is None else asked_at_ns,
        cut_ns=0,
        reason=check_reason(wanted.reason),
    )


def _moment(text: str, field: str) -> int | None:
    if not text:
        return None
    if _DURATION.fullmatch(text):
        raise LocalError(f"{text!r} is not a moment: write 2026-11-01 or 2026-11-01T12:00:00Z", field=field)
    return instant_ns(text, 0, field)


def _note(text: str) -> str:
    try:
        return check_reason(text)
    except LocalError as error:
        raise LocalError(error.message.replace("a reason", "a note"), field="note") from error
