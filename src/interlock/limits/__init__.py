"""Limits on requests, tokens, calls at once and money: reserved before a call, settled after it, never one too many."""

from interlock.limits.call import Actual, Claim, Denied, Held, NeedsLease, Standing
from interlock.limits.division import Lessee, Times
from interlock.limits.entitled import PLAN_PREFIX, Entitled
from interlock.limits.forecasting import Course, Forecast, Recent, forecast
from interlock.limits.headers import headers
from interlock.limits.leases import Leases
from interlock.limits.limit import MEASURES, Limit, Measure, Scope, Window, begin_ns, end_ns, problems, since_ns
from interlock.limits.limiter import Limiter
from interlock.limits.matching import Matcher
from interlock.limits.page import Page
from interlock.limits.ports import Answer, Ask, Authority, Funds, Plans, Told
from interlock.limits.recovery import Spent, restore, worker_died
from interlock.limits.survey import Caller, Counter, survey
from interlock.limits.warning import Crossing, Notice
from interlock.limits.webhook import Webhook

__all__ = [
    "MEASURES",
    "PLAN_PREFIX",
    "Actual",
    "Answer",
    "Ask",
    "Authority",
    "Caller",
    "Claim",
    "Counter",
    "Course",
    "Crossing",
    "Denied",
    "Entitled",
    "Forecast",
    "Funds",
    "Held",
    "Leases",
    "Lessee",
    "Limit",
    "Limiter",
    "Matcher",
    "Measure",
    "NeedsLease",
    "Notice",
    "Page",
    "Plans",
    "Recent",
    "Scope",
    "Spent",
    "Standing",
    "Times",
    "Told",
    "Webhook",
    "Window",
    "begin_ns",
    "end_ns",
    "forecast",
    "headers",
    "problems",
    "restore",
    "since_ns",
    "survey",
    "worker_died",
]
