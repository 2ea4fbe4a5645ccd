"""Tool call ids: towards a client reversible, towards an upstream legal and the same for a call and its result."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.gateway.translate.ids import to_client, to_upstream
from interlock.ledger import Format

FORMATS = st.sampled_from(["chat", "messages", "responses"])
LEGAL: dict[Format, str] = {"messages": "[a-zA-Z0-9_-]+", "chat": "[!-~]{1,40}", "responses": "[!-~]{1,64}"}
IDS = st.one_of(
    st.text(max_size=80),
    st.from_regex("ilkid_[A-Za-z0-9_=-]{0,20}", fullmatch=True),
    st.sampled_from(
        ["", "call_1", "toolu_01A", "function:0", "ünïcode", "x" * 41, "x" * 65, "ilkid_", "ilkid_YQ", "a b"]
    ),
)


@pytest.mark.parametrize(
    ("id", "format", "shown"),
    [
        ("call_1", "messages", "call_1"),
        ("functions.f:0", "chat", "functions.f:0"),
        ("functions.f:0", "messages", "ilkid_ZnVuY3Rpb25zLmY6MA"),
        ("", "chat", "ilkid_"),
        ("ilkid_YQ", "chat", "ilkid_aWxraWRfWVE"),
    ],
)
def test_by_hand(id: str, format: Format, shown: str) -> None:
    assert to_client(id, format) == shown


@given(IDS, FORMATS)
def test_a_client_gets_a_legal_id_whose_original_comes_back(id: str, format: Format) -> None:
    shown = to_client(id, format)
    assert shown
    if format == "messages":
        assert re.fullmatch(LEGAL["messages"], shown)
    for target, legal in LEGAL.items():
        if re.fullmatch(legal, id):
            assert to_upstream(shown, target) == id


@given(IDS, FORMATS, FORMATS)
def test_an_upstream_gets_a_legal_id_whichever_way_it_came(id: str, format: Format, target: Format) -> None:
    given = to_upstream(id, target)
    assert re.fullmatch(LEGAL[target], given)
    assert given == to_upstream(id, target)
    if not id.startswith("ilkid_"):
        assert given == to_upstream(to_client(id, format), target)


@given(st.lists(st.text(max_size=50), unique=True, max_size=20), FORMATS)
def test_different_ids_stay_different(ids: list[str], format: Format) -> None:
    assert len({to_client(id, format) for id in ids}) == len(ids)
    assert len({to_upstream(to_client(id, "messages"), format) for id in ids}) == len(ids)
