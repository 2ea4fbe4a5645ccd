"""The response cache: answers of deterministic calls given again, inside one tenant, where a rule says so.

Pure: `key` (which calls, and when two are the same), `directives`, `keeping`, `fuse`. State without waiting: `memory`,
`flight`. The shell: `cache`, over the port `Shelf`, whose adapter is `server`. It imports nothing of the gateway.
"""

from interlock.caching.cache import Cache, Question, told_of
from interlock.caching.directives import Directives, read_directives
from interlock.caching.flight import Call, Flight, Head, Listener, Seat, Told
from interlock.caching.keeping import Entry, age_s, kept_lines
from interlock.caching.key import key_of, members_of, why_not
from interlock.caching.opening import open_shelf
from interlock.caching.ports import Shelf
from interlock.caching.settings import Caching, Settings

__all__ = [
    "Cache",
    "Caching",
    "Call",
    "Directives",
    "Entry",
    "Flight",
    "Head",
    "Listener",
    "Question",
    "Seat",
    "Settings",
    "Shelf",
    "Told",
    "age_s",
    "kept_lines",
    "key_of",
    "members_of",
    "open_shelf",
    "read_directives",
    "told_of",
    "why_not",
]
