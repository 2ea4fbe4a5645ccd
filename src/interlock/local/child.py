"""The managed local model as the supervisor sees it: an address, a key, a command for a `Child`, its health.

It does not start or restart anything itself.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Literal

from interlock.local.models import SMOLLM2, find
from interlock.local.serve import CONTEXT, PARALLEL

KEY_ENV = "INTERLOCK_LOCAL_KEY"
"""The variable that tells the model and the gateway's workers the model's key."""

HEALTH_S_MAX = 2.0

Health = Literal["loading", "ready", "down"]

_HEALTH: dict[bytes, Health] = {b"200": "ready", b"503": "loading"}
_INHERITED = ("PATH", "HOME", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
_INHERITED_PREFIXES = ("LANG", "LC_", "PYTHON", "GGML_", "OMP_", "CUDA_", "HIP_")


class LocalModel:
    """One model, one loopback port and one key for as long as the supervisor lives.

    The port is held by a bound socket that never listens. The child binds it too (SO_REUSEPORT), which the kernel
    allows to the same user only; so while the child restarts nobody else can take its place and be sent prompts.
    """

    def __init__(
        self,
        directory: Path,
        *,
        model: str = SMOLLM2.name,
        context: int = CONTEXT,
        threads: int | None = None,
        parallel: int = PARALLEL,
    ) -> None:
        """
        Args: as `interlock.local.serve.Options`; `directory` is the data directory.
        Raises: LocalError: there is no such model; the message says what to do.
        """
        self._path = find(directory, model)
        self._alias = self._path.stem if model.endswith(".gguf") else model
        self._numbers = {"--ctx": context, "--threads": threads, "--parallel": parallel}
        self.api_key = secrets.token_urlsafe(32)
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind(("127.0.0.1", 0))
        self.port: int = self._held.getsockname()[1]

    @property
    def url(self) -> str:
        """Without `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    def argv(self) -> list[str]:
        """The child's command. It holds no secret."""
        where = ["--model", str(self._path), "--alias", self._alias, "--host", "127.0.0.1", "--port", str(self.port)]
        numbers = [part for flag, value in self._numbers.items() if value is not None for part in (flag, str(value))]
        return [sys.executable, "-P", "-m", "interlock.local", *where, *numbers, "--api-key-env", KEY_ENV]

    def env(self) -> dict[str, str]:
        """The child's whole environment: its key, and none of the providers'."""
        kept = {k: v for k, v in os.environ.items() if k in _INHERITED or k.startswith(_INHERITED_PREFIXES)}
        return kept | {KEY_ENV: self.api_key}

    async def health(self) -> Health:
        """loading: it listens and reads the file. down: nobody listens, or the answer took longer than 2 s."""
        try:
            async with asyncio.timeout(HEALTH_S_MAX):
                status = await self._status_of_health()
        except (OSError, TimeoutError, ValueError):  # ValueError: a line that does not end
            return "down"
        return _HEALTH.get(status, "down")

    async def _status_of_health(self) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return (await reader.readline())[9:12]
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def close(self) -> None:
        """Let go of the port; after the child's end."""
        self._held.close()
