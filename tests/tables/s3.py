"""rclone's S3 server, a real one that checks signatures, over a directory."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import rclone_api

KEY, SECRET = "test-access-key", "test-secret-0123456789"


class Store(NamedTuple):
    """A server, and the directory that it serves."""

    options: dict[str, str]
    bucket: Path
    process: subprocess.Popen[str]


def free_port() -> int:
    """One of loopback."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(root: Path, port: int) -> Iterator[Store]:
    """With one bucket, `bucket`, that may be there already; killed at the end."""
    bucket = root / "bucket"
    bucket.mkdir(parents=True, exist_ok=True)
    program = Path(rclone_api.__file__).parent / "bin" / "rclone"
    command: list[str | Path] = [program, "--config=", "serve", "s3", f"--addr=127.0.0.1:{port}"]
    command += [f"--auth-key={KEY},{SECRET}", "--vfs-cache-mode=off", root]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Starting s3 server" in line:
                break
        else:
            raise AssertionError("rclone did not start")
        try:
            endpoint = f"http://127.0.0.1:{port}"
            options = {"endpoint": endpoint, "access_key_id": KEY, "secret_access_key": SECRET, "region": "eu-1"}
            yield Store(options, bucket, process)
        finally:
            process.kill()
