"""One workspace: what a session keeps between its sandboxes, a directory of its own (see `workspaces`).

Everything below `files` was written by an agent and may be changed by it while we look: paths are resolved by the
kernel, beneath `files` (`syscalls.open_beneath`), and only regular files are opened. As root each workspace is given a
user id of its own, on which this machine's files and processes mean nothing. Everything here blocks: call it in a
thread. It does not know of tenants: whose a workspace is, its caller knows.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from interlock.clock import Clock
from interlock.errors import LocalError
from interlock.ids import new_id
from interlock.runtime.hands import trees
from interlock.runtime.hands.syscalls import exchange, open_beneath

SNAPSHOTS_MAX, PATH_BYTES_MAX, READ_BYTES_MAX, LISTED_MAX = 16, 4095, 16 << 20, 10_000
_SNAPSHOT = re.compile(r"snap_[0-9a-f]{32}")
WITHIN = "/workspace"
"""What its directory is called in a sandbox."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One name in a directory."""

    name: str
    kind: str
    """`file`, `directory`, `link` or `special`."""
    bytes: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in workspace.json."""

    made_at_ns: int
    uid: int | None


class Workspace:
    """One workspace. `files` is what a sandbox sees as /workspace."""

    def __init__(self, path: Path, record: Record, clock: Clock) -> None:
        self.id = path.name
        self.path = path
        self.files = path / "files"
        self.temporary = path / "temporary"
        self.uid = record.uid
        """Whose its files are; None: this process's own user's."""
        self.made_at_ns = record.made_at_ns
        self._owner: trees.Owner = None if record.uid is None else (record.uid, record.uid)
        self._snapshots = path / "snapshots"
        self._clock = clock

    @property
    def there(self) -> bool:
        """Nobody has removed it."""
        return self.files.is_dir()

    def used(self) -> None:
        """Put off its expiry, if it is there."""
        now_ns = self._clock.now_ns()
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path / "used", ns=(now_ns, now_ns))

    def used_at_ns(self) -> int:
        """When it was used last."""
        return (self.path / "used").stat().st_mtime_ns

    def size(self, bytes_max: int) -> int:
        """Bytes on the disk of files and temporary files; no more than a little over `bytes_max` is counted."""
        total = trees.size(self.files, bytes_max)
        return total if total > bytes_max else total + trees.size(self.temporary, bytes_max - total)

    def directory(self, path: str) -> str:
        """The path of a directory as the sandbox sees it: relative, without links.

        Raises: LocalError: no such directory, or it is outside.
        """
        with self._opened(path, os.O_PATH | os.O_DIRECTORY, "cwd") as found:
            return os.path.relpath(Path(f"/proc/self/fd/{found}").readlink(), os.path.realpath(self.files))

    def read(self, path: str, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """A regular file's bytes. Raises: LocalError: no such regular file, outside, or over 16 MiB asked for."""
        if not (0 <= offset < 1 << 62 and 0 <= limit <= READ_BYTES_MAX):
            raise LocalError(f"offset must not be negative, and limit be at most {READ_BYTES_MAX}", field="limit")
        with self._opened(path, os.O_PATH, "path") as found:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                raise LocalError(f"{path!r} is not a regular file", field="path")
            # Only now is it opened for reading: opening a pipe waits, and opening a device does things.
            try:
                file = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise _refused(path, "path", error) from error
        try:
            return os.pread(file, limit, offset)
        finally:
            os.close(file)

    def entries(self, path: str = ".") -> list[Entry]:
        """What is in a directory, by name; of more than 10,000 names the first that the kernel gives."""
        with self._opened(path, os.O_RDONLY | os.O_DIRECTORY, "path") as found, os.scandir(found) as entries:
            listed = []
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    listed.append(_entry(entry))
                if len(listed) == LISTED_MAX:
                    break
        return sorted(listed, key=lambda entry: entry.name)

    def write(self, path: str, data: bytes) -> None:
        """Replace a file whole, at once; directories are made. Through a link: what it leads to is written in place.

        Raises: LocalError: outside, not a regular file, no room.
        """
        path = self._relative(path, "path")
        parent, _, name = path.rpartition("/")
        if name in {"", ".", ".."}:
            raise LocalError(f"{path!r} does not name a file", field="path")
        try:
            with self._made(parent or ".") as directory:
                self._replace(directory, name, path, data)
        except OSError as error:
            raise _refused(path, "path", error) from error

    def _replace(self, directory: int, name: str, path: str, data: bytes) -> None:
        mode = 0o644
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                return self._overwrite(path, data)
            if not stat.S_ISREG(found.st_mode):
                raise LocalError(f"{path!r} is not a regular file", field="path")
            mode = stat.S_IMODE(found.st_mode) & 0o777
        part = f".{secrets.token_hex(8)}.part"
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            try:
                _write_all(file, data)
                if self._owner:
                    os.fchown(file, *self._owner)
                os.fchmod(file, mode)
            finally:
                os.close(file)
            os.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part, dir_fd=directory)
            raise
        return None

    def _overwrite(self, path: str, data: bytes) -> None:
        with self._opened(path, os.O_PATH, "path") as found:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                raise LocalError(f"{path!r} is not a regular file", field="path")
            file = os.open(f"/proc/self/fd/{found}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            _write_all(file, data)
        finally:
            os.close(file)

    def _relative(self, path: str, field: str) -> str:
        """The path from the workspace's directory; agents name it as they see it."""
        if "\0" in path or len(path.encode(errors="surrogateescape")) > PATH_BYTES_MAX:
            raise LocalError(f"{path[:80]!r} is no path", field=field)
        for root in (WITHIN, str(self.files)):
            if path == root or path.startswith(f"{root}/"):
                path = path.removeprefix(root).lstrip("/")
        if path.startswith("/"):
            raise LocalError(f"{path[:200]!r} leads out of the workspace", field=field)
        return path or "."

    @contextlib.contextmanager
    def _made(self, path: str) -> Iterator[int]:
        """A descriptor of a directory beneath, made with its parents if there is none."""
        with trees.opened(self.files) as top:
            directory = os.dup(top)
            try:
                for depth in range(1, path.count("/") + 2):
                    above, _, name = "/".join(path.split("/")[:depth]).rpartition("/")
                    reached = f"{above}/{name}" if above else name or "."
                    try:
                        following = open_beneath(top, reached, os.O_RDONLY | os.O_DIRECTORY)
                    except FileNotFoundError:
                        os.mkdir(name, 0o755, dir_fd=directory)
                        following = open_beneath(directory, name, os.O_RDONLY | os.O_DIRECTORY, links=False)
                        if self._owner:
                            os.fchown(following, *self._owner)
                    os.close(directory)
                    directory = following
                yield directory
            finally:
                os.close(directory)

    @contextlib.contextmanager
    def _opened(self, path: str, flags: int, field: str) -> Iterator[int]:
        path = self._relative(path, field)
        with trees.opened(self.files) as top:
            try:
                found = open_beneath(top, path or ".", flags)
            except OSError as error:
                raise _refused(path, field, error) from error
        try:
            yield found
        finally:
            os.close(found)

    def snapshot(self, bytes_max: int) -> str:
        """Copy the files aside; the copy's id. What changes meanwhile is in it or not, each file by itself.

        Raises: LocalError: 16 snapshots stand already, or there are more than `bytes_max`.
        """
        if len(self.snapshots()) >= SNAPSHOTS_MAX:
            raise LocalError(f"{SNAPSHOTS_MAX} snapshots stand already: forget one", field="snapshot")
        id = new_id("snap", self._clock.now_ns())
        part = self._snapshots / f".{id}"
        try:
            trees.copy(self.files, part, bytes_max=bytes_max, owner=self._owner)
            part.rename(self._snapshots / id)
        except BaseException:
            trees.remove(part)
            raise
        return id

    def snapshots(self) -> list[str]:
        """Ids, oldest first."""
        return sorted(path.name for path in self._snapshots.iterdir() if _SNAPSHOT.fullmatch(path.name))

    def restore(self, snapshot: str, bytes_max: int) -> None:
        """Make the files what they were; at once. Nothing may run in it. Raises: LocalError: no such snapshot."""
        incoming = self.path / f".restore-{secrets.token_hex(8)}"
        try:
            trees.copy(self.kept(snapshot), incoming, bytes_max=bytes_max, owner=self._owner)
            exchange(str(incoming), str(self.files))
        finally:
            trees.remove(incoming)

    def forget(self, snapshot: str) -> None:
        """Remove a snapshot. Raises: LocalError: no such snapshot."""
        trees.remove(self.kept(snapshot))

    def kept(self, snapshot: str) -> Path:
        """Where a snapshot is. Raises: LocalError: no such snapshot of this workspace."""
        if not (_SNAPSHOT.fullmatch(snapshot) and (self._snapshots / snapshot).is_dir()):
            raise LocalError(f"no snapshot {snapshot!r} of this workspace", field="snapshot")
        return self._snapshots / snapshot

    def clear_temporary(self) -> None:
        """An empty /tmp for the next sandbox."""
        trees.remove(self.temporary)
        self.temporary.mkdir(mode=0o700)
        if self._owner:
            os.chown(self.temporary, *self._owner)


def _refused(path: str, field: str, error: OSError) -> LocalError:
    """In words that say what is wrong with the path, whatever the kernel called it."""
    said = {
        errno.EXDEV: "leads out of the workspace",
        errno.ELOOP: "goes through a link that cannot be followed here",
        errno.ENOENT: "does not exist",
        errno.ENOSPC: "cannot be written: no room",
        errno.EDQUOT: "cannot be written: no room",
    }
    return LocalError(f"{path[:200]!r} {said.get(error.errno or 0, error.strerror)}", field=field)


def _entry(entry: os.DirEntry[str]) -> Entry:
    found = entry.stat(follow_symlinks=False)
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    return Entry(name=entry.name, kind=kinds.get(stat.S_IFMT(found.st_mode), "special"), bytes=found.st_size)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
