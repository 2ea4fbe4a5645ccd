"""Trees of files that somebody else wrote and may be changing: how large they are, copies of them, and their end.

Nothing is believed of a name twice: a directory is opened once, below the root and through no link, and what is in it
is looked at through that descriptor. Depth, size and number are bounded; special files are never opened. What is kept
by a copy: names, contents, holes, modes (without set-user-id), times, links and hard links. What is not: owners,
extended attributes, devices, sockets and pipes.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from interlock.errors import LocalError
from interlock.runtime.hands.syscalls import open_beneath

ENTRY_BYTES = 4096
"""What a file or directory counts as at least, so that empty ones are bounded too."""
_FICLONE = 0x40049409  # ioctl_ficlone(2)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
Owner = tuple[int, int] | None


class TooLarge(LocalError):
    """A tree is larger, or deeper, than it may be."""


@contextlib.contextmanager
def opened(path: Path | int, name: str = "", flags: int = _DIRECTORY) -> Iterator[int]:
    """A descriptor of a directory by its path, or of a name beneath a directory's descriptor, closed afterwards."""
    if isinstance(path, int):
        descriptor = open_beneath(path, name or ".", flags, links=False)
    else:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _directories(root: int) -> Iterator[tuple[str, int, list[os.DirEntry[str]]]]:
    """Each directory: its path from the root, a descriptor, what is in it. Parents come before what is in them."""
    left = ["."]
    with contextlib.ExitStack() as locked:
        while left:
            path = left.pop()
            try:
                with _unlocked(root, path, locked), opened(root, path) as directory:
                    with os.scandir(directory) as found:
                        entries = list(found)
                    yield path, directory, entries
                    left += [f"{path}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)]
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    raise TooLarge("directories are nested too deeply", field="workspace") from error
                if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV}:  # it was taken away
                    raise


@contextlib.contextmanager
def _unlocked(root: int, path: str, locked: contextlib.ExitStack) -> Iterator[None]:
    """Let a directory be read that denies that to its owner, who we are if we are not root, until the walk is over.

    Otherwise a mode would be enough to hide any number of bytes.
    """
    descriptor = open_beneath(root, path, os.O_PATH | os.O_DIRECTORY, links=False)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if os.geteuid() == 0 or mode & 0o500 == 0o500:
        os.close(descriptor)
    else:
        locked.callback(os.close, descriptor)
        _change_mode(descriptor, mode | 0o500)
        locked.callback(_change_mode, descriptor, mode)
    yield


def _change_mode(descriptor: int, mode: int) -> None:
    with contextlib.suppress(OSError):
        os.chmod(f"/proc/self/fd/{descriptor}", mode)  # noqa: PTH101 - of a descriptor that cannot be written through


def size(root: Path, bytes_max: int) -> int:
    """What the tree takes on the disk, hard links counted once; counting ends once it is more than `bytes_max`."""
    total, seen = 0, set[int]()
    try:
        with opened(root) as top:
            for _, _, entries in _directories(top):
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
                            if found.st_ino in seen:
                                continue
                            seen.add(found.st_ino)
                        total += max(found.st_blocks * 512, ENTRY_BYTES)
                if total > bytes_max:
                    break
    except (TooLarge, PermissionError):
        return bytes_max + 1  # what cannot be counted is too much
    return total


