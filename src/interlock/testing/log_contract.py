"""What every adapter of the port `interlock.log.Log` must do. Subclass it in a test module and give it `open_log`.

    class TestMyLog(LogContract):
        def open_log(self, directory): return my_async_context_manager(directory)

Each test runs on an empty log, on asyncio's loop in debug mode and on uvloop. What the suite cannot know is durability:
kill tests are the adapter's own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Any, TypeVar, cast

from interlock.errors import LocalError
from interlock.log import Appended, Conflict, Log, Record, Stored
from interlock.log.record import chain_next, chain_start, head_json
from interlock.testing.loops import LOOPS, run_on

_DEADLINE_S = 20.0
_BLOCKING_S = 0.5  # a call that waits for another writer on the loop would be past it; a busy test machine is not

Self = TypeVar("Self", bound="LogContract")


def record(id: str, payload: bytes = b'{"n":1}', *, type: str = "test.happened", at_ns: int = 1) -> Record:
    """A record for tests."""
    return Record(id=id, type=type, at_ns=at_ns, payload=payload)


def _on_log(
    test: "Callable[[Self, Log], Coroutine[Any, Any, None]]",
) -> "Callable[[Self, Path], None]":
    def run(self: "Self", tmp_path: Path) -> None:
        async def main() -> None:
            directory.mkdir()
            async with asyncio.timeout(_DEADLINE_S), self.open_log(directory) as log:
                await test(self, log)

        for loop in LOOPS:
            directory = tmp_path / loop
            run_on(loop, main, blocking_s=_BLOCKING_S)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def collect(records: AsyncIterator[Stored], count: int | None = None) -> list[Stored]:
    """The first `count` records, or all of a finite iterator; it is closed afterwards."""
    found: list[Stored] = []
    async with aclosing(cast("Any", records)) as rows:
        async for stored in rows:
            found.append(stored)
            if len(found) == count:
                break
    return found


class LogContract:
    """The suite."""

    ids_indexed = True
    """False for a log whose docstring says that an id appended twice stands twice (the journal)."""

    own_records = 0
    """How many records of its own the log writes to a stream before the first that is appended (the journal: one)."""

    def open_log(self, directory: Path) -> AbstractAsyncContextManager[Log]:
        """An empty log that may keep its files in `directory`."""
        raise NotImplementedError  # each adapter's test says how it is opened

    def appended(self, *ordinals: int, head: int) -> Appended:
        """The answer when the records are the n-th appended ones of the stream, and the last one is the `head`-th."""
        return Appended(tuple(n + self.own_records for n in ordinals), head + self.own_records)

    async def rows(self, log: Log, stream: str = "a/0") -> list[Stored]:
        """The appended records of a stream."""
        return await collect(log.read(stream, after=self.own_records))

    @_on_log
    async def test_an_unknown_stream_is_empty(self, log: Log) -> None:
        assert await log.head("a/0") == 0
        assert await collect(log.read("a/0")) == []
        assert await log.streams() == []

    @_on_log
    async def test_records_stand_in_order_with_their_chain(self, log: Log) -> None:
        records = [record("r1"), record("r2", b'{"s":"\xc3\xa9"}', at_ns=2**62), record('é \\ "quoted"')]
        assert await log.append("a/0", records[:2]) == self.appended(1, 2, head=2)
        assert await log.append("a/0", records[2:]) == self.appended(3, head=3)
        stored = await self.rows(log)
        assert [s.record for s in stored] == records
        assert [(s.stream, s.seq) for s in stored] == [("a/0", n + self.own_records) for n in (1, 2, 3)]
        own = await collect(log.read("a/0"), self.own_records) if self.own_records else []
        chain = own[-1].chain if own else chain_start("a/0")
        for s in stored:
            chain = chain_next(chain, head_json(s.seq, s.record, s.payload_sha256))
            assert s.chain == chain
        assert await log.head("a/0") == 3 + self.own_records

    @_on_log
    async def test_an_empty_append_writes_nothing(self, log: Log) -> None:
        assert await log.append("a/0", []) == Appended((), 0)
        assert await log.streams() == []

    @_on_log
    async def test_read_starts_after(self, log: Log) -> None:
        await log.append("a/0", [record(f"r{n}") for n in range(1, 6)])
        own = self.own_records
        assert [s.seq for s in await collect(log.read("a/0", after=3 + own))] == [4 + own, 5 + own]
        assert await collect(log.read("a/0", after=5 + own)) == []
        assert await collect(log.read("a/0", after=9 + own)) == []

    @_on_log
    async def test_read_ends_at_the_head_it_began_with(self, log: Log) -> None:
        await log.append("a/0", [record("r1"), record("r2")])
        seen = []
        async for stored in log.read("a/0", after=self.own_records):
            seen.append(stored.record.id)
            await log.append("a/0", [record(f"more{len(seen)}")])
        assert seen == ["r1", "r2"]

    @_on_log
    async def test_more_records_than_one_batch_are_read(self, log: Log) -> None:
        records = [record(f"r{n}", b'{"fill":"%b"}' % (b"x" * 900)) for n in range(1300)]
        await log.append("a/0", records)
        assert [s.record for s in await self.rows(log)] == records

    @_on_log
    async def test_streams_are_separate_and_sorted(self, log: Log) -> None:
        await log.append("b/1", [record("r1")])
        await log.append("a/0", [record("r1"), record("r2")])
        assert await log.streams() == ["a/0", "b/1"]
        assert (await log.head("a/0"), await log.head("b/1")) == (2 + self.own_records, 1 + self.own_records)

    @_on_log
    async def test_expect(self, log: Log) -> None:
        own = self.own_records
        assert await log.append("a/0", [record("r1")], expect=own) == self.appended(1, head=1)
        assert await log.append("a/0", [record("r2")], expect=own) == Conflict(None, 1 + own)
        assert await log.append("a/0", [record("r2")], expect=2 + own) == Conflict(None, 1 + own)
        assert await log.append("a/0", [record("r2")], expect=1 + own) == self.appended(2, head=2)

    @_on_log
    async def test_of_writers_that_expect_the_same_head_one_wins(self, log: Log) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(log.append("a/0", [record(f"r{n}")], expect=0 + self.own_records)) for n in range(8)
            ]
        answers = [task.result() for task in tasks]
        assert answers.count(self.appended(1, head=1)) == 1
        assert answers.count(Conflict(None, 1 + self.own_records)) == 7

    @_on_log
    async def test_the_same_record_twice(self, log: Log) -> None:
        """Stands once, whenever it was made; the journal lets it stand twice."""
        await log.append("a/0", [record("r1"), record("r2")])
        again = await log.append("a/0", [record("r1", at_ns=99), record("r3")])
        if self.ids_indexed:
            assert again == self.appended(1, 3, head=3)
            assert [s.record.at_ns for s in await self.rows(log)] == [1, 1, 1]
            assert await log.append("a/0", [record("r4"), record("r4")]) == self.appended(4, 4, head=4)
            assert await log.append("a/0", [record("r1"), record("r2")], expect=0 + self.own_records) == self.appended(
                1, 2, head=4
            )
        else:
            assert again == self.appended(3, 4, head=4)

    @_on_log
    async def test_the_same_id_with_other_content(self, log: Log) -> None:
        """Is a conflict, and nothing of that append is written."""
        if not self.ids_indexed:
            return
        await log.append("a/0", [record("r1"), record("r2")])
        assert await log.append("a/0", [record("r3"), record("r2", b"[]")]) == Conflict("r2", 2)
        assert await log.append("a/0", [record("r2", type="test.other")]) == Conflict("r2", 2)
        assert await log.head("a/0") == 2
        assert await log.append("b/0", [record("r2", b"[]")]) == self.appended(1, head=1)

    @_on_log
    async def test_what_is_outside_the_limits_is_refused(self, log: Log) -> None:
        """And nothing of that append is written."""
        bad = [
            record(""),
            record("x" * 257),
            record("\N{SNOWMAN}" * 86),
            record("a\tb"),
            record("a\x85b"),
            record("r", type="Not.Lower"),
            record("r", type="t" * 65),
            record("r", b""),
            record("r", b"{}\n"),
            record("r", b'{"a":\t1}'),
            record("r", b"{,}"),
            record("r", b'"\xff"'),
            record("r", b'"%b"' % (b"x" * (1 << 20))),
            record("r", at_ns=-1),
            Record(id="r", type="t", at_ns=1, payload=b"1", schema=99),
        ]
        for refused in bad:
            await _expect_local_error(log.append("a/0", [record("fine"), refused]))
        assert await log.head("a/0") in (0, self.own_records)
        largest = record("x" * 256, b'"%b"' % (b"x" * ((1 << 20) - 2)))
        assert await log.append("a/0", [largest]) == self.appended(1, head=1)
        assert [s.record for s in await self.rows(log)] == [largest]

    @_on_log
    async def test_stream_names_outside_the_limits_are_refused(self, log: Log) -> None:
        for name in ("", "/a", "a/", "a//b", "A", "a b", "../a", "a/../b", ".", "a/.", "x" * 129):
            await _expect_local_error(log.append(name, [record("r")]))

    @_on_log
    async def test_follow_goes_on(self, log: Log) -> None:
        await log.append("a/0", [record("r1"), record("r2")])
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(collect(log.follow("a/0", after=1 + self.own_records), 3))
            await log.append("a/0", [record("r3")])
            await log.append("a/0", [record("r4")])
        assert [s.record.id for s in follower.result()] == ["r2", "r3", "r4"]

    @_on_log
    async def test_follow_waits_for_a_stream_that_does_not_exist_yet(self, log: Log) -> None:
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(collect(log.follow("a/0", after=self.own_records), 1))
            await asyncio.sleep(0)
            await log.append("a/0", [record("r1")])
        assert [s.record.id for s in follower.result()] == ["r1"]

    @_on_log
    async def test_follow_ends_when_cancelled(self, log: Log) -> None:
        await log.append("a/0", [record("r1")])
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(collect(log.follow("a/0", after=0)))
            await asyncio.sleep(0)
            follower.cancel()
        assert follower.cancelled()
        assert await log.head("a/0") == 1 + self.own_records


async def _expect_local_error(call: Coroutine[Any, Any, object]) -> None:
    try:
        answer = await call
    except LocalError:
        return
    raise AssertionError(f"LocalError expected, but it answered {answer!r}")
