"""docs/guard.md: every kind is listed as it describes itself, the bounds are the code's, the example runs."""

import re
from pathlib import Path

from interlock.guard import COUNT_MAX, KINDS
from interlock.guard.detector import CANDIDATES_MAX
from interlock.guard.kind import WORD_AFTER, WORD_BEFORE
from interlock.guard.patterns import PATTERNS_MAX, PROGRAM_MAX, PROGRAMS_MAX, REGEX_CHARS_MAX

PAGE = (Path(__file__).parents[2] / "docs" / "guard.md").read_text()


def test_every_kind_is_listed() -> None:
    rows = re.findall(r"^\| `([a-z0-9.-]+)` \| ([^|]*) \|", PAGE, re.MULTILINE)
    assert dict(rows) == dict(KINDS)
    assert len(rows) == len(KINDS)


def test_bounds_are_as_the_page_says() -> None:
    for text in (
        f"At most {COUNT_MAX} of a kind are counted. At most {CANDIDATES_MAX:,} candidates are judged",
        f"in the {WORD_BEFORE} bytes before the number or in the {WORD_AFTER} after it",
        f"more than {REGEX_CHARS_MAX} characters, more than {PROGRAM_MAX} compiled instructions",
        f"; {PATTERNS_MAX} patterns, or {PROGRAMS_MAX:,} instructions together",
    ):
        assert text in PAGE, text


def test_the_example_says_what_comes_out() -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    made, said = (
        block.split("detector.scan(", 1)[0],
        re.findall(r"^(detector.*?\))  # (\(.*?\))(?::|$)", block, re.MULTILINE),
    )
    names: dict[str, object] = {}
    exec(made, names)
    assert len(said) == 2
    for call, shown in said:
        assert repr(eval(call, names)).replace("'", '"') == shown
