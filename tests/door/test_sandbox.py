"""What a program in the sandbox sees, and what it does not."""

import asyncio
import os
from pathlib import Path

import pytest

from interlock.door.sandbox import check, spawn
from interlock.errors import HandsUnavailable, LocalError

LOOK = """
echo "uid=$(id -u) caps=$(grep CapEff /proc/self/status | tr -d '\\t ')"
echo "env=$(env | cut -d= -f1 | sort | tr '\\n' ' ')"
echo "net=$(ls /sys/class/net 2>/dev/null | tr '\\n' ' ')$(cat /proc/net/dev | grep -c eth)"
echo "pids=$(ls /proc | grep -c '^[0-9]')"
echo "usr=$(touch /usr/x 2>&1 | grep -c 'Read-only')"
echo "root=$(touch /x 2>&1 | grep -c 'Read-only')"
echo "tmp=$(cd /tmp; touch x && echo yes)"
echo "data=$(ls DATA 2>&1 | grep -c 'No such')"
echo "shown=$(cat SHOWN)"
"""


async def said(argv: list[str], read: list[str], hidden: Path) -> dict[str, str]:
    process = await spawn(argv, {"MINE": "1"}, read=read, hidden=hidden)
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    return dict(line.split("=", 1) for line in out.decode().splitlines())


def test_a_program_sees_what_it_is_shown_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DOOR", "x")
    data, shown = tmp_path / "data", tmp_path / "shown"
    data.mkdir()
    shown.write_text("hello")
    script = LOOK.replace("DATA", str(data)).replace("SHOWN", str(shown))
    found = asyncio.run(said(["sh", "-c", script], [str(shown)], data))
    assert found["uid"] == "65534 caps=CapEff:0000000000000000"
    assert set(found["env"].split()) == {"HOME", "LANG", "MINE", "PATH", "PWD"}
    assert found["net"].endswith("0") and int(found["pids"]) < 10
    assert (found["usr"], found["root"], found["tmp"], found["data"]) == ("1", "1", "yes", "1")
    assert found["shown"] == "hello"


def test_the_data_directory_is_never_shown(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "run").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(data)
    for path in (data, data / "run", tmp_path, link, Path("/")):
        with pytest.raises(LocalError, match="data directory"):
            check([str(path)], data)
    check(["/usr", str(tmp_path / "other")], data)


def test_killing_it_ends_what_it_started(tmp_path: Path) -> None:
    async def main() -> None:
        process = await spawn(["sh", "-c", "sleep 321.5 & sleep 321.5"], {}, hidden=tmp_path)

        def sleepers() -> int:
            found = 0
            for path in Path("/proc").glob("[0-9]*"):
                try:
                    found += b"sleep\x00321.5" in (path / "cmdline").read_bytes()
                except OSError:
                    continue
            return found

        async with asyncio.timeout(10):
            while sleepers() < 2:
                await asyncio.sleep(0.01)
            process.kill()
            await process.wait()
            while sleepers():
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_without_bubblewrap_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(HandsUnavailable, match="bubblewrap"):
        asyncio.run(spawn(["true"], {}, hidden=tmp_path))
