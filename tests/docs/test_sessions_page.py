"""docs/sessions.md lists every event type, and who writes it, as the code has them."""

import re
from pathlib import Path
from typing import get_args

from interlock.runtime.sessions.event import (
    INLINE_BYTES_MAX,
    Answer,
    Cancelled,
    Compacted,
    Created,
    Event,
    Forked,
    Raised,
    Said,
)
from interlock.runtime.sessions.event import Ended as End

PAGE = (Path(__file__).parents[2] / "docs" / "sessions.md").read_text()
PEOPLES = {Created, Cancelled, Compacted, Forked, Raised, Said, Answer}


def test_every_event_type_is_there_with_who_writes_it() -> None:
    shown = dict(re.findall(r"^\| `([a-z]+\.[a-z]+)` \| .* \| (people|brain) \|$", PAGE, re.MULTILINE))
    assert shown == {
        str(kind.__struct_config__.tag): "people" if kind in PEOPLES else "brain" for kind in get_args(Event)
    }


def test_the_reasons_and_sizes_are_those_of_the_code() -> None:
    (row,) = re.findall(r"^\| `turn.ended` \| the turn is over: (.*) \| brain \|$", PAGE, re.MULTILINE)
    assert row.split(", ") == list(get_args(End.__annotations__["reason"]))
    assert f"over {INLINE_BYTES_MAX >> 10} KiB" in PAGE
