"""What a stream holds for a client that does not read."""

from pathlib import Path
from typing import Any, cast

from tests.runtime.sessions.rig import Rig, on

from interlock.runtime.api.stream import BATCH_BYTES, StreamPath
from interlock.runtime.brain.feed import Feed
from interlock.runtime.sessions.event import Said

TEXT = 100_000


def test_a_log_of_large_events_is_told_piece_by_piece(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        row = await rig.create()
        for number in range(20):
            await rig.service.emit("acme", row.session, Said(text=f"{number} ".ljust(TEXT, "x"), by="ann"))
        path = StreamPath(cast(Any, None), rig.service, rig.store, Feed())
        told: Any = path._told(await rig.service.row("acme", row.session), 0, until_idle=False)
        pieces: list[bytes] = []
        while sum(piece.count(b"event: user.said") for piece in pieces) < 21:
            pieces.append(await anext(told))
        await told.aclose()
        assert max(map(len, pieces)) <= BATCH_BYTES + 2 * TEXT
        text = b"".join(pieces)
        places = [text.index(b'"text":"%d xx' % number) for number in range(20)]
        assert places == sorted(places)

    on(tmp_path, test)
