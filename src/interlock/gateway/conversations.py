"""Where conversations are: one page of memory that all workers of a machine share.

A file of slots of 64 bytes, mapped by every worker, so that a conversation's next call finds what its last one left,
whichever worker takes it, and after a restart. Nothing is locked: a slot has a checksum, and one that two workers wrote
at once, or a dying one half, is no slot. It is a hint, not a record: what is lost costs a prompt cache. Its size is
fixed; in a full row of slots the conversation that was quiet longest gives way.
"""

import mmap
import os
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from interlock.gateway.affinity import Held, moved
from interlock.gateway.policy import Deployment

ROWS = 16_384
WAYS = 4
"""Slots of a row: where a conversation may stand."""
_SLOT = struct.Struct("<16s8s8sIIIQI8x")
"""Key, deployment, family, since, cached, answer, seconds, checksum."""
_SUMMED = _SLOT.size - 12
_U32 = (1 << 32) - 1

assert _SLOT.size == 64


def conversation_key(tenant: str, session: str, opening: str) -> bytes:
    """Names a conversation among all of a machine: no tenant's is another's."""
    return blake2b(f"{tenant}\0{session}\0{opening}".encode(), digest_size=16).digest()


class Conversation(NamedTuple):
    """The one that a call goes on with."""

    key: bytes
    held: Held | None
    """Where it was before."""


class Conversations:
    """The page. Times are Unix seconds."""

    def __init__(self, path: Path | None = None) -> None:
        """Map the file, made if it is not there; None, or no room for it: memory of this process alone."""
        self._page = _mapped(path, ROWS * WAYS * _SLOT.size)
        self._names: dict[bytes, str] = {}

    def know(self, names: Iterable[str]) -> None:
        """Deployments and families of the policy: what is found in a slot and is none of them is forgotten."""
        self._names = {_tag(name): name for name in names}

    def find(self, key: bytes) -> Held | None:
        """Where a conversation is."""
        page = self._page
        at = (int.from_bytes(key[:4], "little") % ROWS) * WAYS * 64
        for offset in range(at, at + WAYS * 64, 64):
            if page[offset : offset + 16] == key:
                _, deployment, family, since, cached, answer, at_s, checksum = _SLOT.unpack_from(page, offset)
                if crc32(page[offset : offset + _SUMMED]) != checksum:
                    return None
                names = self._names
                return Held(names.get(deployment, ""), names.get(family, ""), since, cached, answer, at_s)
        return None

    def keep(self, key: bytes, held: Held) -> None:
        """Write down where a conversation is now."""
        slot = bytearray(64)
        _SLOT.pack_into(
            slot,
            0,
            key,
            _tag(held.deployment),
            _tag(held.family),
            min(held.since, _U32),
            min(held.cached_tokens, _U32),
            min(held.output_tokens, _U32),
            held.at_s,
            0,
        )
        struct.pack_into("<I", slot, _SUMMED, crc32(slot[:_SUMMED]))
        offset = self._place(key)
        self._page[offset : offset + 64] = bytes(slot)

    def move(
        self, conversation: Conversation, deployment: Deployment, messages: int, usage: Mapping[str, int], now_ns: int
    ) -> None:
        """It was answered by `deployment`, whole. `messages`: of the call."""
        held = moved(conversation.held, deployment, messages, usage, now_ns // 1_000_000_000)
        self.keep(conversation.key, held)

    def _place(self, key: bytes) -> int:
        """Its own slot, else the one that was written longest ago."""
        at = (int.from_bytes(key[:4], "little") % ROWS) * WAYS * 64
        oldest, oldest_s = at, 1 << 64
        for offset in range(at, at + WAYS * 64, 64):
            if self._page[offset : offset + 16] == key:
                return offset
            at_s: int = _SLOT.unpack_from(self._page, offset)[6]
            if at_s < oldest_s:
                oldest, oldest_s = offset, at_s
        return oldest

    def close(self) -> None:
        """Give the page back."""
        self._page.close()


def _mapped(path: Path | None, size: int) -> mmap.mmap:
    if path is not None:
        with suppress(OSError):  # a full disk: conversations are held by each worker for itself
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, size)  # at once: a mapped file that cannot grow kills who writes to it
                return mmap.mmap(file, size)
            finally:
                os.close(file)
    return mmap.mmap(-1, size)


@lru_cache(1024)
def _tag(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=8).digest() if name else bytes(8)
