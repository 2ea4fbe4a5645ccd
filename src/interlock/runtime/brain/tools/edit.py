"""`edit`: replace text in a file, or create one.

Idempotent by content: before it writes, it writes down the hashes of the file before and after. Another attempt finds
the file as it was (and writes), as it was to be (and is done), or neither: then somebody else has changed it, and it
says so and touches nothing.
"""

import hashlib
from typing import Annotated, Any

import msgspec

from interlock.errors import LocalError
from interlock.runtime.brain.tools.ports import Done, Use, decoded
from interlock.runtime.hands import Sandbox
from interlock.runtime.sessions.event import Effect

FILE_BYTES_MAX = 8 << 20
_CHUNK = 1 << 20


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    new: str
    old: str = ""
    all: bool = False


class Edit:
    """Idempotent."""

    name = asks_as = "edit"
    description = (
        "Replace the text `old` by `new` in a file of the workspace. `old` must be there exactly once, white space and "
        "all, unless `all` is true. Without `old` a new file is created; it must not be there yet."
    )
    effect: Effect = "idempotent"
    schema: dict[str, Any] = {  # noqa: RUF012 - a class of constants; nothing writes to it
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "old": {"type": "string"},
            "new": {"type": "string"},
            "all": {"type": "boolean"},
        },
        "required": ["path", "new"],
        "additionalProperties": False,
    }

    def check(self, arguments: dict[str, Any]) -> str:
        wrong = decoded(arguments, _Arguments)
        if not wrong and arguments.get("old") and arguments["old"] == arguments["new"]:
            return "`old` and `new` are the same"
        return wrong

    async def run(self, arguments: dict[str, Any], use: Use) -> Done:
        asked = msgspec.convert(arguments, _Arguments)
        sandbox = await use.sandbox()
        before = await _whole(sandbox, asked.path)
        planned = [note for note in await use.noted() if note.get("edit") == asked.path]
        if planned:
            return await self._again(asked, before, planned[-1], sandbox)
        after = _edited(asked, before)
        if isinstance(after, str):
            return Done(outcome="error", content=after.encode())
        await use.note({"edit": asked.path, "before": _hash(before), "after": _hash(after)})
        await sandbox.write(asked.path, after)
        return Done(content=_said(asked, before))

    async def _again(self, asked: _Arguments, before: bytes | None, plan: Any, sandbox: Sandbox) -> Done:
        """An earlier attempt got as far as its plan."""
        if _hash(before) == plan.get("after"):
            return Done(content=_said(asked, before))
        after = _edited(asked, before) if _hash(before) == plan.get("before") else ""
        if isinstance(after, str) or _hash(after) != plan.get("after"):
            text = f"{asked.path} has been changed since the edit began; it was not touched. Read it and edit again."
            return Done(outcome="error", content=text.encode())
        await sandbox.write(asked.path, after)
        return Done(content=_said(asked, before))


async def _whole(sandbox: Sandbox, path: str) -> bytes | None:
    """The file; None: there is none. Raises: LocalError: it is too large."""
    content = bytearray()
    while len(content) <= FILE_BYTES_MAX:
        try:
            data = await sandbox.read(path, offset=len(content), limit=_CHUNK)
        except LocalError:
            if content:
                raise
            return None
        content += data
        if len(data) < _CHUNK:
            return bytes(content)
    raise LocalError(f"{path} is larger than {FILE_BYTES_MAX} bytes", field="path")


def _edited(asked: _Arguments, before: bytes | None) -> bytes | str:
    """The new content, or why there is none."""
    old, new = asked.old.encode(), asked.new.encode()
    if not old:
        return new if before is None else f"{asked.path} is there already: say which text (`old`) is to be replaced."
    if before is None:
        return f"There is no file {asked.path}."
    count = before.count(old)
    if count == 0:
        return f"`old` is not in {asked.path}. It must match exactly, white space and line ends too."
    if count > 1 and not asked.all:
        return f"`old` is {count} times in {asked.path}. Take more of what stands around it, or set `all`."
    after = before.replace(old, new)
    return after if len(after) <= FILE_BYTES_MAX else f"{asked.path} would be larger than {FILE_BYTES_MAX} bytes."


def _hash(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()


def _said(asked: _Arguments, before: bytes | None) -> bytes:
    return f"{'Edited' if asked.old else 'Created'} {asked.path}.".encode()
