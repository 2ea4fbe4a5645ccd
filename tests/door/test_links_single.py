"""A connection for one request alone."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.door.rogue import rogue
from tests.door.test_links import ADA, Ear, house

from interlock.door.settings import Allow, ToolServer


def test_who_hangs_up_before_a_single_connection_is_ready_leaves_none_behind(tmp_path: Path) -> None:
    """It is nobody's else, and in no bound: nobody would ever close it."""
    answers = threading.Event()
    result = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}

    def late(message: dict[str, Any], headers: dict[str, str]) -> Any:
        if message.get("method") != "server/discover":
            return None
        answers.wait(60)
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": result})
        return 200, {"content-type": "application/json"}, body

    def open_links() -> int:
        return sum(task.get_name() == "link to w" for task in asyncio.all_tasks())

    async def until(condition: Callable[[], bool], what: str) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"never: {what}")

    async def main() -> None:
        with rogue() as wild:
            wild.before = late
            server = ToolServer(name="w", allow=(Allow(),), url=wild.url)
            async with house(tmp_path) as links:
                asking = asyncio.ensure_future(links.single(server, ADA, Ear(), {}))
                await until(lambda: bool(wild.seen), "it is asked what it speaks")
                asking.cancel()
                answers.set()
                with pytest.raises(asyncio.CancelledError):
                    await asking
                await until(lambda: not open_links(), "the connection is closed")
                link = await links.single(server, ADA, Ear(), {})
                assert link is not None and link.live and open_links() == 1
                await link.close()

    asyncio.run(main())
