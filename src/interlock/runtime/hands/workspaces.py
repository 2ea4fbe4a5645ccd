"""All workspaces, below one root:

    ROOT/next_uid                 the next user id to be given out (as root only)
    ROOT/ID/workspace.json        its user id, when it was made
    ROOT/ID/used                  empty; its time of change is that of the last use
    ROOT/ID/files/                the workspace itself (`workspace.Workspace`)
    ROOT/ID/temporary/            a sandbox's /tmp: emptied when a sandbox is provisioned, never copied
    ROOT/ID/snapshots/snap_…/     copies of `files`

As root each workspace is given a user id of its own, on which this machine's files and processes mean nothing.
Everything here blocks: call it in a thread. It does not know of tenants: whose a workspace is, its caller knows.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Collection
from pathlib import Path

import msgspec

from interlock.clock import Clock
from interlock.errors import LocalError
from interlock.runtime.hands import trees
from interlock.runtime.hands.workspace import Record, Workspace

FIRST_UID = 0x70000000
"""Above what distributions give to people, services, containers and systemd's own (uids.md of systemd)."""
DAY_NS = 86_400_000_000_000
_NEW, _REMOVED = ".new-", ".removed-"
_LEFT = (_NEW, _REMOVED, "*/.restore-", "*/snapshots/.")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CREDENTIALS = re.compile(
    r"\.(netrc|git-credentials|pypirc|aws|ssh|kube|azure|gnupg|config/gh|config/gcloud|docker/config\.json)"
)
"""Where tools keep what they were given to sign in with, below HOME, which is the workspace."""


def expired(used_at_ns: int, now_ns: int, idle_days: float) -> bool:
    """Whether a workspace that was last used then has been idle for too long."""
    return now_ns - used_at_ns > idle_days * DAY_NS


class Workspaces:
    """All of them, below one root that is ours alone."""

    def __init__(self, root: Path, clock: Clock, *, own_users: bool | None = None) -> None:
        """
        Args:
            own_users: a user id for each; None: if we are root, who else could not give them.
        """
        self.root = root
        self._clock = clock
        self.own_users = os.geteuid() == 0 if own_users is None else own_users

    def open(self, id: str) -> Workspace:
        """The workspace of that id, made if it is new; it counts as used. Raises: LocalError: not an id."""
        path = self._path(id)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            self._make(path)
        workspace = self._found(path)
        workspace.used()
        return workspace

    def fork(self, source: str, target: str, *, snapshot: str = "", bytes_max: int) -> Workspace:
        """A new workspace with a copy of another's files, or of its snapshot; never what tools sign in with.

        Raises: LocalError: no such source, the target exists, or there are more than `bytes_max`.
        """
        found, path = self._path(source), self._path(target)
        if not found.exists():
            raise LocalError(f"no workspace {source!r}", field="workspace")
        if path.exists():
            raise LocalError(f"workspace {target!r} exists", field="workspace")
        one = self._found(found)
        self._make(path, one.kept(snapshot) if snapshot else one.files, bytes_max)
        return self.open(target)

    def remove(self, id: str) -> None:
        """With its snapshots; nothing of it may be running. None of that id: nothing."""
        trash = self.root / f"{_REMOVED}{secrets.token_hex(8)}"
        with contextlib.suppress(FileNotFoundError):
            self._path(id).rename(trash)
            trees.remove(trash)

    def ids(self) -> list[str]:
        """Of all that there are."""
        return sorted(path.name for path in self.root.iterdir() if _ID.fullmatch(path.name) and path.is_dir())

    def sweep(self, idle_days: float, in_use: Collection[str] = ()) -> list[str]:
        """Remove those that nobody used for that long, and what a crash left half made or half removed; their ids."""
        for left in (path for kind in _LEFT for path in self.root.glob(f"{kind}*")):
            with contextlib.suppress(FileNotFoundError):  # another sweep took it to remove it
                if self._clock.now_ns() - left.stat().st_mtime_ns > DAY_NS:
                    trees.remove(left.rename(self.root / f"{_REMOVED}{secrets.token_hex(8)}"))
        gone = []
        for id in self.ids():
            found = self._found(self.root / id)
            if id not in in_use and expired(found.used_at_ns(), self._clock.now_ns(), idle_days):
                self.remove(id)
                gone.append(id)
        return gone

    def _path(self, id: str) -> Path:
        if not _ID.fullmatch(id):
            raise LocalError(f"{id[:80]!r} is not an id: letters, digits, - and _, at most 64", field="workspace")
        return self.root / id

    def _found(self, path: Path) -> Workspace:
        record = msgspec.json.decode((path / "workspace.json").read_bytes(), type=Record)
        return Workspace(path, record, self._clock)

    def _make(self, path: Path, contents: Path | None = None, bytes_max: int = 0) -> None:
        uid = self._next_uid() if self.own_users else None
        owner: trees.Owner = None if uid is None else (uid, uid)
        part = self.root / f"{_NEW}{secrets.token_hex(8)}"
        try:
            part.mkdir(mode=0o700)
            files = part / "files"
            if contents is None:
                files.mkdir(mode=0o700)
            else:
                trees.copy(contents, files, bytes_max=bytes_max, owner=owner, leave_out=_is_credential)
            for name in ("temporary", "snapshots"):
                (part / name).mkdir(mode=0o700)
            (part / "used").touch()
            record = Record(made_at_ns=self._clock.now_ns(), uid=uid)
            (part / "workspace.json").write_bytes(msgspec.json.encode(record))
            if owner:
                os.chown(files, *owner)
                os.chown(part / "temporary", *owner)
            part.rename(path)
        except FileExistsError:  # another process made it first
            trees.remove(part)
        except OSError as error:
            trees.remove(part)
            if error.errno != errno.ENOTEMPTY:
                raise
        except BaseException:
            trees.remove(part)
            raise

    def _next_uid(self) -> int:
        path = self.root / "next_uid"
        path.touch(mode=0o600)
        with path.open("r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            uid = max(int(file.read() or b"0"), FIRST_UID)
            file.seek(0)
            file.write(b"%d" % (uid + 1))
            os.fsync(file.fileno())
        return uid


def _is_credential(path: str) -> bool:
    return _CREDENTIALS.fullmatch(path) is not None
