"""The list of models, in OpenAI's shape or Anthropic's. What is on it is the caller's to say."""

import datetime
from collections.abc import Sequence
from typing import Any

import msgspec

from interlock.errors import LocalError

PAGE_DEFAULT = 20
PAGE_MAX = 1_000
"""Anthropic's default and largest `limit`."""

Model = tuple[str, str, int]
"""(id, display name, created_ns: Unix epoch)."""


def listing(
    models: Sequence[Model], *, anthropic: bool, limit: str = "", after_id: str = "", before_id: str = ""
) -> bytes:
    """The models: all of them (OpenAI), or one page (Anthropic).

    Args: limit, after_id, before_id: the query's own strings, empty if it has none; Anthropic only.
    Raises: LocalError: limit is not 1 to PAGE_MAX, an id is not listed, or both ids are given.
    """
    if not anthropic:
        return msgspec.json.encode({"object": "list", "data": [_openai(model) for model in models]})
    page, has_more = _page(models, _limit(limit), after_id, before_id)
    return msgspec.json.encode(
        {
            "data": [_anthropic(model) for model in page],
            "has_more": has_more,
            "first_id": page[0][0] if page else None,
            "last_id": page[-1][0] if page else None,
        }
    )


def one(model: Model, *, anthropic: bool) -> bytes:
    """A single model."""
    return msgspec.json.encode(_anthropic(model) if anthropic else _openai(model))


def _page(models: Sequence[Model], limit: int, after_id: str, before_id: str) -> tuple[Sequence[Model], bool]:
    """Models of the page, and whether there are more in its direction."""
    if after_id and before_id:
        raise LocalError("give after_id or before_id, not both", field="before_id")
    if before_id:
        end = _index(models, before_id, "before_id")
        return models[max(end - limit, 0) : end], end > limit
    start = _index(models, after_id, "after_id") + 1 if after_id else 0
    return models[start : start + limit], start + limit < len(models)


def _index(models: Sequence[Model], id: str, field: str) -> int:
    for index, model in enumerate(models):
        if model[0] == id:
            return index
    raise LocalError(f"{field} names no listed model: {id!r}", field=field)


def _limit(text: str) -> int:
    if not text:
        return PAGE_DEFAULT
    if text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= PAGE_MAX:
        return int(text)
    raise LocalError(f"limit must be a whole number from 1 to {PAGE_MAX}", field="limit")


def _openai(model: Model) -> dict[str, Any]:
    return {"id": model[0], "object": "model", "created": model[2] // 1_000_000_000, "owned_by": "interlock"}


def _anthropic(model: Model) -> dict[str, Any]:
    created = datetime.datetime.fromtimestamp(model[2] // 1_000_000_000, datetime.UTC)
    stamp = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": model[0], "display_name": model[1], "created_at": stamp}