class _Copy:
    def __init__(
        self, source: int, target: int, bytes_max: int, owner: Owner, leave_out: Callable[[str], bool]
    ) -> None:
        self.source, self.target = source, target
        self.left = bytes_max
        self.owner = owner
        self.leave_out = leave_out
        self.linked: dict[int, str] = {}
        self.clones = True
        self.made: list[tuple[str, os.stat_result]] = []

    def run(self) -> None:
        left_out = set[str]()
        for path, directory, entries in _directories(self.source):
            if path in left_out or any(path.startswith(f"{one}/") for one in left_out):
                continue
            with opened(self.target, path) as into:
                self.made.append((path, os.fstat(directory)))
                for entry in entries:
                    name = f"{path}/{entry.name}"
                    if self.leave_out(name.removeprefix("./")):
                        left_out.add(name)
                        continue
                    with contextlib.suppress(FileNotFoundError):
                        self._entry(directory, into, entry.name, name)
        for path, found in reversed(self.made):  # modes and times last: a copy may write where its owner may not
            with opened(self.target, path) as directory:
                self._finish(directory, found)

    def _entry(self, directory: int, into: int, name: str, path: str) -> None:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        self._spend(ENTRY_BYTES)
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=into)
        elif stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=directory), name, dir_fd=into)
            if self.owner:
                os.chown(name, *self.owner, dir_fd=into, follow_symlinks=False)
        elif stat.S_ISREG(found.st_mode):
            self._regular(directory, into, name, path)

    def _regular(self, directory: int, into: int, name: str, path: str) -> None:
        try:
            source = _opened_file(directory, name)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO}:  # it has become something else since
                return
            raise
        try:
            found = os.fstat(source)
            if not stat.S_ISREG(found.st_mode):
                return
            if found.st_nlink > 1 and found.st_ino in self.linked:
                os.link(self.linked[found.st_ino], name, src_dir_fd=self.target, dst_dir_fd=into, follow_symlinks=False)
                return
            target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=into)
            try:
                self._contents(source, target, found)
                self._finish(target, found)
            finally:
                os.close(target)
            if found.st_nlink > 1:
                self.linked[found.st_ino] = path
        finally:
            os.close(source)

    def _contents(self, source: int, target: int, found: os.stat_result) -> None:
        if self.clones:
            try:
                fcntl.ioctl(target, _FICLONE, source)
                self._spend(found.st_blocks * 512)
                return
            except OSError:
                self.clones = False
        os.ftruncate(target, found.st_size)
        at = 0
        while at < found.st_size:
            try:
                at = os.lseek(source, at, os.SEEK_DATA)
                end = min(os.lseek(source, at, os.SEEK_HOLE), found.st_size)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    return
                raise
            while at < end:
                count = os.copy_file_range(source, target, min(end - at, 1 << 24), at, at)
                if count == 0:
                    return  # it was cut short meanwhile
                self._spend(count)
                at += count

    def _finish(self, descriptor: int, found: os.stat_result) -> None:
        if self.owner:
            os.fchown(descriptor, *self.owner)
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & 0o777)
        os.utime(descriptor, ns=(found.st_atime_ns, found.st_mtime_ns))

    def _spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise TooLarge("the workspace is larger than its limit: remove something", field="disk_bytes")


def _opened_file(directory: int, name: str) -> int:
    """A descriptor to read from, also if the file denies that to its owner; never through a link, never waiting."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=directory)
    except PermissionError:
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            mode = os.fstat(found).st_mode
            if not stat.S_ISREG(mode):
                raise
            _change_mode(found, stat.S_IMODE(mode) | 0o400)
            try:
                return os.open(f"/proc/self/fd/{found}", flags & ~os.O_NOFOLLOW)
            finally:
                _change_mode(found, stat.S_IMODE(mode))
        finally:
            os.close(found)


def copy(
    source: Path,
    target: Path,
    *,
    bytes_max: int,
    owner: Owner = None,
    leave_out: Callable[[str], bool] = lambda path: False,
) -> None:
    """Copy a tree's contents into `target`, which is made and must be ours alone.

    Args:
        owner: user and group of what is made; None: ours.
        leave_out: whether a path from the root, and all below it, is not copied.
    Raises: TooLarge; OSError. The target is to be removed then.
    """
    target.mkdir(mode=0o700)
    with opened(source) as one, opened(target) as other:
        _Copy(one, other, bytes_max, owner, leave_out).run()


def remove(root: Path) -> None:
    """Remove a tree, however deep and whatever its modes. Nobody may be writing to it any more.

    What is below a directory is moved to the top before the directory goes: a program can nest directories deeper than
    any path, and any stack, is long.
    """
    token, number = secrets.token_hex(8), 0
    try:
        top = os.open(root, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        while names := _names(top):
            for name in names:
                if not _is_directory(top, name):
                    os.unlink(name, dir_fd=top)
                    continue
                os.chmod(name, 0o700, dir_fd=top)
                with opened(top, name) as inner:
                    for child in _names(inner):
                        if _is_directory(inner, child):
                            number += 1
                            os.chmod(child, 0o700, dir_fd=inner)
                            os.rename(child, f".{token}.{number}", src_dir_fd=inner, dst_dir_fd=top)
                        else:
                            os.unlink(child, dir_fd=inner)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    root.rmdir()


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as found:
        return [entry.name for entry in found]


def _is_directory(directory: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
