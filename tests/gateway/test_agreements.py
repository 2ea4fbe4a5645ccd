"""Terms that a deployment asks for: the tenant's calls go there once they are accepted, and not after they are left."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from tests.gateway.answers import CHAT, ask
from tests.gateway.rig import PATHS, Upstream, policy, read_answer, rig, whole

from interlock.audit import Trail, Window
from interlock.datadir import DataDir
from interlock.gateway import Facts
from interlock.log import Record
from interlock.log.sqlite import SqliteLog

Run = Callable[..., Any]


def test_the_next_call_knows(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        upstream = Upstream(whole(CHAT))
        made = policy([await upstream.start()])
        facts = Facts(geographies=("eu",), agreements=("dpa",))
        d0 = msgspec.structs.replace(made.deployments["d0"], facts=facts)
        made = msgspec.structs.replace(made, deployments={"d0": d0})
        async with asyncio.timeout(20), rig(tmp_path, made) as on:
            reader, writer = await on.connect()  # one connection: what is remembered of its caller must not stay

            async def status() -> int:
                writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))))
                return (await read_answer(reader)).status

            refused = await on.call(PATHS["chat"], ask("chat"))
            assert refused.status == 403 and "dpa is not accepted" in refused.json["error"]["message"]
            await on.identity.accept("acme", "other")
            assert await status() == 403
            await on.identity.accept("acme", "dpa", "ada")
            assert await status() == 200
            await on.identity.leave("acme", "dpa", "expired")
            assert await status() == 403
            await on.identity.accept("acme", "dpa")
            assert await status() == 200 and len(upstream.seen) == 2
            writer.close()
            await on.settled(2)
            with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
                record = Record(id="p", type="policy.adopted", at_ns=1, payload=msgspec.json.encode(made))
                await log.append("config", [record])
                lines = list(Trail(DataDir(tmp_path), log).lines(Window()))
            verdicts = [line.verdict for line in sorted(lines, key=lambda line: line.at_ns)]
            assert verdicts == ["refused", "refused", "inside", "refused", "inside"], "as it was at each moment"
            assert all(not line.clause for line in lines if line.verdict == "inside")
        await upstream.stop()

    run(main, blocking_s=1.0)
