"""What is left of an erased event: meters count it as they counted the event, and nothing else of it is there."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.intake.placing import Closings
from interlock.intake.residue import redacted, residue
from interlock.meters.definition import Meter, Version, check
from interlock.meters.measure import Who
from interlock.meters.movements import Movement
from interlock.meters.rollups import Fold
from interlock.meters.rows import Key
from interlock.meters.staying import what_stays

WHO = Who("acme", "p-1", "chat", "", "key_1")
METERS: list[dict[str, Any]] = [
    {"slug": "sum", "aggregation": "sum", "value": "$.q", "group_by": {"model": "$.a"}},
    {"slug": "deep", "aggregation": "max", "value": "$.a.b", "group_by": {"b": "$.a.b", "c": "$.a.c.d"}},
    {"slug": "users", "aggregation": "unique_count", "value": "$.u"},
    {"slug": "some", "aggregation": "count", "where": {"$.u": ["x", "1"]}, "group_by": {"source": "source"}},
    {"slug": "last", "aggregation": "latest", "value": "$.c"},
]
VERSIONS = [
    Version(tenant="acme", version=1, meter=check(Meter(**{"event_type": "t", "allow_negative": True, **meter})))
    for meter in METERS
]

texts = st.sampled_from(["x", "1", "0.5", "1e400", "", "Anna", "a" * 256, "ä" * 257, "b" * 1024, "c" * 1025, '"\\'])
scalars = texts | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
things = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abcdqu"), inner, max_size=4),
    max_leaves=8,
)
datas = st.dictionaries(st.sampled_from("abcqu"), things, max_size=5)


def folded(event: bytes) -> dict[str, dict[Key, list[int]]]:
    fold = Fold(VERSIONS)
    fold.apply(Movement(WHO, 1, b"[%b]" % event, 1_795_860_000_000_000, 7), Closings())
    held = {version: rows.held() for version, rows in fold.rows.items()}
    return {
        version: {key: row for key, *row in zip(some.keys, some.n, some.total, some.unreadable, strict=True)}
        for version, some in held.items()
    }


def stored(data: object, **changes: Any) -> bytes:
    event = {"data": data, "id": "Anna-1", "source": "crm/anna", "specversion": "1.0", "subject": "Anna", "type": "t"}
    made = {name: value for name, value in {**event, **changes}.items() if value is not None}
    return msgspec.json.encode(made, order="deterministic")


@given(datas | st.none(), st.sampled_from([None, "2026-11-28T10:00:00Z", "2026-11-28T10:00:00.5Z"]))
def test_meters_read_it_as_they_read_the_event(data: object, time: str | None) -> None:
    event = stored(data, time=time)
    left = residue(event, "er_1", "erased-1", what_stays(VERSIONS).keep)
    renamed = {
        version: {(minute, corrects, "erased-1", *more): row for (minute, corrects, _, *more), row in rows.items()}
        for version, rows in folded(event).items()
    }
    assert folded(left) == renamed
    assert residue(left, "er_1", "erased-1", what_stays(VERSIONS).keep) == left


@given(datas)
def test_nothing_else_is_left(data: object) -> None:
    whole = msgspec.json.decode(residue(stored(data), "er_1", "erased-1", what_stays([]).keep))
    assert whole == {
        "data": {},
        "erased": "er_1",
        "id": "",
        "source": "",
        "specversion": "1.0",
        "subject": "erased-1",
        "type": "t",
    }


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b'"Anna"', b""),  # a group, forgotten
        (b"7", b""),
        (b"[1]", b"[]"),  # no meter could read it: nor can it now
        (b'{"x":"Anna"}', b"{}"),
        (b'"%b"' % (b"a" * 257), b"[]"),
        (b"null", b""),
    ],
)
def test_what_is_forgotten(value: bytes, left: bytes) -> None:
    version = Version(
        tenant="acme",
        version=1,
        meter=check(Meter(slug="m", event_type="t", aggregation="count", group_by={"who": "$.who"})),
    )
    keep, groups = what_stays([version], ["$.who"])
    assert groups == {"acme/m/1": [1]}
    made = residue(b'{"data":{"who":%b},"id":"i","source":"s","subject":"A","type":"t"}' % value, "er_1", "e", keep)
    data = msgspec.json.decode(made, type=dict[str, msgspec.Raw])["data"]
    assert bytes(data) == (b'{"who":%b}' % left if left else b"{}")


@pytest.mark.parametrize("place", ["$.u", "$.q", "$.a.b", "$.nowhere", "source", "key_id", "a", ""])
def test_what_cannot_be_forgotten(place: str) -> None:
    with pytest.raises(LocalError) as caught:
        what_stays(VERSIONS, [place])
    assert caught.value.field == "forget"


def test_only_the_tenants_records_with_the_subject_are_touched() -> None:
    keep = what_stays(VERSIONS).keep
    events = b",".join(stored({"q": n}, subject=name) for n, name in enumerate(("Anna", "Otto", None, "Anna")))
    payload = b'{"tenant":"acme","keys":"AA==","events":[%b],"reason":"Anna called","originals":[]}' % events
    assert redacted(payload, "acm", "er_1", {"Anna": "e-1"}, keep) is None
    assert redacted(payload, "acme", "er_1", {"Ann": "e-1"}, keep) is None
    found = redacted(payload, "acme", "er_1", {"Anna": "e-1"}, keep)
    assert found is not None and found[1] == 2
    assert b"Anna" not in found[0].replace(stored({"q": 1}, subject="Otto"), b"").replace(
        stored({"q": 2}, subject=None), b""
    )
    whole, before = msgspec.json.decode(found[0]), msgspec.json.decode(payload)
    assert list(whole) == list(before) and whole["reason"] == ""
    assert [whole["events"][place] == before["events"][place] for place in range(4)] == [False, True, True, False]
    assert redacted(found[0], "acme", "er_1", {"Anna": "e-1"}, keep) is None
