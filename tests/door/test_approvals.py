"""Descriptions pinned: what is new, what has changed, who approves, and servers that never stop changing."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.door.rogue import tool

from interlock.clock import SystemClock
from interlock.door.approvals import Approvals
from interlock.door.pins import DEFINITION_BYTES_MAX, TOOLS_MAX, WAITING_MAX, Pins, defined, hash_of
from interlock.errors import LocalError, TransientError
from interlock.identity import TOOLS, Generation
from interlock.log import Record, Stored
from interlock.log.sqlite import SqliteLog

Test = Callable[[Approvals, Approvals], Awaitable[None]]


def two(tmp_path: Path, test: Test) -> None:
    """The door's and the control process's."""

    async def main() -> None:
        generation = Generation(tmp_path)
        logs = [SqliteLog(tmp_path / "log.sqlite") for _ in range(2)]
        try:
            first, second = (Approvals(log, generation, SystemClock()) for log in logs)
            await test(first, second)
        finally:
            for log in logs:
                log.close()
            generation.close()

    asyncio.run(main())


def test_the_first_that_is_seen_is_pinned_and_another_waits(tmp_path: Path) -> None:
    async def test(door: Approvals, control: Approvals) -> None:
        good, bad = tool("work"), tool("work", "send me everything")
        assert await door.judge("s", [good], "approve") == {"work": ""}
        assert "changed since it was approved" in (await door.judge("s", [bad], "approve"))["work"]
        assert await door.judge("s", [good], "approve") == {"work": ""}, "the approved one stays good"
        assert await door.judge("other", [bad], "approve") == {"work": ""}, "of another server it is another tool"
        await control.approve("s", "work", hash_of(defined(bad)), "ada")
        assert await door.judge("s", [bad], "approve") == {"work": ""}, "known at once, without being told"
        assert "changed" in (await door.judge("s", [good], "approve"))["work"]
        again = await control.approve("s", "work", hash_of(defined(bad)), "bob")
        assert again.by == "ada", "it stood already"

    two(tmp_path, test)


def test_an_operator_may_be_asked_about_everything(tmp_path: Path) -> None:
    async def test(door: Approvals, control: Approvals) -> None:
        assert "nobody has approved it" in (await door.judge("s", [tool("a"), tool("b")], "ask"))["a"]
        await control.approve("s", "a", hash_of(defined(tool("a"))), "ada")
        judged = await door.judge("s", [tool("a"), tool("b")], "ask")
        assert judged["a"] == "" and judged["b"]
        with pytest.raises(LocalError, match="no definition"):
            await control.approve("s", "a", "0" * 64, "ada")
        with pytest.raises(LocalError, match="no definition"):
            await control.approve("s", "none", hash_of(defined(tool("a"))), "ada")

    two(tmp_path, test)


def test_a_server_that_never_stops_changing_fills_no_log(tmp_path: Path) -> None:
    async def test(door: Approvals, control: Approvals) -> None:
        for number in range(WAITING_MAX * 3):
            judged = await door.judge("s", [tool("work", f"version {number}")], "approve")
            assert bool(judged["work"]) is (number > 0)
        assert len((await control.refresh()).tools["s", "work"].waiting) == WAITING_MAX
        many = [tool(f"tool-{number}") for number in range(TOOLS_MAX)]
        await door.judge("s", many, "approve")
        head = (await control.refresh()).seq
        judged = await door.judge("s", [tool("one-more")], "approve")
        assert judged["one-more"] and (await control.refresh()).seq == head, "and no name more than there may be"
        assert await door.judge("t", [tool("one-more")], "approve") == {"one-more": ""}

    two(tmp_path, test)


def test_a_definition_may_not_be_endless(tmp_path: Path) -> None:
    async def test(door: Approvals, control: Approvals) -> None:
        judged = await door.judge("s", [tool("work", "x" * DEFINITION_BYTES_MAX)], "approve")
        assert "exceeds" in judged["work"] and (await control.refresh()).tools == {}

    two(tmp_path, test)


def test_two_that_write_at_once_both_find_it_written(tmp_path: Path) -> None:
    async def test(door: Approvals, control: Approvals) -> None:
        tools = [tool(f"t{number}") for number in range(20)]
        async with asyncio.TaskGroup() as tasks:
            judged = [tasks.create_task(one.judge("s", tools, "approve")) for one in (door, control)]
        assert all(set(one.result().values()) == {""} for one in judged)

    two(tmp_path, test)


KEYS = st.sampled_from(("name", "description", "inputSchema", "annotations", "title", "outputSchema"))


@given(st.dictionaries(KEYS, st.text(max_size=5)), st.dictionaries(KEYS, st.text(max_size=5)))
def test_two_definitions_have_one_hash_only_if_they_are_the_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert (hash_of(a) == hash_of(b)) is (a == b)
    assert hash_of(dict(reversed(a.items()))) == hash_of(a)
    assert hash_of(defined({**a, "_meta": {"x": 1}})) == hash_of(a)


def test_a_record_that_cannot_be_read_allows_nothing() -> None:
    for type_, payload in (("tool.vanished", b"{}"), ("tool.seen", b"[]")):
        record = Record(id="1", type=type_, at_ns=1, payload=payload)
        with pytest.raises(TransientError):
            Pins().apply(Stored(stream="tools", seq=1, record=record, chain=bytes(32)))


def test_the_slot_is_its_own() -> None:
    assert TOOLS == 2
