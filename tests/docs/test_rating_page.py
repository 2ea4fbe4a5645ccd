"""The commands in docs/rating.md, typed as they stand, and its tables against the plan's own fields and defaults."""

import os
import re
import sys
from pathlib import Path
from typing import get_args

import msgspec
from tests.docs.session import Terminal, same_shape, steps

from interlock.rating import Charge, Commitment, Discount, Plan, Price, Rounding, Tax, Taxes, Usage
from interlock.rating.plan import BlockTier, PercentTier, Tier, Window, WindowRule, Windows
from interlock.rating.usage import Bucket, Event

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rating.md").read_text()
NAMED = [
    Plan,
    Charge,
    Rounding,
    Taxes,
    Tax,
    Discount,
    Commitment,
    Tier,
    PercentTier,
    BlockTier,
    Window,
    Windows,
    WindowRule,
    Usage,
    Event,
    Bucket,
]


def test_the_session() -> None:
    kept = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    if "PYTHONPATH" in os.environ:
        kept["PYTHONPATH"] = os.environ["PYTHONPATH"]
    terminal = Terminal(ROOT, kept)
    try:
        typed = steps(PAGE)
        assert len(typed) == 2
        for step in typed:
            printed, status = terminal.type(step.command)
            assert status == 0, printed
            assert same_shape(step.shown, printed), (step.command, printed)
            assert [line for line in step.shown if line != "…" and line not in printed] == []
    finally:
        terminal.close()


def test_every_key_is_on_the_page() -> None:
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))
    for kind in [*NAMED, *get_args(Price)]:
        for field in msgspec.structs.fields(kind):
            assert field.encode_name in words, (kind.__name__, field.encode_name)
    for kind in get_args(Price):
        assert kind.__struct_config__.tag in words
