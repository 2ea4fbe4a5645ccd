"""A brain in a process of its own, for tests that kill or stop it.

    child.py FILE SESSION OWNER STEPS SYNC

It takes the lease, writes steps as fast as it can, and prints each head that was acknowledged, or what stopped it.
"""

import asyncio
import sys
from pathlib import Path

from interlock.clock import SystemClock
from interlock.errors import InterlockError
from interlock.runtime.sessions.ports import Fenced, Moved, Standing
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.runtime.sessions.tables import Sync
from interlock.testing.sessions_contract import step

TTL_S = 0.3


async def main(path: Path, session: str, owner: str, steps: int, sync: Sync) -> None:
    """Until it is killed, fenced, or has made so many steps."""
    store = SqliteStore(path, SystemClock(), sync=sync)
    lease = await store.take(session, owner, ttl_s=TTL_S)
    if lease is None:
        print("held", flush=True)
        return
    row = await store.row(session)
    assert row is not None
    head = row.head
    while (number := head // 2 + 1) <= steps:
        try:
            answer = await store.append(session, step(number), Standing(status="runnable"), expect=head, lease=lease)
        except InterlockError as error:
            print(error.code, flush=True)
            continue
        if isinstance(answer, Fenced):
            print("fenced", flush=True)
            return
        assert not isinstance(answer, Moved)
        head = answer.head
        print(head, flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]))  # type: ignore[arg-type]  # a test's own word
