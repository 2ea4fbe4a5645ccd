"""What the log keeps of an attempt: `usage.opened` before it is sent, `usage.settled` when it is over; and of a call
that nobody may serve: `usage.refused`. Pure.
"""

from collections.abc import Mapping

import msgspec

from interlock.caching import Told
from interlock.errors import LocalError
from interlock.gateway.observed import serving_region
from interlock.gateway.policy import Deployment
from interlock.gateway.router import Routed
from interlock.gateway.signals import Signals
from interlock.gateway.wire import ESTIMATE_RULE, Call, Reading
from interlock.identity import Key
from interlock.ledger import Opened, Outcome, Refused, Settled, Source

TEAM = "team"
"""The key's label that says who pays."""
UNMETERED = frozenset({"count_tokens"})
"""Formats whose answers cost nothing and report no usage."""


def opened(
    request_id: str,
    attempt: int,
    key: Key,
    call: Call,
    signals: Signals,
    routed: Routed,
    deployment: Deployment,
    splices: tuple[str, ...],
) -> Opened:
    """The record of an attempt that is about to be sent."""
    return Opened(
        request_id=request_id,
        attempt=attempt,
        tenant=key.tenant,
        principal=key.principal,
        key_id=key.id,
        format=call.format,
        stream=call.stream,
        model_requested=call.model,
        tier=routed.route.tier,
        deployment=deployment.name,
        provider=deployment.provider,
        model=deployment.model,
        policy=routed.route.policy,
        input_estimate=0 if call.format in UNMETERED else call.input_estimate,
        estimate_rule=ESTIMATE_RULE,
        session=signals.session,
        mode=signals.mode,
        decision=msgspec.Raw(routed.decision(signals, splices)),
        team=key.labels.get(TEAM, ""),
        task=signals.task,
        tool=call.tool,
    )


def answered(opened: bytes, told: Told) -> bytes:
    """The record of a call that is about to be given another's answer, as JSON; `opened`: as if it were sent."""
    return b'%b,"answer_of":%b}' % (opened[:-1], msgspec.json.encode(told.request_id))


def given(request_id: str, outcome: Outcome, told: Told, *, first_byte_ns: int, duration_ns: int) -> Settled:
    """The record of what became of it. Only what was given whole is a hit."""
    whole = outcome == "completed"
    return Settled(
        request_id=request_id,
        attempt=1,
        outcome=outcome,
        usage={"cache_hit": 1} if whole else {},
        source="cached" if whole else "none",
        http_status=200,
        error=told.error,
        finish_reason=told.finish_reason,
        avoided=told.usage if whole else {},
        first_byte_ns=first_byte_ns,
        duration_ns=duration_ns,
    )


def refused(request_id: str, key: Key, signals: Signals, routed: Routed, error: LocalError) -> Refused:
    """The record of a call without an attempt."""
    return Refused(
        request_id=request_id,
        tenant=key.tenant,
        principal=key.principal,
        key_id=key.id,
        format=signals.format,
        model_requested=signals.model,
        policy=routed.route.policy,
        code=error.code,
        message=error.message,
        session=signals.session,
        mode=signals.mode,
        decision=msgspec.Raw(routed.decision(signals, ())),
    )


def settled(
    request_id: str,
    attempt: int,
    call: Call,
    outcome: Outcome,
    reading: Reading | None,
    error: str,
    *,
    status: int,
    peer: str,
    region_header: str,
    headers: Mapping[bytes, bytes],
    repaired: str,
    first_byte_ns: int,
    duration_ns: int,
) -> Settled:
    """The record of what became of it.

    Args:
        reading: None: the upstream never took the call.
        region_header, headers: of the answer, as `serving_region`.
    """
    usage, source, rule = _figures(call, reading)
    reading = reading or Reading(call.format)
    return Settled(
        request_id=request_id,
        attempt=attempt,
        outcome=outcome,
        usage=usage,
        source=source,
        rule=rule,
        raw=msgspec.Raw(_one_line(reading.raw)),
        http_status=status,
        error=error,
        finish_reason=reading.finish_reason,
        upstream_id=reading.upstream_id,
        upstream_model=reading.upstream_model,
        upstream_peer=peer,
        upstream_region=serving_region(region_header, headers, reading.raw),
        repaired=repaired,
        first_byte_ns=first_byte_ns,
        duration_ns=duration_ns,
    )


def _figures(call: Call, reading: Reading | None) -> tuple[dict[str, int], Source, str]:
    """(usage, source, rule): reported if the provider said it, else by rules that are named."""
    if reading is None or call.format in UNMETERED:
        return {}, "none", ""
    if reading.source == "reported":
        return reading.usage, "reported", ""
    usage, rule = reading.estimate()
    if reading.source == "counted":
        return usage, "counted", rule
    return {"input": call.input_estimate, **usage}, "estimated", f"{ESTIMATE_RULE}+{rule}"


def _one_line(raw: bytes) -> bytes:
    """A provider's JSON as a record may hold it: some (OpenAI) print theirs over several lines."""
    return msgspec.json.format(raw, indent=-1) if raw.find(b"\n") >= 0 or raw.find(b"\t") >= 0 else raw
