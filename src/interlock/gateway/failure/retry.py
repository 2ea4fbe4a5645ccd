"""One fault: who may be asked next, what it says about deployment and key, and how long to wait. No state, no clock.

Only attempts of which the client has not seen a word are judged here. Whether the request had been sent makes no
difference: an inference changes nothing at the provider, so asking again is safe; it may cost twice, and both attempts
are metered. What a client has begun to see is never asked for again from the start (`on_cut` goes on from there).
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from hashlib import blake2b
from typing import Literal

import msgspec

from interlock.gateway.policy import Retries

AFTER_S_MAX = 86_400.0
"""A day: daily quotas are the longest that providers tell; more is an error, or not worth remembering."""
_NUMBER = re.compile(rb"[0-9]{1,12}(\.[0-9]{0,9})?")
_DATE_BYTES_MAX = 40


class Action(Enum):
    """Who may be asked after a fault."""

    NEVER = "never"
    """Nobody: the request itself is at fault, or was refused. A refusal is never routed around."""
    NEXT = "next"
    """Other deployments; this one would answer so again."""
    AGAIN = "again"
    """Other deployments first; this one too in a later round, as it may pass."""


class Fault(msgspec.Struct, frozen=True):
    """What one fault means."""

    action: Action
    counts: bool = False
    """Towards the deployment's circuit: it is the upstream's own fault."""
    key: Literal["", "limited", "refused"] = ""
    """What it says about the credential that was used; another one of the deployment may be asked at once."""


_AGAIN, _NEXT, _NEVER = Fault(Action.AGAIN), Fault(Action.NEXT), Fault(Action.NEVER)
_BROKEN = Fault(Action.AGAIN, counts=True)

_STATUSES: Mapping[int, Fault] = {
    401: Fault(Action.NEXT, key="refused"),
    402: Fault(Action.NEXT, key="refused"),  # the account behind the key has no money
    403: Fault(Action.NEXT, key="refused"),
    404: _NEXT,  # the model is not there, or not for this account
    408: _AGAIN,
    409: _AGAIN,  # OpenAI's and Anthropic's SDKs try again, too: a lock was held
    424: _BROKEN,  # Bedrock's: the model failed
    429: Fault(Action.AGAIN, key="limited"),
    501: _NEXT,
    505: _NEXT,
}
"""Every other 4xx is the request's own (400, 413, 422; content filters answer 400); every other 5xx may pass."""

_CODES: Mapping[str, Fault] = {
    "upstream_unreachable": _BROKEN,  # DNS, refused, TLS: nothing was sent
    "upstream_timeout": _BROKEN,
    "upstream_closed": _BROKEN,
    "upstream_error": _BROKEN,  # an error without a status, in a stream
    # A cut-off or garbled answer was paid for, and one that is wrong in kind comes again: only somebody else is asked.
    "upstream_invalid": Fault(Action.NEXT, counts=True),
    "upstream_auth": _NEXT,  # without a status: our own credential cannot be read or made
    "busy": _AGAIN,  # our own queue is full
    "withdrawn": _NEXT,  # by the operator, between the decision and the send
}
"""Codes that are not here (`internal`, `log_unavailable`) are ours, and asking another upstream mends nothing."""


def judge(code: str, status: int, *, again: bool | None = None) -> Fault:
    """What a fault means.

    Args:
        code: of interlock.errors.CODES.
        status: of the upstream's answer, or what its error event amounts to; 0: there was none.
        again: what the upstream said of trying again (`should_retry`). False makes AGAIN a NEXT, and a 429 then is
            about the request, not the key; True changes nothing: what is refused is refused.
    """
    if status >= 400 and code in ("upstream_error", "upstream_auth"):
        fault = _STATUSES.get(status) or (_NEVER if status < 500 else _BROKEN)
    else:
        fault = _CODES.get(code, _NEVER)
    if again is False and fault.action is Action.AGAIN:
        return msgspec.structs.replace(fault, action=Action.NEXT, key="")
    return fault


def should_retry(headers: Mapping[bytes, bytes]) -> bool | None:
    """`x-should-retry`, which OpenAI and Anthropic send to their SDKs; None: not said."""
    return {b"true": True, b"false": False}.get(headers.get(b"x-should-retry", b"").strip().lower())


def retry_after_s(headers: Mapping[bytes, bytes], now_unix_s: float) -> float | None:
    """Seconds that the upstream asks to be left alone, 0 to `AFTER_S_MAX`; None: not said, or not readable.

    `retry-after-ms` before `retry-after` (seconds, or an HTTP date). The `ratelimit-*-reset` headers are not read: they
    say when a window is fresh again, which is later than when a request would be let in.
    Args:
        headers: names in lower case.
    Source: RFC 9110, 10.2.3; the official SDKs, for the order and for fractions.
    """
    told = _number(headers.get(b"retry-after-ms", b""))
    if told is not None:
        return min(told / 1000, AFTER_S_MAX)
    value = headers.get(b"retry-after", b"")
    told = _number(value)
    if told is None:
        told = _date(value, now_unix_s)
    return None if told is None else min(max(told, 0.0), AFTER_S_MAX)


def _number(value: bytes) -> float | None:
    value = value.strip()
    return float(value) if _NUMBER.fullmatch(value) else None


def _date(value: bytes, now_unix_s: float) -> float | None:
    if not 0 < len(value) <= _DATE_BYTES_MAX:
        return None
    try:
        date = parsedate_to_datetime(value.decode("ascii"))
        # asctime's form, which RFC 9110 still allows, names no zone and means UTC
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_unix_s
    except (ValueError, TypeError, IndexError, OverflowError):  # whatever the parser makes of garbage
        return None


def wait_s(
    round: int, told_s: float | None, key: str, retries: Retries, *, left_s: float = float("inf")
) -> float | None:
    """Seconds to wait before a round of retries; None: it is not worth it.

    Full jitter over a window that doubles with each round, drawn from `key`, so that calls that failed together do not
    come back together, and the same call always waits the same. What the upstream told is waited for in any case; the
    jitter comes on top.
    Args:
        round: counts from 1.
        told_s: the shortest Retry-After among those who may be asked again; None: none was told.
        key: the request's id.
        left_s: until the call's own deadline.
    """
    if not 0 < round <= retries.rounds or (told_s or 0.0) > retries.wait_s_max:
        return None
    window_s = min(retries.backoff_s * 2.0 ** (round - 1), retries.wait_s_max)
    wait = min((told_s or 0.0) + window_s * _fraction(f"{key}/{round}"), retries.wait_s_max)
    return wait if wait < left_s else None


def _fraction(text: str) -> float:
    """In [0, 1), even over texts."""
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=6).digest(), "big") / (1 << 48)
