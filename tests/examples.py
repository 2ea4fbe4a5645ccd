"""How many examples a property has: a few in every run, many in `make soak`."""

import os

SOAKING = "INTERLOCK_TEST_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("INTERLOCK_TEST_EXAMPLES", "40"))
"""Of a property that does not say how many it wants."""


def at_least(wanted: int) -> int:
    """For a property that needs so many to be worth running; a soak's number, if that is more."""
    return max(wanted, EXAMPLES)
