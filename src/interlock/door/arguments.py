"""Whether a call's arguments are what the tool's schema asks for. Pure, and bounded: the schema is the upstream's.

No reference leaves the schema, patterns run in RE2 (which takes time linear in the text), and references that unfold
without end stop at a count. What cannot be checked here (a pattern of backreferences) is the upstream's to check.
"""

import functools
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import re2
from jsonschema import validators
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

REFERENCES_MAX = 10_000
MESSAGE_CHARS_MAX = 300
CHECKERS_MAX = 1024


class _TooCostly(Exception):
    """The schema unfolds without end."""


class Checker:
    """One tool's schema, read once."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """A schema that is none is found out at the first check."""
        self._schema = schema
        self._left = 0
        self._turn = threading.Lock()  # protects the count: calls are checked on several threads
        kind = validators.validator_for(schema, default=validators.Draft202012Validator)
        self._broken = ""
        try:
            kind.check_schema(dict(schema))
        except (SchemaError, RecursionError) as error:
            self._broken = _short(getattr(error, "message", "it is nested too deeply"))
        counted = {name: self._counted(kind.VALIDATORS[name]) for name in _REFERENCES if name in kind.VALIDATORS}
        rules = {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": _additional}
        if "patternProperties" in str(schema):
            rules["unevaluatedProperties"] = _unchecked  # the library would match those patterns with `re`
        extend: Any = validators.extend  # the stubs have not typed it
        made = extend(kind, {**counted, **rules})
        self._validator = made(schema, registry=Registry())

    def problem(self, arguments: Any) -> str:
        """What is wrong, with the path of the argument; empty: nothing."""
        if self._broken:
            return f"the tool's own input schema is not one: {self._broken}"
        try:
            with self._turn:
                self._left = REFERENCES_MAX
                error = next(self._validator.iter_errors(arguments), None)
        except Unresolvable as unresolvable:
            return f"the tool's input schema refers to what is not in it: {_short(str(unresolvable.ref))}"
        except (_TooCostly, RecursionError):
            return "the tool's input schema takes too long to check"
        if error is None:
            return ""
        return f"{_place(error)}: {_short(error.message)}"

    def _counted(self, rule: Any) -> Any:
        def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            self._left -= 1
            if self._left < 0:
                raise _TooCostly
            yield from rule(validator, value, instance, schema) or ()

        return counted


@functools.lru_cache(maxsize=CHECKERS_MAX)
def checker(schema: bytes) -> Checker:
    """For a schema as JSON; made once, since that takes milliseconds."""
    return Checker(msgspec.json.decode(schema))


_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _found(pattern, instance):
        yield ValidationError(f"{_short(instance)!r} does not match {_short(str(pattern))!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, inner in patterns.items():
        for key, value in instance.items():
            if _compiled(pattern) is not None and _found(pattern, key):
                yield from validator.descend(value, inner, path=key, schema_path=pattern)


def _additional(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for key, value in instance.items():
        if key in named or any(_found(pattern, key) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError(f"{_short(key)!r} is not known here")
        elif isinstance(allowed, dict):
            yield from validator.descend(value, allowed, path=key)


def _unchecked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    yield from ()


def _found(pattern: Any, text: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.search(text) is not None


def _compiled(pattern: Any) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(str(pattern), options)
    except re2.error:  # RE2 knows no backreferences and no look-around
        return None


def _place(error: ValidationError) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    return _short("arguments" + path)


def _short(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS_MAX else f"{text[:MESSAGE_CHARS_MAX]}…"
