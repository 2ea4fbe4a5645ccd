"""A call that is over leaves nothing that only the garbage collector could find: it may hold megabytes."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.answers import EVENTS, WHOLE, ask
from tests.gateway.rig import FORMATS, PATHS, Script, Upstream, policy, rig, silent, streamed, whole

from interlock.gateway import Timeouts
from interlock.gateway.exchange import Exchange

Run = Callable[..., Any]
FAST = Timeouts(connect_s=1, first_byte_s=0.1, first_token_s=0.1, idle_s=0.1, total_s=5)


class Watched(set[Exchange]):
    """The gateway's set of exchanges, which remembers without holding them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[weakref.ref[Exchange]] = []

    def add(self, exchange: Exchange) -> None:
        self.seen.append(weakref.ref(exchange))
        super().add(exchange)


@pytest.mark.parametrize("upstream", FORMATS)
@pytest.mark.parametrize("how", ["whole", "streamed", "error", "cut", "silent"])
def test_nothing_is_left_of_a_call(run: Run, tmp_path: Path, upstream: str, how: str) -> None:
    scripts: dict[str, Script] = {
        "whole": whole(WHOLE[upstream]),
        "streamed": streamed(*EVENTS[upstream]),
        "error": whole(b"{}", "500 Oops"),
        "cut": streamed(*EVENTS[upstream][:3], end=False),
        "silent": silent,
    }

    async def main() -> None:
        server = Upstream(scripts[how])
        made = policy([await server.start()], formats=[(upstream,)], timeouts=FAST)  # type: ignore[list-item]  # of FORMATS
        try:
            async with asyncio.timeout(10), rig(tmp_path / "data", made) as on:
                watched = on.gateway.exchanges = Watched()
                for _ in range(2):
                    await on.call(PATHS["chat"], ask("chat", stream=how in ("streamed", "cut")))
                async with asyncio.timeout(2):
                    while any(exchange() for exchange in watched.seen):
                        await asyncio.sleep(0.01)
                assert len(watched.seen) == 2
        finally:
            await server.stop()

    gc.disable()
    try:
        run(main, blocking_s=1.0)
    finally:
        gc.enable()
