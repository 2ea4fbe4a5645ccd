"""Watchers: what they are told, and what a slow one loses."""

import asyncio
from collections.abc import Callable
from typing import Any

from interlock.runtime.brain.feed import HELD_MAX, WATCHERS_MAX, Delta, Feed


def test_who_watches_is_told_of_that_session_only(run: Callable[..., Any]) -> None:
    async def main() -> None:
        feed = Feed()
        feed.publish("a", Delta(of="text", text="before"))
        with feed.watch("a") as one, feed.watch("a") as two:
            feed.publish("a", Delta(of="text", text="x"))
            feed.publish("b", Delta(of="text", text="y"))
            for watcher in (one, two):
                watcher.close()
                assert [delta.text async for delta in watcher.deltas()] == ["x"]
        assert not feed._watchers

    run(main)


def test_a_slow_watcher_loses_the_oldest_and_is_told_how_many(run: Callable[..., Any]) -> None:
    async def main() -> None:
        feed = Feed()
        with feed.watch("a") as watcher:
            for number in range(HELD_MAX + 5):
                feed.publish("a", Delta(of="stdout", text=str(number)))
            watcher.close()
            deltas = [delta async for delta in watcher.deltas()]
            assert len(deltas) == HELD_MAX
            assert (deltas[0].text, deltas[0].lost, deltas[1].lost) == ("5", 5, 0)

    run(main)


def test_a_watcher_waits_for_what_comes(run: Callable[..., Any]) -> None:
    async def main() -> None:
        feed, got = Feed(), list[str]()

        async def watch() -> None:
            with feed.watch("a") as watcher:
                async for delta in watcher.deltas():
                    got.append(delta.text)
                    if len(got) == 2:
                        return

        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            for text in ("x", "y"):
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                feed.publish("a", Delta(of="text", text=text))
        assert got == ["x", "y"]

    run(main)


def test_there_are_so_many_watchers_and_no_more(run: Callable[..., Any]) -> None:
    async def main() -> None:
        feed = Feed()
        with feed.watch("a") as first:
            others = [feed.watch("a") for _ in range(WATCHERS_MAX)]
            for other in others:
                other.__enter__()
            assert [delta async for delta in first.deltas()] == [], "the oldest is closed"
            for other in others:
                other.__exit__(None, None, None)

    run(main)
