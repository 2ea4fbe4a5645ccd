"""What an append does to a stream, decided from what stands there.

Pure: the memory and SQLite adapters load what it asks for, call it, and perform its answer. The journal does not use
it: it keeps no index of ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interlock.log.record import Appended, Conflict, Record, Stored, chain_next, head_json, same


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Records to write, in order, and the answer once they stand."""

    new: tuple[tuple[Stored, bytes], ...]
    """Each with its head as stored."""
    answer: Appended


def decide_append(
    stream: str,
    head: int,
    chain: bytes,
    records: Sequence[Record],
    stands: Mapping[str, tuple[int, Record]],
    expect: int | None,
) -> Conflict | Write:
    """Decide one append.

    Args:
        head, chain: the stream's last seq and the chain value after it.
        stands: of the ids in `records`, those that stand already: seq and record.
        expect: what the caller believes `head` to be. A pure retry (everything stands already) is answered as such
            even if the stream has moved on: otherwise a lost answer could never be asked for again.
    """
    seen = dict(stands)
    new: list[tuple[Stored, bytes]] = []
    seqs: list[int] = []
    last = head
    for record in records:
        found = seen.get(record.id)
        if found is None:
            last += 1
            head_bytes = head_json(last, record)
            chain = chain_next(chain, head_bytes)
            new.append((Stored(stream=stream, seq=last, record=record, chain=chain), head_bytes))
            found = seen[record.id] = (last, record)
        elif not same(found[1], record):
            return Conflict(record.id, found[0])
        seqs.append(found[0])
    if new and expect is not None and expect != head:
        return Conflict(None, head)
    return Write(new=tuple(new), answer=Appended(tuple(seqs), last))
