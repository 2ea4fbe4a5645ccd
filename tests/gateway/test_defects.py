"""A defect of ours costs the call that met it, which is answered and settled, and no other."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.answers import CHAT, EVENTS, ask
from tests.gateway.rig import PATHS, Rig, Upstream, policy, rig, streamed, whole

from interlock.gateway import exchange

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The tracebacks that are meant to be logged."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def explode(*_: object, **__: object) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize("place", ["routing", "sending", "whole", "stream", "head"])
def test_a_defect_is_contained(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    async def test(on: Rig) -> None:
        with monkeypatch.context() as broken:
            if place == "routing":
                broken.setattr(on.gateway.router, "route", explode)
            elif place == "sending":
                broken.setattr(on.gateway.upstreams["d0"], "request", explode)
            elif place == "whole":
                broken.setattr("interlock.gateway.attempt.read_whole", explode)
            elif place == "stream":
                broken.setattr("interlock.gateway.relay.StreamTap", explode)
            else:
                broken.setattr(exchange.Exchange, "heard", explode)
            answer = await on.call(PATHS["chat"], ask("chat", stream=place == "stream"))
            assert answer.json["error"]["code"] == "internal"
            assert answer.status == 500
        assert (await on.call(PATHS["chat"], ask("chat", stream=place == "stream"))).status == 200
        assert len(await on.settled(1 if place == "routing" else 2)) == (1 if place == "routing" else 2)
        assert not on.gateway.exchanges

    async def main() -> None:
        upstream = Upstream(streamed(*EVENTS["chat"]) if place == "stream" else whole(CHAT))
        async with asyncio.timeout(10), rig(tmp_path / "data", policy([await upstream.start()])) as on:
            await test(on)
        await upstream.stop()

    run(main, blocking_s=1.0)
