"""Which shelf the settings mean. The server's client is imported only where there is a server."""

from collections.abc import Callable

from interlock.caching.ports import Shelf
from interlock.caching.settings import Settings


def open_shelf(settings: Settings, now_s: Callable[[], float]) -> Shelf | None:
    """The shelf; None: the settings name none. Nothing is connected yet.

    Args:
        now_s: seconds of a monotonic clock.
    Raises: LocalError: its password cannot be read; OSError: nor can its `ca_bundle`.
    """
    if not settings.url:
        return None
    from interlock.caching.server import ServerShelf

    return ServerShelf(settings, now_s)
