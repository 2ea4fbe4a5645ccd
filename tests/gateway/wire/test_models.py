"""The list of models: both shapes, and every page of Anthropic's."""

import json
from typing import Any

import pytest

from interlock.errors import LocalError
from interlock.gateway.wire import listing, one

MODELS = [(f"m{n}", f"Model {n}", (1_757_000_000 + n) * 1_000_000_000 + 5) for n in range(45)]


def page(**query: str) -> Any:
    return json.loads(listing(MODELS, anthropic=True, **query))  # noqa: TID251 - an oracle of its own


def test_openai() -> None:
    got = json.loads(listing(MODELS[:1], anthropic=False))  # noqa: TID251 - an oracle of its own
    want = {"id": "m0", "object": "model", "created": 1_757_000_000, "owned_by": "interlock"}
    assert got == {"object": "list", "data": [want]}
    assert json.loads(one(MODELS[0], anthropic=False)) == want  # noqa: TID251 - an oracle of its own


def test_anthropic() -> None:
    got = page()
    assert (len(got["data"]), got["has_more"], got["first_id"], got["last_id"]) == (20, True, "m0", "m19")
    want = {"type": "model", "id": "m0", "display_name": "Model 0", "created_at": "2025-09-04T15:33:20Z"}
    assert got["data"][0] == want
    assert json.loads(one(MODELS[0], anthropic=True)) == want  # noqa: TID251 - an oracle of its own


@pytest.mark.parametrize("limit", ["1", "7", "44", "45", "1000"])
def test_paging_forward_and_back_reaches_every_model_once(limit: str) -> None:
    forward, query = [], {"limit": limit}
    while True:
        got = page(**query)
        forward += [model["id"] for model in got["data"]]
        if not got["has_more"]:
            break
        query = {"limit": limit, "after_id": got["last_id"]}
    assert forward == [model[0] for model in MODELS]
    back, first = ["m44"], "m44"
    while True:
        got = page(limit=limit, before_id=first)
        back = [model["id"] for model in got["data"]] + back
        first = got["first_id"]
        if not got["has_more"]:
            break
    assert back == forward


def test_a_page_that_ends_with_the_list_has_no_more() -> None:
    assert page(limit="45")["has_more"] is False
    assert page(limit="44")["has_more"] is True
    assert page(limit="5", before_id="m5")["has_more"] is False
    assert page(limit="4", before_id="m5")["has_more"] is True


def test_empty() -> None:
    got = json.loads(listing([], anthropic=True))  # noqa: TID251 - an oracle of its own
    assert got == {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert page(after_id="m44")["data"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "²"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"after_id": "nobody"}, "after_id"),
        ({"before_id": "nobody"}, "before_id"),
        ({"before_id": "m1", "after_id": "m2"}, "before_id"),
    ],
)
def test_refusals(query: dict[str, str], field: str) -> None:
    with pytest.raises(LocalError) as raised:
        page(**query)
    assert raised.value.field == field
