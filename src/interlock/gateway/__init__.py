"""The gateway: admit, read signals, decide, send, meter, answer. exchange.py is the life of a request."""

from interlock.credentials import Credential
from interlock.gateway.policy import (
    Affinity,
    Breaker,
    Deployment,
    Facts,
    Guard,
    Limits,
    Policy,
    Profile,
    Retries,
    Rule,
    Tier,
    Timeouts,
    When,
    version_of,
)
from interlock.gateway.routing import Candidate, Decision, Route, decide
from interlock.gateway.service import Gateway
from interlock.gateway.signals import Signals

__all__ = [
    "Affinity",
    "Breaker",
    "Candidate",
    "Credential",
    "Decision",
    "Deployment",
    "Facts",
    "Gateway",
    "Guard",
    "Limits",
    "Policy",
    "Profile",
    "Retries",
    "Route",
    "Rule",
    "Signals",
    "Tier",
    "Timeouts",
    "When",
    "decide",
    "version_of",
]
