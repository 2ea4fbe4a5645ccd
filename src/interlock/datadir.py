"""Where things stand in a data directory. The names are part of the product: people back these up."""

import contextlib
import os
from pathlib import Path


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/interlock`, by the XDG Base Directory Specification."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "interlock"


def would_show(path: str | Path, hidden: Path) -> bool:
    """Whether who sees `path` sees something of the directory `hidden`: it is that, holds it or stands in it.

    Links are followed as they are now.
    """
    real, secret = Path(path).resolve(), hidden.resolve()
    return real.is_relative_to(secret) or secret.is_relative_to(real)


class DataDir:
    """Paths below one data directory; making one touches nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.admin_key = root / "admin.key"
        """The first key; mode 0600."""
        self.checkpoint_key = root / "checkpoint.key"
        """What checkpoints are signed with; mode 0600."""
        self.checkpoint_pub = root / "checkpoint.pub"
        """Its public half."""
        self.session_secret = root / "session.secret"
        """What tokens of sessions are signed with; mode 0600. Made anew if it is not there: those tokens end then."""
        self.log = root / "log.sqlite"
        """Streams `identity`, `config`, `tools`, `credits`, `billing` and their like."""
        self.journal = root / "journal"
        """Streams `usage/N`, `events/0` and `checkpoints`, a directory each."""
        self.ledger = root / "views" / "ledger.sqlite"
        """A view: may be deleted while nothing runs."""
        self.erasures = root / "erasures"
        """What was asked to be erased; while it runs, with the names. Not a view."""
        self.events_index = root / "views" / "events"
        """The same: of the keys of all events."""
        self.tables = root / "views" / "tables"
        """The same: Parquet files."""
        self.models = root / "models"
        self.run = root / "run"
        """Of the processes that run now; nothing in it lasts."""
        self.generation = self.run / "generation"
        self.conversations = root / "views" / "conversations"
        """A view of where conversations are: may be deleted while nothing runs."""
        self.limits = self.run / "limits"
        """What calls count against limits on."""
        self.sessions = root / "sessions.sqlite"
        """The logs of agents' sessions, and who holds which."""
        self.blobs = root / "blobs"
        """What was too large for a session's log, under its hash."""
        self.workspaces = root / "workspaces"
        """Agents' files, a directory each, and their snapshots."""
        self.runtime_socket = self.run / "runtime.sock"
        """Where the process that runs agents is asked."""
        self.door = self.run / "door.sock"
        """Where the door listens for workers."""
        self.door_starts = self.run / "door.starts"
        """A byte for each start of the door since it last served: two say that it fails to."""
        self.machine = root / "machine.id"
        """A name that this machine keeps, among others that share limits with it."""
        self.config = root / "interlock.toml"
        """Read if no other configuration is named."""

    def create(self) -> None:
        """Make the directories, readable by their owner alone."""
        for path in (self.root, self.journal, self.ledger.parent, self.models, self.run):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read_session_secret(self) -> bytes:
        """32 bytes, made by whoever asks first. Raises: OSError."""
        if not self.session_secret.exists():
            temporary = self.root / f".session.secret.{os.getpid()}"
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(os.urandom(32))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # unlike a rename, this lets the first one stand
                os.link(temporary, self.session_secret)
            temporary.unlink()
        return self.session_secret.read_bytes()

    @property
    def supervisor_lock(self) -> Path:
        """Held with flock by the server that runs on this directory."""
        return self.run / "supervisor.lock"

    def metrics(self, slot: int) -> Path:
        """A worker's numbers, written anew each second."""
        return self.run / f"metrics-{slot}"

    def pid(self, process: str) -> Path:
        """The process id of `supervisor`, `control`, `local`, `door` or `worker-N`."""
        return self.run / f"{process}.pid"
