"""The decisions of failure: what follows a fault, when, with which key, and who is left alone for a while. All pure.

retry.py judges one fault; breaker.py keeps a deployment's record of them, keys.py that of its credentials. The caller
has the clock, the journal and the connections. docs/faults.md is the table for users.
"""

from interlock.gateway.failure.breaker import STRAY, Circuit
from interlock.gateway.failure.keys import Keys
from interlock.gateway.failure.retry import Action, Fault, judge, retry_after_s, should_retry, wait_s

__all__ = [
    "STRAY",
    "Action",
    "Circuit",
    "Fault",
    "Keys",
    "judge",
    "retry_after_s",
    "should_retry",
    "wait_s",
]
