"""Servers that did not answer, as operators are told of them."""

from interlock.door.absences import ABSENCES_MAX, WHY_CHARS_MAX, Absences
from interlock.identity import Bearer


def bearer(principal: str) -> Bearer:
    return Bearer(key_id="k", tenant="acme", principal=principal)


def test_the_last_look_of_each_principal_counts() -> None:
    absences = Absences()
    absences.failed("w", bearer("bob"), "no", 1.0)
    absences.failed("w", bearer("ada"), "x" * 1000, 2.0)
    absences.failed("w", bearer("bob"), "still no", 3.0)
    absences.failed("v", bearer("ada"), "no", 4.0)
    told = [(one["server"], one["principal"], one["why"], one["seen_s_ago"]) for one in absences.told(5.0)]
    assert told == [
        ("v", "ada", "no", 1.0),
        ("w", "ada", "x" * WHY_CHARS_MAX, 3.0),
        ("w", "bob", "still no", 2.0),
    ]
    absences.answered("w", bearer("bob"))
    absences.answered("w", bearer("eve"))
    absences.forget({"v"})
    assert [(one["server"], one["principal"]) for one in absences.told(5.0)] == [("w", "ada")]


def test_they_are_bounded() -> None:
    absences = Absences()
    for number in range(ABSENCES_MAX + 1):
        absences.failed("w", bearer(f"p{number}"), "no", 0.0)
    told = {one["principal"] for one in absences.told(0.0)}
    assert len(told) == ABSENCES_MAX and "p0" not in told
