"""Egress: nobody is reached from a sandbox unless listed, and each attempt is told. docs/egress.md."""

from interlock.runtime.hands.egress.allowed import parse
from interlock.runtime.hands.egress.proxy import Egress
from interlock.runtime.hands.egress.report import (
    NAMES_PORT,
    NSSWITCH_CONF,
    PROXY_PORT,
    RESOLV_CONF,
    Connected,
    Limits,
    arguments,
    environment,
    ports,
)
from interlock.runtime.hands.egress.room import Admission, Door
from interlock.runtime.hands.egress.stray import Stray

__all__ = [
    "NAMES_PORT", "NSSWITCH_CONF", "PROXY_PORT", "RESOLV_CONF", "Admission", "Connected", "Door", "Egress", "Limits",
    "Stray", "arguments", "environment", "parse", "ports",
]  # fmt: skip
