"""Sandboxes beside each other on one workspace: an agent's, and those of people's files and terminals.

Each has the workspace's temporary directory as its /tmp. It is cleared for the first, and not under those that are
there when another comes.
"""

import asyncio
import weakref
from collections.abc import Callable
from typing import TypeVar

from interlock.runtime.hands.box import Box
from interlock.runtime.hands.workspace import Workspace

B = TypeVar("B", bound=Box)


class Beside:
    """The live sandboxes of one kind."""

    def __init__(self) -> None:
        self._boxes = weakref.WeakSet[Box]()
        self._locks = weakref.WeakValueDictionary[str, asyncio.Lock]()

    async def join(self, workspace: Workspace, make: Callable[[], B]) -> B:
        """Make one more, its /tmp cleared if it is the only one on its workspace."""
        lock = self._locks.setdefault(workspace.id, asyncio.Lock())  # between the look and the making nobody else comes
        async with lock:
            if not any(box.workspace.id == workspace.id and not box.gone for box in self._boxes):
                await asyncio.to_thread(workspace.clear_temporary)
            box = make()
            self._boxes.add(box)
            return box
