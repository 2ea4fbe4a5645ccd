"""Control groups: the machine's own, and hierarchies of version 2 as files where the machine has none."""

import contextlib
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interlock.runtime.hands import cgroups
from interlock.runtime.hands.cgroups import Cgroups, Usage
from interlock.runtime.hands.resources import Resources

RESOURCES = Resources(cpus=0.5, memory_bytes=1 << 26, processes=10)


class Files:
    """A process's view of version 2, in files; what the kernel would do is done by hand."""

    def __init__(self, root: Path, *, group: str = "/own", enabled: str = "cpu memory pids") -> None:
        self.proc, self.mount = root / "proc", root / "cgroup"
        self.proc.mkdir()
        self.own = self.mount / group.lstrip("/")
        self.own.mkdir(parents=True)
        (self.proc / "cgroup").write_text(f"0::{group}\n")
        (self.proc / "mountinfo").write_text(f"30 20 0:26 / {self.mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n")
        (self.own / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (self.own / "cgroup.subtree_control").write_text(enabled + "\n")
        (self.own / "cgroup.procs").write_text("")


def kernel_makes(path: Path) -> None:
    """The files of a new group."""
    for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max", "cgroup.procs", "cgroup.kill"):
        (path / name).write_text("")
    (path / "cpu.stat").write_text("usage_usec 1500\nuser_usec 1000\n")
    (path / "memory.peak").write_text("4096\n")
    (path / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")


def test_version_2_is_limited_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(tmp_path)
    made, removed = Path.mkdir, Path.rmdir

    def mkdir(path: Path, exist_ok: bool = False) -> None:
        made(path, exist_ok=exist_ok)
        if path.name.startswith("hands-"):
            kernel_makes(path)

    def rmdir(path: Path) -> None:
        if path.exists():
            for each in path.iterdir():
                each.unlink()
        removed(path)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "rmdir", rmdir)
    found = Cgroups.find(files.proc)
    assert set(found.own.values()) == {files.own} and found.versions["memory"] == 2
    group = found.make("sbx")
    directory = files.own / f"hands-{os.getpid()}-sbx"
    assert group.joins == [directory / "cgroup.procs"]
    group.limit(RESOURCES)
    names = ("memory.max", "memory.swap.max", "pids.max", "cpu.max")
    assert [(directory / name).read_text() for name in names] == ["67108864", "0", "12", "50000 100000"]
    assert group.usage() == Usage(1_500_000, 4096, 2)
    group.kill()
    assert (directory / "cgroup.kill").read_text() == "1"
    assert group.remove() and not directory.exists()
    assert group.remove(), "twice is once"


def test_without_controllers_it_says_which(tmp_path: Path) -> None:
    files = Files(tmp_path, enabled="")
    (files.own / "cgroup.controllers").write_text("cpuset\n")
    (files.own / "cgroup.subtree_control").write_text("")
    with pytest.raises(OSError, match="memory, pids, cpu"):
        Cgroups.find(files.proc)


def test_a_leaf_of_ours_uses_the_group_above(tmp_path: Path) -> None:
    files = Files(tmp_path, group="/unit/interlock", enabled="")
    for name in ("cgroup.controllers", "cgroup.subtree_control"):
        (files.own.parent / name).write_text("cpu memory pids\n")
    with pytest.raises(OSError, match="No such file"):  # nobody makes a group's files here: it was tried there
        Cgroups.find(files.proc)
    assert [path.name for path in files.own.parent.iterdir() if path.is_dir()] == ["interlock"]


def test_we_move_into_a_leaf_whoever_ends_or_is_started_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path, enabled="")
    here, children, moved, write = ["2", "3"], {"3": "4"}, list[str](), cgroups._write

    def kernel(path: Path, text: str) -> None:
        if path.name != "cgroup.procs":
            if here:
                raise OSError(errno.EBUSY, "processes are in it")
            write(path, text)
            return
        here.remove(text)
        here.extend(children.pop(text, ""))  # forked before its parent was moved
        (files.own / "cgroup.procs").write_text("\n".join(here))
        if text == "2":
            raise ProcessLookupError(errno.ESRCH, "it has ended")
        moved.append(text)

    (files.own / "cgroup.procs").write_text("2\n3\n")
    monkeypatch.setattr(cgroups, "_write", kernel)
    assert cgroups._delegated(files.own) == files.own
    assert (files.own / "cgroup.subtree_control").read_text().split() == ["+cpu", "+memory", "+pids"]
    assert moved == ["3", "4"]


def test_who_was_moved_by_another_waits_for_nobody(tmp_path: Path) -> None:
    """The other one has not given the controllers away yet: a leaf's own list is still empty."""
    files = Files(tmp_path, group="/unit/interlock", enabled="")
    (files.own / "cgroup.controllers").write_text("")
    (files.own.parent / "cgroup.controllers").write_text("cpu memory pids\n")
    (files.own.parent / "cgroup.subtree_control").write_text("")
    assert cgroups._delegated(files.own) == files.own.parent
    assert "memory" in (files.own.parent / "cgroup.subtree_control").read_text()


def test_several_of_one_process_look_at_once() -> None:
    def look(_: int) -> bool:
        with contextlib.suppress(OSError):
            return bool(Cgroups.find().own)
        return False

    here = look(0)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(look, range(64))) == [here] * 64


def test_what_dead_processes_left_is_cleared(tmp_path: Path) -> None:
    files = Files(tmp_path)
    (files.own / "hands-99999999-sbx").mkdir()
    (files.own / f"hands-{os.getpid()}-sbx").mkdir()
    (files.own / "other").mkdir()
    with pytest.raises(OSError, match="No such file"):
        Cgroups.find(files.proc)
    assert sorted(path.name for path in files.own.iterdir() if path.is_dir()) == [f"hands-{os.getpid()}-sbx", "other"]
