"""Answers that end in the upstream's own error: passed on as they are, and settled as failed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.answers import EVENTS, ask
from tests.gateway.rig import FORMATS, PATHS, Rig, Upstream, streamed, whole
from tests.gateway.test_exchange import play

Run = Callable[..., Any]


@pytest.mark.parametrize("format", FORMATS)
def test_an_upstream_s_own_error_event_is_the_end(run: Run, tmp_path: Path, format: str) -> None:
    error = {
        "chat": b'data: {"error":{"message":"overloaded","type":"server_error","code":null}}\n\n',
        "responses": b'event: error\ndata: {"type":"error","sequence_number":2,"code":"x","message":"overloaded"}\n\n',
        "messages": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n',
    }[format]

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[format], ask(format, stream=True))
        assert answer.body == EVENTS[format][0] + error
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.error) == ("failed", "upstream_error")

    play(run, tmp_path, test, Upstream(streamed(EVENTS[format][0], error)))


def test_an_error_with_status_200_is_settled_as_one(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 200
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.error) == ("failed", "upstream_error")

    play(run, tmp_path, test, Upstream(whole(b'{"error":{"message":"no","type":"x"}}')))
