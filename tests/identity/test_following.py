"""A worker that follows a stream: nobody is forgotten whose record was folded before one that could not be read."""

from collections.abc import Iterator
from pathlib import Path

from interlock.errors import TransientError
from interlock.identity import CREDITS, Following, Generation
from interlock.log import Record, Stored
from interlock.units import INT64_MAX


class Names:
    """A fold of records whose payload is a name."""

    def __init__(self) -> None:
        self.seq = 0

    def apply(self, stored: Stored) -> str | None:
        self.seq = stored.seq
        return stored.record.payload.decode()


class Breaking:
    """A log that breaks once, in the middle of what is read."""

    def __init__(self, *names: str) -> None:
        self.names, self.breaks = names, True

    def read_after(self, stream: str, seq: int) -> list[Stored]:
        return self._read(seq)  # type: ignore[return-value]  # an iterator breaks where a list cannot

    def _read(self, seq: int) -> Iterator[Stored]:
        for at, name in enumerate(self.names[seq:], seq + 1):
            yield Stored(
                stream="s", seq=at, chain=b"", record=Record(id=name, type="t", payload=name.encode(), at_ns=0)
            )
            if self.breaks:
                self.breaks = False
                raise TransientError("the disk", code="log_unavailable")


class Followed(Following[str, str]):
    def look(self, who: str, now_ns: int) -> tuple[str | None, int]:
        return (None if who == "nobody" else f"{who} at {now_ns}"), 50 if who == "b" and now_ns < 50 else INT64_MAX


def test_what_was_folded_before_a_fault_is_told_after_it(tmp_path: Path) -> None:
    generation = Generation(tmp_path)
    followed = Followed(Breaking("a", "b", "nobody"), generation, CREDITS, "s", Names())
    assert followed.changed(1) == []
    generation.raise_to(CREDITS, 3)
    assert followed.changed(2) is None
    assert sorted(followed.changed(3) or ()) == ["a at 3", "b at 3"]
    assert followed.changed(49) == ()
    assert followed.changed(50) == ["b at 50"]
    assert followed.changed(51) == ()
    generation.close()
