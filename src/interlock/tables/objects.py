"""Files in an S3-compatible store. What is asked for is read through a bounded directory of copies.

The names of a place are the keys below a prefix. Nothing of a credential, nor of an answer's body, is in an error.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from interlock.clock import Clock
from interlock.errors import LocalError, TransientError
from interlock.tables.manifest import Damaged, File
from interlock.tables.place import Known, Lock, clean

if TYPE_CHECKING:
    from obstore.store import S3Config

OPTIONS = {
    "endpoint": "endpoint",
    "region": "region",
    "access_key_id": "access_key_id",
    "secret_access_key": "secret_access_key",
    "session_token": "token",
}
"""Ours and obstore's names; what is not given is looked for where AWS's own tools look (environment, instance)."""
REQUEST_S_MAX = 60
RETRIES_MAX = 4
RETRYING_S_MAX = 90
DOWNLOADS_MAX = 8
"""Of files at a time."""

_T = TypeVar("_T")


class Objects:
    """A place in a bucket."""

    def __init__(
        self,
        address: str,
        options: Mapping[str, str],
        cache: Path,
        *,
        cache_bytes_max: int = sys.maxsize,
        clock: Clock,
        grace_s: float = 0.0,
    ) -> None:
        """Touches no network.

        Args:
            address: `s3://bucket/prefix`. cache: a directory of this place alone; its content may be lost.
            grace_s: how long a copy stays after it was handed out, though the cache be full.
        Raises: LocalError: a bad address or option. InterlockError `conflict`. TransientError `view_unavailable`.
        """
        self._store = _store(address, options)
        self._max = cache_bytes_max
        self._clock = clock
        self._grace_ns = int(grace_s * 1e9)
        self._known = Known()
        self._fetching = threading.Lock()  # protects the network: one question's files at a time
        self._mutex = threading.RLock()  # protects the copies: which are handed out, and which are removed for others
        self._copies: dict[str, tuple[int, int]] = {}  # name -> (bytes, when it was handed out), the longest ago first
        try:
            self._lock = Lock(cache)
            self.scratch = clean(cache / "scratch")
            self._cache = cache / "files"
            self._cache.mkdir(mode=0o700, exist_ok=True)
            for path in self._cache.rglob("*.parquet"):
                self._copies[path.relative_to(self._cache).as_posix()] = (path.stat().st_size, 0)
        except OSError as error:
            raise TransientError(f"{cache.name}: {error.strerror}", code="view_unavailable") from error

    def keep(self, name: str, made: Path) -> None:
        self._try(name, lambda store: store.put(name, made))
        try:
            self._put(name, made)
        except OSError:  # no room for a copy: whoever asks for the file gets it from the store
            made.unlink(missing_ok=True)

    def fetch(self, files: Sequence[File]) -> list[str]:
        with self._fetching:
            lacking = [file for file in files if not self._has(file)]
            if lacking:
                with ThreadPoolExecutor(min(DOWNLOADS_MAX, len(lacking)), thread_name_prefix="tables") as pool:
                    list(pool.map(self._download, lacking))
        return [str(self._cache / file.name) for file in files]

    def read(self, name: str) -> bytes | None:
        try:
            return self._try(name, lambda store: bytes(store.get(name).bytes()))
        except Damaged:
            return None

    def write(self, name: str, content: bytes) -> None:
        self._try(name, lambda store: store.put(name, content))

    def remove(self, names: Sequence[str]) -> None:
        for name in names:
            self._try(name, partial(_delete, name))
            self._forget(name)

    def names(self) -> Iterator[str]:
        for page in self._try("the list of files", lambda store: list(store.list())):
            yield from (entry["path"] for entry in page if entry["path"].endswith(".parquet"))

    def close(self) -> None:
        self._lock.release()

    def _has(self, file: File) -> bool:
        """Whether there is a good copy; from now on it is handed out."""
        try:
            self._known.check(self._cache / file.name, file)
        except Damaged:  # the copy; the store has the file
            self._forget(file.name)
            return False
        except OSError as error:
            raise TransientError(f"{file.name}: {error.strerror}", code="view_unavailable") from error
        with self._mutex:
            self._copies.pop(file.name, None)
            self._copies[file.name] = (file.bytes, self._clock.monotonic_ns())
        return True

    def _download(self, file: File) -> None:
        """Make a good copy. Raises: Damaged: the store's is not."""
        path = self.scratch / f"{threading.get_ident()}-{file.name.rpartition('/')[2]}"

        def stream(store: Any) -> None:
            with path.open("wb") as out:
                for chunk in store.get(file.name).stream():
                    out.write(chunk)

        try:
            self._try(file.name, stream)
            self._known.check(path, file)
            self._put(file.name, path)
        except OSError as error:
            raise TransientError(f"{file.name}: {error.strerror}", code="view_unavailable") from error
        finally:
            path.unlink(missing_ok=True)

    def _put(self, name: str, made: Path) -> None:
        """Into the copies, and others out that were handed out longer ago than a question takes. Raises: OSError."""
        path = self._cache / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made.replace(path)
        now = self._clock.monotonic_ns()
        with self._mutex:
            self._copies[name] = (path.stat().st_size, now)
            over = sum(size for size, _ in self._copies.values()) - self._max
            old = [one for one, (_, at) in self._copies.items() if at == 0 or at < now - self._grace_ns]
            for one in old:
                if over <= 0:
                    return
                over -= self._copies[one][0]
                self._forget(one)

    def _forget(self, name: str) -> None:
        with self._mutex:
            self._copies.pop(name, None)
            self._known.forget(name)
            (self._cache / name).unlink(missing_ok=True)

    def _try(self, name: str, ask: Callable[[Any], _T]) -> _T:
        from obstore.exceptions import BaseError

        try:
            return ask(self._store)
        except FileNotFoundError as error:
            raise Damaged(name, "it is missing") from error
        except BaseError as error:
            # Its text has the request and the answer in it; the name of its kind says what is to be done.
            raise TransientError(f"{name}: the store failed: {type(error).__name__}", code="view_unavailable") from None
        except OSError as error:
            raise TransientError(f"{name}: {error.strerror or error}", code="view_unavailable") from error


def _delete(name: str, store: Any) -> None:
    store.delete(name)


def _store(address: str, options: Mapping[str, str]) -> Any:
    from obstore.store import S3Store

    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    if not address.startswith("s3://") or not bucket:
        raise LocalError(f"{address[:80]!r} is no place: a directory, or s3://bucket/prefix", field="place")
    for name in options:
        if name not in OPTIONS:
            raise LocalError(f"{name[:40]!r} is no option; there are {', '.join(OPTIONS)}", field=name)
    config = {OPTIONS[name]: value for name, value in options.items()}
    region = os.environ.get("AWS_REGION", "us-east-1")
    plain = options.get("endpoint", "").startswith("http://")
    return S3Store(
        bucket,
        prefix=prefix.strip("/") or None,
        config=cast("S3Config", {"region": region, "virtual_hosted_style_request": False, **config}),
        client_options={"allow_http": plain, "timeout": f"{REQUEST_S_MAX}s", "connect_timeout": "5s"},
        retry_config={"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRYING_S_MAX)},
    )
