"""The disk is not taken to its last byte, whoever takes it: logs are written to it too."""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.disks import small_disk
from tests.runtime.hands import test_bubblewrap, test_gvisor, test_process

from interlock.errors import HandsUnavailable, LocalError
from interlock.runtime.hands import Hands, Resources, Sandbox
from interlock.runtime.hands.quota import RESERVE_PARTS
from interlock.testing.hands_contract import seen, sh
from interlock.testing.loops import run_on

DISK_MIB = 48
KINDS = {"process": test_process.opened, "bubblewrap": test_bubblewrap.opened, "gvisor": test_gvisor.opened}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_for_logs_is_not_taken_by_commands(tmp_path: Path, kind: str) -> None:
    opened: Callable[[Path], AbstractAsyncContextManager[Hands]] = KINDS[kind]

    async def main(disk: Path) -> None:
        async with opened(disk) as hands:
            box = await hands.provision("s", "w", Resources(time_s=60.0))
            try:
                await _filled(box, disk)
            finally:
                await box.destroy()

    with small_disk(tmp_path, DISK_MIB) as disk:
        run_on("uvloop", lambda: main(disk))


async def _filled(box: Sandbox, disk: Path) -> None:
    found = os.statvfs(disk)
    reserve = found.f_blocks * found.f_frsize // RESERVE_PARTS
    taken = found.f_bavail * found.f_frsize - reserve // 2  # so much that it does not depend on who is faster
    ran = await sh(box, f"head -c {taken} /dev/zero > taken; echo took; exec sleep 1000")
    assert (ran.stop.status, ran.code) == ("completed", 137), ran.stop
    assert ran.stop.reason == "the disk is full: this machine has only the room left that is kept for logs"
    (disk / "log").write_bytes(bytes(reserve // 4))
    with pytest.raises(HandsUnavailable, match="kept for logs"):
        await sh(box, "true")
    with pytest.raises(LocalError, match="kept for logs"):
        await box.write("file", b"x")
    shell = await box.shell()  # a person's: it may make room, if not take more
    await shell.write(b"rm taken; echo gone: $?\n")
    await seen(shell.attach(), b"gone: 0")
    await shell.close()
    assert (await sh(box, "echo on")).text == "on\n"
    with pytest.raises(LocalError, match="kept for logs"):
        await box.write("file", bytes(taken))
    await box.write("file", b"x")
