"""Entries for these tests."""

from typing import Any

from interlock.caching import Entry
from interlock.caching.keeping import new_entry

SECOND_NS = 1_000_000_000


def entry(key: bytes = b"k" * 32, *, body: bytes = b"{}", made_at_ns: int = 0, **changes: Any) -> Entry:
    said: dict[str, Any] = {
        "tenant": "acme",
        "request_id": "req_1",
        "deployment": "d0",
        "stream": False,
        "lines": b"content-type: application/json\r\n",
        "usage": {"input": 3, "output": 2},
        "finish_reason": "stop",
        **changes,
    }
    return new_entry(key, said.pop("tenant"), made_at_ns=made_at_ns, body=body, **said)
