"""A JSON object of a request, taken field by field: types are checked, and what nobody took becomes a field.

So nothing that a client says can be overlooked: a name that no reader takes ends in `Ask.fields`, where a writer says
it or `settle_fields` refuses it. It knows types, and no field of any format but `cache_control`.
"""

import math
from typing import Any

import msgspec

from interlock.errors import LocalError
from interlock.gateway.wire.content import bounded, name_of

_INT_MAX = 1 << 53
"""The largest integer that every JSON reader holds exactly."""
_NAME_CHARS_MAX = 100


class Taken:
    """One object. Each method but `says` and `at` takes a member out of it; null counts as not said.

    `path`: where it stands in the client's request, empty for the request itself. `fields`: those of the whole request.
    """

    __slots__ = ("_left", "fields", "path")

    def __init__(self, value: object, path: str, fields: dict[str, Any]) -> None:
        if type(value) is not dict:
            raise wrong(path or "body", "an object", value)
        self._left: dict[str, Any] = dict(value)
        self.path = path
        self.fields = fields

    def at(self, name: str) -> str:
        """The path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def says(self, name: str) -> bool:
        """Whether a member is there and not null."""
        return self._left.get(name) is not None

    def value(self, name: str) -> Any:
        """Whatever it is; None: not said."""
        return self._left.pop(name, None)

    def skip(self, *names: str) -> None:
        """Members that are left out knowingly."""
        for name in names:
            self._left.pop(name, None)

    def skip_default(self, name: str, default: object) -> None:
        """A member that is left out if it only states the format's default."""
        if self._left.get(name) == default:
            self._left.pop(name, None)

    def text(self, name: str) -> str:
        """A string; empty: not said."""
        value: str | None = self._of(name, str, "a string")
        return value or ""

    def needed(self, name: str) -> str:
        """A string that must be there."""
        if self._left.get(name) is None:
            raise LocalError(f"{self.at(name)} is missing", field=self.at(name))
        return self.text(name)

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value: bool | None = self._of(name, bool, "true or false")
        return value

    def integer(self, name: str) -> int | None:
        """A whole number of at most 53 bits."""
        value: int | None = self._of(name, int, "a whole number")
        if value is not None and abs(value) > _INT_MAX:
            raise LocalError(f"{self.at(name)} is too large a number", field=self.at(name))
        return value

    def count(self, name: str) -> int | None:
        """A whole number from 0."""
        value = self.integer(name)
        if value is not None and value < 0:
            raise LocalError(f"{self.at(name)} must be a whole number from 0", field=self.at(name))
        return value

    def number(self, name: str) -> float | None:
        """A finite number."""
        if type(self._left.get(name)) is int:
            return self.integer(name)
        value: float | None = self._of(name, float, "a number")
        if value is not None and not math.isfinite(value):
            raise LocalError(f"{self.at(name)} is too large a number", field=self.at(name))
        return value

    def mapping(self, name: str) -> dict[str, Any] | None:
        """An object, as it is."""
        value: dict[str, Any] | None = self._of(name, dict, "an object")
        return value

    def needed_mapping(self, name: str) -> dict[str, Any]:
        """An object that must be there."""
        value = self.mapping(name)
        if value is None:
            raise LocalError(f"{self.at(name)} is missing", field=self.at(name))
        return value

    def inner(self, name: str) -> "Taken":
        """An object, to be taken field by field; without members if it was not said."""
        return Taken(self.mapping(name) or {}, self.at(name), self.fields)

    def entries(self, name: str) -> list[Any]:
        """A list; empty: not said."""
        value: list[Any] | None = self._of(name, list, "a list")
        return bounded(value or [], self.at(name))

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        values = self.entries(name)
        for index, value in enumerate(values):
            if type(value) is not str:
                raise wrong(f"{self.at(name)}[{index}]", "a string", value)
        return values

    def cache(self) -> str:
        """A cache breakpoint, as `Part.cache` and `Tool.cache` hold it."""
        value = self.mapping("cache_control")
        return "" if value is None else compact(value)

    def settle(self) -> None:
        """What nobody took is a field of the request.

        Raises: LocalError: a name that is none: a path made of it could be taken for another field's.
        """
        for name, value in self._left.items():
            if not (name.isascii() and name.isidentifier() and len(name) <= _NAME_CHARS_MAX):
                said = name[:_NAME_CHARS_MAX]
                raise LocalError(f"{said!r} is not the name of a field", field=self.path or "body")
            if value is not None:
                self.fields[self.at(name)] = value

    def _of(self, name: str, kind: type, expected: str) -> Any:
        value = self._left.pop(name, None)
        if value is not None and type(value) is not kind:
            raise wrong(self.at(name), expected, value)
        return value


def compact(value: object) -> str:
    """JSON text without spaces; numbers keep their value, and whether they are whole."""
    return msgspec.json.encode(value).decode()


def wrong(path: str, expected: str, value: object) -> LocalError:
    """The refusal of a value of the wrong type."""
    return LocalError(f"{path} must be {expected}, not {name_of(value)}", field=path)


def unknown(path: str, what: str, value: object, understood: tuple[str, ...]) -> LocalError:
    """The refusal of one of several words that is none of them."""
    said = f"{value[:_NAME_CHARS_MAX]!r}" if isinstance(value, str) else name_of(value)
    return LocalError(f"{path}: {what} {said} is not understood; understood: {', '.join(understood)}", field=path)
