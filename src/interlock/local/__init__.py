"""The local tier: a small real model with no key, account or network, served by llama.cpp as a managed child.

It knows nothing of the gateway: to that it is one more upstream.
"""

from interlock.local.child import KEY_ENV, Health, LocalModel
from interlock.local.fetching import fetch
from interlock.local.models import SMOLLM2, SOURCES, Source, find

__all__ = ["KEY_ENV", "SMOLLM2", "SOURCES", "Health", "LocalModel", "Source", "fetch", "find"]
