"""Files of the tables merged beside the work; a disk without room for it leaves more files, and answers."""

import logging
from collections.abc import Callable

from interlock.clock import Clock
from interlock.errors import LocalError, TransientError
from interlock.tables import Tables

AGAIN_S = 60.0
"""After one that failed."""

_log = logging.getLogger(__name__)


class Merging:
    """For the thread that fills the tables."""

    def __init__(self, clock: Clock, stopping: Callable[[], bool]) -> None:
        self._clock = clock
        self._stopping = stopping
        self._again_ns = 0

    def step(self, tables: Tables) -> bool:
        """One merge, if one is due; whether there was. Raises: Damaged."""
        if self._clock.monotonic_ns() < self._again_ns:
            return False
        try:
            return tables.compact(self._stopping)
        except (TransientError, LocalError) as error:
            _log.warning("the meters' tables cannot be merged: %s", error)
            self._again_ns = self._clock.monotonic_ns() + int(AGAIN_S * 1e9)
            return False
