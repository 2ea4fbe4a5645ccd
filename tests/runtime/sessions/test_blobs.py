"""Blobs: whole or not there, checked when they are read, whoever else writes them."""

import asyncio
import multiprocessing
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from tests.runtime.sessions.test_sqlite import small_disk

from interlock.errors import LogUnavailable
from interlock.log import LogCorrupt
from interlock.runtime.sessions import blobs as module
from interlock.runtime.sessions.blobs import FileBlobs, content
from interlock.runtime.sessions.event import INLINE_BYTES_MAX, Blob, Text
from interlock.runtime.sessions.tables import Sync
from interlock.testing.loops import run
from interlock.testing.sessions_contract import refused


@pytest.mark.parametrize("sync", ["process", "power"])
def test_what_is_put_is_got_by_its_hash(tmp_path: Path, sync: Sync) -> None:
    async def main() -> None:
        blobs = FileBlobs(tmp_path / "blobs", sync=sync)
        for data in (b"", b"x", bytes(range(256)) * 5000):
            name = sha256(data).hexdigest()
            assert await blobs.put(data) == await blobs.put(data) == name
            assert await blobs.get(name) == data
            path = tmp_path / "blobs" / name[:2] / name[2:]
            assert path.read_bytes() == data
            assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        for name in ("0" * 64, "../../etc/passwd", "", "A" * 64, "0" * 63):
            await refused(blobs.get(name), "not_found")

    run(main)


def test_a_changed_blob_is_found_and_mended_by_who_puts_it_again(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FileBlobs(tmp_path)
        name = await blobs.put(b"x" * 100)
        for damage in (b"x" * 99, b"", b"y" * 100, b"x" * 101):
            (tmp_path / name[:2] / name[2:]).write_bytes(damage)
            with pytest.raises(LogCorrupt):
                await blobs.get(name)
            assert await blobs.put(b"x" * 100) == name
            assert await blobs.get(name) == b"x" * 100

    asyncio.run(main())


def test_a_blob_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOB_BYTES_MAX", 1000)

    async def main() -> None:
        blobs = FileBlobs(tmp_path)
        await blobs.put(b"x" * 1000)
        assert (await refused(blobs.put(b"x" * 1001), "body_too_large")).field == "content"

    asyncio.run(main())


def test_a_result_is_kept_in_the_log_or_beside_it(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FileBlobs(tmp_path)
        assert await content(blobs, b"x" * INLINE_BYTES_MAX) == Text(text="x" * INLINE_BYTES_MAX)
        large = await content(blobs, b"y" * (INLINE_BYTES_MAX + 1))
        assert isinstance(large, Blob)
        assert (large.bytes, large.head) == (INLINE_BYTES_MAX + 1, "y" * 1024)
        binary = await content(blobs, b"a\xff")
        assert isinstance(binary, Blob) and binary.head == "a\ufffd"
        assert await blobs.get(binary.sha256) == b"a\xff"

    asyncio.run(main())


def _put_all(root: Path) -> None:
    async def main() -> None:
        blobs = FileBlobs(root)
        for n in range(60):
            assert await blobs.get(await blobs.put(b"%d" % n * 5000)) == b"%d" % n * 5000

    asyncio.run(main())


def test_processes_put_the_same_at_once(tmp_path: Path) -> None:
    spawned = [multiprocessing.get_context("spawn").Process(target=_put_all, args=(tmp_path,)) for _ in range(3)]
    for process in spawned:
        process.start()
    for process in spawned:
        process.join(30)
        assert process.exitcode == 0
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 60, "and no piece is left"


CHILD = """
import asyncio, sys
from pathlib import Path
from interlock.runtime.sessions.blobs import FileBlobs
async def main():
    blobs, n = FileBlobs(Path(sys.argv[1])), 0
    while True:
        n += 1
        print(await blobs.put(b"%d" % n * 50_000), flush=True)
asyncio.run(main())
"""


def test_a_blob_is_whole_after_a_kill(tmp_path: Path) -> None:
    for _ in range(10):
        with subprocess.Popen([sys.executable, "-c", CHILD, tmp_path], stdout=subprocess.PIPE) as process:
            assert process.stdout
            for _ in range(10):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            names = process.stdout.read().decode().split("\n")[:-1]

        async def check(names: list[str] = names) -> None:
            for name in names:
                await FileBlobs(tmp_path).get(name)

        asyncio.run(check())
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            assert sha256(path.read_bytes()).hexdigest() == path.parent.name + path.name


def test_a_full_disk_leaves_nothing_of_it(tmp_path: Path) -> None:
    async def main(disk: Path) -> None:
        blobs = FileBlobs(disk / "blobs")
        kept = await blobs.put(b"x" * 1000)
        with pytest.raises(LogUnavailable):
            await blobs.put(b"y" * (4 << 20))
        assert await blobs.put(b"z" * 1000)
        assert await blobs.get(kept) == b"x" * 1000
        assert not [path for path in (disk / "blobs").rglob(".*") if path.is_file()]

    with small_disk(tmp_path / "disk") as disk:
        asyncio.run(main(disk))
