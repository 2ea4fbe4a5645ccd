"""What a tenant was under at each moment, by the identity stream."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from interlock.audit import Trail
from interlock.datadir import DataDir
from interlock.identity import Identity
from interlock.log.sqlite import SqliteLog
from interlock.testing.clock import ManualClock


@pytest.mark.parametrize(("at_ns", "accepted"), [(99, []), (100, ["dpa"]), (199, ["dpa"]), (200, []), (300, ["dpa"])])
def test_agreements_of_each_moment(tmp_path: Path, at_ns: int, accepted: list[str]) -> None:
    clock = ManualClock(0)
    with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
        identity = Identity(log, clock)

        async def change() -> None:
            await identity.create_tenant("acme")
            clock.advance(100)
            await identity.accept("acme", "dpa")
            clock.advance(100)
            await identity.leave("acme", "dpa")
            clock.advance(100)
            await identity.accept("acme", "dpa")

        asyncio.run(change())
        assert Trail(DataDir(tmp_path), log)._accepted_at("acme", ("dpa", "other"), at_ns) == accepted
