"""Limits on requests, tokens, calls at once and money: reserved before a call, settled after it, never one too many."""

from interlock.limits.call import Actual, Claim, Denied, Held, NeedsLease, Standing
from interlock.limits.division import Lessee, Times
from interlock.limits.headers import headers
from interlock.limits.leases import Leases
from interlock.limits.limit import MEASURES, Limit, Measure, Scope, Window, problems, since_ns
from interlock.limits.limiter import Limiter
from interlock.limits.page import Page
from interlock.limits.ports import Answer, Ask, Authority, Told
from interlock.limits.recovery import Spent, restore, worker_died
from interlock.limits.survey import Caller, Counter, survey
from interlock.limits.warning import Crossing
from interlock.limits.webhook import Webhook

__all__ = [
    "MEASURES",
    "Actual",
    "Answer",
    "Ask",
    "Authority",
    "Caller",
    "Claim",
    "Counter",
    "Crossing",
    "Denied",
    "Held",
    "Leases",
    "Lessee",
    "Limit",
    "Limiter",
    "Measure",
    "NeedsLease",
    "Page",
    "Scope",
    "Spent",
    "Standing",
    "Times",
    "Told",
    "Webhook",
    "Window",
    "headers",
    "problems",
    "restore",
    "since_ns",
    "survey",
    "worker_died",
]
