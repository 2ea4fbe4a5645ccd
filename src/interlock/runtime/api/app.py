"""The Starlette application of the runtime's process. Who may ask was checked before: see `control.relay`."""

from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from interlock.answers import on_error
from interlock.errors import InterlockError
from interlock.runtime.api.paths import SessionPaths
from interlock.runtime.api.places import Places
from interlock.runtime.api.stream import StreamPath
from interlock.runtime.brain.feed import Feed
from interlock.runtime.hands import Hands
from interlock.runtime.sessions.ports import Store
from interlock.runtime.sessions.service import Sessions


def make_app(sessions: Sessions, store: Store, feed: Feed, hands: Mapping[str, Hands]) -> tuple[Starlette, Places]:
    """The application, and the terminals that it has open."""
    paths = SessionPaths(sessions, store, hands)
    places = Places(paths, sessions, hands)
    handlers: Mapping[Any, Any] = {InterlockError: on_error, HTTPException: on_error, Exception: on_error}
    routes = [*paths.routes(), StreamPath(paths, sessions, store, feed).route(), *places.routes()]
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app, places
