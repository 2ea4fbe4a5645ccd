"""Workspaces and trees: what a hostile tree does to whoever reads, copies, counts or removes it."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.hands.users import run_as_other

from interlock.errors import LocalError
from interlock.runtime.hands import trees
from interlock.runtime.hands.workspace import SNAPSHOTS_MAX, Workspace
from interlock.runtime.hands.workspaces import DAY_NS, FIRST_UID, Workspaces, expired
from interlock.testing.clock import ManualClock


def make(root: Path, *, own_users: bool = False) -> tuple[Workspaces, ManualClock]:
    clock = ManualClock()
    return Workspaces(root / "workspaces", clock, own_users=own_users), clock


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make(tmp_path)[0].open("w")


def deep(root: Path, levels: int) -> None:
    """Directories nested deeper than any path is long."""
    here = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 50, dir_fd=here)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)


def test_it_is_idle_for_as_long_as_nobody_uses_it(tmp_path: Path) -> None:
    workspaces, clock = make(tmp_path)
    for id in ("old", "busy", "used"):
        workspaces.open(id)
    clock.advance(2 * DAY_NS)
    workspaces.open("used")
    clock.advance(DAY_NS)
    assert workspaces.sweep(3.0) == []
    assert workspaces.sweep(2.5, in_use={"busy"}) == ["old"]
    assert workspaces.ids() == ["busy", "used"] and sorted(p.name for p in workspaces.root.iterdir()) == [
        "busy",
        "used",
    ]
    assert expired(0, DAY_NS + 1, 1) and not expired(0, DAY_NS, 1) and not expired(DAY_NS, 0, 1)


def test_one_that_is_made_again_was_made_at_another_time(tmp_path: Path) -> None:
    workspaces, clock = make(tmp_path)
    one = workspaces.open("w")
    clock.advance(20 * DAY_NS)
    assert workspaces.open("w").made_at_ns == one.made_at_ns
    clock.advance(20 * DAY_NS)
    assert workspaces.sweep(14) == ["w"]
    assert workspaces.open("w").made_at_ns != one.made_at_ns


def test_what_a_crash_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    workspaces, clock = make(tmp_path)
    kept = workspaces.open("w")
    left = [workspaces.root / ".new-1", workspaces.root / ".removed-1", kept.path / ".restore-1"]
    left += [kept.path / "snapshots" / ".snap_1"]
    for path in left:
        (path / "d").mkdir(parents=True)
        os.utime(path, ns=(clock.now_ns(), clock.now_ns()))
    workspaces.sweep(30)
    assert all(path.exists() for path in left)
    clock.advance(2 * DAY_NS)
    workspaces.sweep(30)
    assert not any(path.exists() for path in left) and kept.files.is_dir()


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "-a", "a\0", "x" * 65, ".hidden", "a b"])
def test_an_id_is_not_a_path(tmp_path: Path, id: str) -> None:
    workspaces, _ = make(tmp_path)
    for call in (workspaces.open, workspaces.remove):
        with pytest.raises(LocalError) as refused:
            call(id)
        assert refused.value.field == "workspace"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_each_has_a_user_of_its_own(tmp_path: Path) -> None:
    workspaces, _ = make(tmp_path, own_users=True)
    uids = [workspaces.open(id).uid for id in ("a", "b", "a", "c")]
    assert uids == [FIRST_UID, FIRST_UID + 1, FIRST_UID, FIRST_UID + 2]
    workspaces.remove("c")
    assert workspaces.open("c").uid == FIRST_UID + 3, "never that of another's files"
    one = workspaces.open("a")
    one.write("d/file", b"x")
    (one.files / "link").symlink_to("d")
    snapshot = one.snapshot(1 << 20)
    one.restore(snapshot, 1 << 20)
    forked = workspaces.fork("a", "f", bytes_max=1 << 20)
    for found, uid in ((one, FIRST_UID), (forked, FIRST_UID + 4)):
        owners = {path.lstat().st_uid for path in [found.files, *found.files.rglob("*"), found.temporary]}
        assert owners == {uid}
    assert workspaces.root.stat().st_mode & 0o777 == 0o700


def test_a_fork_has_the_files_and_not_what_tools_sign_in_with(tmp_path: Path) -> None:
    workspaces, _ = make(tmp_path)
    one = workspaces.open("one")
    secret = (".netrc", ".git-credentials", ".aws/credentials", ".ssh/id_ed25519", ".config/gh/hosts.yml")
    for path in (*secret, ".docker/config.json", ".pypirc"):
        one.write(path, b"secret")
    for path in ("code.py", ".config/tool.toml", ".docker/other", "sub/.netrc"):
        one.write(path, b"code")
    snapshot = one.snapshot(1 << 20)
    one.write("later", b"x")
    (one.temporary / "file").write_text("x")
    forked = workspaces.fork("one", "two", bytes_max=1 << 20)
    files = sorted(path.relative_to(forked.files).as_posix() for path in forked.files.rglob("*") if path.is_file())
    assert files == [".config/tool.toml", ".docker/other", "code.py", "later", "sub/.netrc"]
    assert not list(forked.temporary.iterdir()) and forked.snapshots() == []
    old = workspaces.fork("one", "three", snapshot=snapshot, bytes_max=1 << 20)
    assert not (old.files / "later").exists() and (old.files / "code.py").exists()
    for source, target in (("one", "two"), ("none", "four")):
        with pytest.raises(LocalError):
            workspaces.fork(source, target, bytes_max=1 << 20)
    with pytest.raises(trees.TooLarge):
        workspaces.fork("one", "five", bytes_max=10)
    assert workspaces.ids() == ["one", "three", "two"]


def test_a_snapshot_keeps_what_files_are(workspace: Workspace) -> None:
    files = workspace.files
    (files / "run").write_text("x")
    (files / "run").chmod(0o4751)
    os.utime(files / "run", ns=(1, 2_000_000_003))
    os.link(files / "run", files / "same")
    (files / "away").symlink_to("/etc/passwd")
    (files / "ro").mkdir()
    (files / "ro" / "in").write_text("in")
    (files / "ro").chmod(0o555)
    os.mkfifo(files / "pipe")
    with (files / "holes").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
    kept = workspace.kept(workspace.snapshot(1 << 20))
    found = (kept / "run").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns, found.st_nlink) == (0o751, 2_000_000_003, 2)
    assert (kept / "same").stat().st_ino == found.st_ino != (files / "run").stat().st_ino
    assert (kept / "away").readlink() == Path("/etc/passwd")
    assert stat.S_IMODE((kept / "ro").stat().st_mode) == 0o555 and (kept / "ro" / "in").read_text() == "in"
    assert not (kept / "pipe").exists()
    holes = (kept / "holes").stat()
    assert holes.st_size == (1 << 30) + 3 and holes.st_blocks * 512 < 1 << 16
    workspace.forget(kept.name)
    assert workspace.snapshots() == []


def test_a_snapshot_is_bounded(workspace: Workspace) -> None:
    (workspace.files / "big").write_bytes(os.urandom(1 << 16))
    with pytest.raises(trees.TooLarge):
        workspace.snapshot(1 << 15)
    assert [path.name for path in (workspace.path / "snapshots").iterdir()] == [], "nothing half made is left"
    for n in range(100):
        (workspace.files / f"empty{n}").touch()
    with pytest.raises(trees.TooLarge):
        workspace.snapshot(100 * 4096)
    for _ in range(SNAPSHOTS_MAX):
        workspace.snapshot(1 << 20)
    with pytest.raises(LocalError, match="forget one"):
        workspace.snapshot(1 << 20)


def test_what_it_takes_is_counted(workspace: Workspace) -> None:
    before = workspace.size(1 << 30)
    (workspace.files / "one").write_bytes(bytes(1 << 20))
    os.link(workspace.files / "one", workspace.files / "linked")
    (workspace.files / "link").symlink_to("/")
    (workspace.temporary / "two").write_bytes(bytes(1 << 20))
    for n in range(10):
        (workspace.files / f"empty{n}").touch()
    counted = workspace.size(1 << 30) - before
    assert (2 << 20) + 10 * 4096 <= counted <= (2 << 20) + 20 * 4096
    assert workspace.size(1 << 20) > 1 << 20


def test_depth_is_no_way_to_hide(workspace: Workspace) -> None:
    deep(workspace.files, 200)
    assert workspace.size(1 << 30) == (1 << 30) + 1
    with pytest.raises(trees.TooLarge):
        workspace.snapshot(1 << 30)
    trees.remove(workspace.files)
    assert not workspace.files.exists()


def test_modes_are_no_way_to_hide() -> None:
    run_as_other(_modes)


def _modes(directory: Path) -> None:
    workspaces, _ = make(directory)
    workspace = workspaces.open("w")
    locked = workspace.files / "locked" / "below"
    locked.mkdir(parents=True)
    (locked / "big").write_bytes(os.urandom(1 << 20))
    (locked / "big").chmod(0)
    for path in (locked, locked.parent):
        path.chmod(0)
    assert workspace.size(1 << 30) > 1 << 20
    assert stat.S_IMODE(locked.parent.stat().st_mode) == 0, "it is as it was"
    kept = workspace.kept(workspace.snapshot(2 << 20))
    kept.joinpath("locked").chmod(0o700)
    assert [path.name for path in (kept / "locked").iterdir()] == ["below"]
    workspace.restore(kept.name, 2 << 20)
    workspaces.remove("w")
    assert workspaces.ids() == []


def test_a_file_is_replaced_at_once_or_not_at_all(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.write("file", b"old")

    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(LocalError, match="no room"):
        workspace.write("file", b"new")
    monkeypatch.undo()
    assert workspace.read("file") == b"old"
    assert [entry.name for entry in workspace.entries()] == ["file"]


def test_a_directory_is_listed(workspace: Workspace) -> None:
    workspace.write("d/file", b"123")
    (workspace.files / "d" / "link").symlink_to("/etc")
    os.mkfifo(workspace.files / "d" / "pipe")
    (workspace.files / "d" / "sub").mkdir()
    listed = [(entry.name, entry.kind) for entry in workspace.entries("d")]
    assert listed == [("file", "file"), ("link", "link"), ("pipe", "special"), ("sub", "directory")]
    assert workspace.entries("/workspace/d")[0].bytes == 3
    for path in ("d/link", "..", "/etc", "d/file", "none"):
        with pytest.raises(LocalError):
            workspace.entries(path)


@pytest.mark.parametrize(("offset", "limit"), [(-1, 1), (0, -1), (0, 1 << 30), (1 << 63, 1)])
def test_what_is_asked_of_a_file_is_bounded(workspace: Workspace, offset: int, limit: int) -> None:
    workspace.write("file", b"x")
    with pytest.raises(LocalError):
        workspace.read("file", offset, limit)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_not_opened(workspace: Workspace) -> None:
    os.mknod(workspace.files / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    for call in (lambda: workspace.read("zero"), lambda: workspace.write("zero", b"x")):
        with pytest.raises(LocalError, match="not a regular file"):
            call()


def test_a_file_that_becomes_a_link_is_not_copied(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at a name and its opening: here the look is at a regular file, and the opening finds a link."""
    secret = workspace.path / "secret"
    secret.write_text("of this machine")
    (workspace.files / "evil").symlink_to(secret)
    (workspace.files / "file").write_text("mine")
    look = os.stat

    def believed(name: Any, **fields: Any) -> os.stat_result:
        return look("file" if name == "evil" else name, **fields)

    monkeypatch.setattr(os, "stat", believed)
    kept = workspace.kept(workspace.snapshot(1 << 20))
    assert [path.name for path in kept.iterdir()] == ["file"]
