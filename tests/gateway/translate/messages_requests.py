"""Messages requests that tests share."""

from typing import Any

USER = {"role": "user", "content": "Hi"}


def request(**more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": [USER]} | more


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return request(messages=[{"role": "user", "content": list(blocks)}])


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return request(messages=[USER, {"role": "assistant", "content": list(blocks)}])
