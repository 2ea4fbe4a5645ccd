"""`read`: lines of a file in the workspace, or of a result that was too long for the log."""

from typing import Annotated, Any

import msgspec

from interlock.runtime.brain.tools.ports import Done, Use, decoded
from interlock.runtime.sessions.event import Effect

LINES = 1000
LINES_MAX = 10_000
BYTES_MAX = 256 * 1024
"""Of what one call gives back."""
SCANNED_MAX = 256 << 20
"""Bytes of a file that are passed over to find a line."""
_CHUNK = 1 << 20
_BLOB = "blob:"


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    line: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)] = 1
    lines: Annotated[int, msgspec.Meta(ge=1, le=LINES_MAX)] = LINES


class Read:
    """Pure."""

    name = asks_as = "read"
    description = (
        f"Read a text file of the workspace: `lines` lines (else {LINES}) beginning at line number `line` (else 1). A "
        "path `blob:HASH` reads a result that was too long to be shown whole."
    )
    effect: Effect = "pure"
    schema: dict[str, Any] = {  # noqa: RUF012 - a class of constants; nothing writes to it
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "line": {"type": "integer", "minimum": 1},
            "lines": {"type": "integer", "minimum": 1, "maximum": LINES_MAX},
        },
        "required": ["path"],
        "additionalProperties": False,
    }

    def check(self, arguments: dict[str, Any]) -> str:
        return decoded(arguments, _Arguments)

    async def run(self, arguments: dict[str, Any], use: Use) -> Done:
        asked = msgspec.convert(arguments, _Arguments)
        chunk = await self._source(asked.path, use)
        if chunk is None:
            return Done(outcome="error", content=b"No result of this session has that hash.")
        wanted, skipped, offset, left = bytearray(), asked.line - 1, 0, asked.lines
        while left and len(wanted) < BYTES_MAX and offset < SCANNED_MAX:
            data = await chunk(offset)
            if not data:
                break
            if b"\0" in data[:8192]:
                return Done(outcome="error", content=b"That is not a text file: it holds NUL bytes.")
            offset += len(data)
            for piece in data.splitlines(keepends=True):
                ends = piece.endswith(b"\n")
                if skipped:
                    skipped -= ends
                    continue
                wanted += piece
                left -= ends
                if not left or len(wanted) >= BYTES_MAX:
                    break
            if len(data) < _CHUNK:
                break
        return self._shown(asked, bytes(wanted), offset)

    async def _source(self, path: str, use: Use) -> Any:
        """What gives a megabyte at an offset; None: there is no such result."""
        if path.startswith(_BLOB):
            blob = await use.blob(path[len(_BLOB) :])

            async def of_blob(offset: int) -> bytes:
                assert blob is not None
                return blob[offset : offset + _CHUNK]

            return of_blob if blob is not None else None
        sandbox = await use.sandbox()

        async def of_file(offset: int) -> bytes:
            return await sandbox.read(path, offset=offset, limit=_CHUNK)

        return of_file

    def _shown(self, asked: _Arguments, wanted: bytes, scanned: int) -> Done:
        if not wanted:
            why = "It is empty." if not scanned else f"It has no line {asked.line}."
            return Done(content=f"[{why}]".encode())
        if len(wanted) > BYTES_MAX:
            rest = f"\n[cut after {BYTES_MAX} bytes; ask for fewer lines, or further on]"
            return Done(content=wanted[:BYTES_MAX] + rest.encode())
        return Done(content=wanted)
