"""Where the values of a request's top-level members stand in its bytes, and the bytes with some of them changed.

For bodies that `request.read` accepted. What is not changed stays byte for byte as the client wrote it.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from interlock.gateway.wire.scan import find


class Span(NamedTuple):
    """A value in the text; offsets, the end exclusive."""

    start: int
    end: int


class Edit(NamedTuple):
    """Other bytes in place of those from `start` to `end`."""

    start: int
    end: int
    bytes: bytes


_top = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_listed = msgspec.json.Decoder(list[msgspec.Raw]).decode


def value_of(body: bytes, name: str) -> Span | None:
    """Where the value of the top-level member `name` stands; None: there is none."""
    raw = _top(body).get(name)
    if raw is None:
        return None
    at = body.index(raw)
    if body.find(raw, at + 1) >= 0:  # the same text stands elsewhere too: only a scan can tell which is which
        member = find(body, name)
        assert member is not None, "it was decoded"
        at = member.value_start
    return Span(at, at + len(bytes(raw)))


def entries_of(body: bytes, list_: Span) -> list[Span]:
    """Where the entries of a list stand, in order."""
    spans: list[Span] = []
    at = list_.start + 1
    for raw in _listed(body[list_.start : list_.end]):
        start = body.index(raw, at)  # past a comma and white space, never further
        at = start + len(bytes(raw))
        spans.append(Span(start, at))
    return spans


def cuts(entries: Sequence[Span], gone: Collection[int]) -> Iterator[Edit]:
    """What takes some of a list's entries out, with a comma each; not all of them."""
    kept_before = False
    for index, (start, end) in enumerate(entries):
        if index not in gone:
            kept_before = True
        elif kept_before:
            yield Edit(entries[index - 1].end, end, b"")
        else:
            yield Edit(start, entries[index + 1].start, b"")


def edited(body: bytes, edits: Iterable[Edit]) -> bytes:
    """The text with all edits made; they may touch, but not overlap."""
    pieces: list[bytes | memoryview] = []
    rest, at = memoryview(body), 0
    for edit in sorted(edits):
        pieces += (rest[at : edit.start], edit.bytes)
        at = edit.end
    return b"".join((*pieces, rest[at:]))
