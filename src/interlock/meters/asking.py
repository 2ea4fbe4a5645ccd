"""Threads for questions alone: taking events must not wait for them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from interlock.errors import TransientError

THREADS = 2
ASKING_MAX = 64
"""Questions that wait or are answered."""

P = ParamSpec("P")
T = TypeVar("T")


class Asking:
    """Of one process; asked on one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="questions")
        self._asking = 0  # only the event loop's thread touches it

    async def ask(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """What `work` returns. Raises: TransientError `busy`, and what it raises."""
        if self._asking >= ASKING_MAX:
            raise TransientError("too many questions wait for an answer; retry", code="busy")
        self._asking += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, partial(work, *args, **options))
        finally:
            self._asking -= 1

    def close(self) -> None:
        """Answer those that are being answered, and no others."""
        self._threads.shutdown(cancel_futures=True)
