"""Fields that an `Ask` has no place for, put back where the client said them when the target speaks its format."""

from typing import Any

import msgspec

from interlock.gateway.translate.neutral import Ask
from interlock.ledger import Format


class Own:
    """`ask.fields` by the object that they stand in, if the client's format is this one; else nothing.

    `taken`: the paths that were put back.
    """

    def __init__(self, ask: Ask, format: Format) -> None:
        self.is_own = ask.format == format
        self.taken: set[str] = set()
        self._held: dict[str, dict[str, Any]] = {}
        for path, value in ask.fields.items() if self.is_own else ():
            holder, _, name = path.rpartition(".")
            self._held.setdefault(holder, {})[name] = value

    def holders(self, name: str) -> list[str]:
        """The paths of the objects in which a field of that name was said."""
        return [path for path, held in self._held.items() if name in held]

    def within(self, path: str) -> dict[str, Any]:
        """What the client said beside it in the object at `path`, by name; it counts as put back."""
        held = self._held.get(path, {})
        self.taken.update(f"{path}.{name}" if path else name for name in held)
        return {name.removesuffix("[]"): value for name, value in held.items()}

    def put(self, entry: dict[str, Any], path: str) -> dict[str, Any]:
        """The entry, with what stands at its path; what the gateway put in by itself has none."""
        if path and self._held:
            entry |= self.within(path)
        return entry

    def cache(self, entry: dict[str, Any], cache: str, path: str, dropped: list[str]) -> None:
        """A cache breakpoint: back where the client set it; a format that has none lists others'."""
        if cache and self.is_own:
            entry["cache_control"] = msgspec.json.decode(cache)
        elif cache:
            dropped.append(f"{path}.cache_control")
