"""[guard]: what is sensitive here."""

from interlock.config.reading import Table
from interlock.errors import LocalError
from interlock.gateway import Guard
from interlock.guard import KINDS, Detector, Pattern

KINDS_MAX = 256


def read_guard(table: Table) -> Guard:
    """The kinds and the operator's own patterns; every mistake of a pattern is named by its own name."""
    families = sorted({name.partition(".")[0] for name in KINDS})
    known = (*families, *KINDS)
    kinds = table.strings(
        "kinds",
        rule="a kind of docs/guard.md, or what stands before its dot",
        check=known.__contains__,
        close=known,
        most=KINDS_MAX,
    )
    inner = table.table("patterns")
    patterns: list[Pattern] = []
    for name in list(inner.values):
        regex = inner.text(name, rule="a regular expression in RE2's syntax, 1 to 512 characters")
        pattern = Pattern(name=name, regex=regex)
        if regex and not (why := _objection((pattern,))):
            patterns.append(pattern)
        elif regex:
            inner.problem(name, why)
    inner.done()
    table.done()
    if why := _objection(tuple(patterns)):
        table.problem("patterns", why)
    return Guard(kinds=kinds, patterns=tuple(patterns))


def _objection(patterns: tuple[Pattern, ...]) -> str:
    try:
        Detector(patterns, ())
    except LocalError as error:
        return error.message
    return ""
