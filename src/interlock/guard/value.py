"""What is asked of the detectors, and what they say. A detection never holds what was found."""

import msgspec


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """Content that the operator calls sensitive."""

    name: str
    """Lower case letters, digits, dots and dashes, at most 64. It is reported as `pattern.NAME`."""
    regex: str
    """RE2's syntax. It has to match something: a text that may be empty is refused."""


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of sensitive content, and how often."""

    kind: str
    """Dotted, of `KINDS`, or `pattern.NAME`."""
    count: int
    """At least 1; counting ends at `COUNT_MAX`."""
