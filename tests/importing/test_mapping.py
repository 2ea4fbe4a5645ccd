"""Rows to events: what becomes of each column, and of numbers to their last digit."""

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.importing.mapping import Mapping, digest
from interlock.importing.rowids import RowIds
from interlock.importing.rows import Row
from interlock.intake import Event, Origin, read_json
from interlock.strictjson import loads

NOW_S = 1_795_860_000.0
ORIGIN = Origin(tenant="acme", principal="import", key_id="key_1")
BASE = {"id": "a1", "time": "2026-11-01T10:00:00Z"}
PLAIN = Mapping(type="tokens", source="shop")
NUMBERS = ["0", "-0", "42", "0.10", "-1.50", "1e3", "1E-7", "123456789012345678901234567890", "0.30000000000000004"]


def sent(cells: dict[str, Any], mapping: Mapping = PLAIN, *, csv: bool = True) -> dict[str, Any]:
    """The event, numbers as they are written."""
    text = mapping.event(Row(1, cells), lambda digest: "row", text_cells=csv)
    assert b"\n" not in text
    found: dict[str, Any] = loads(text, exact=True)
    return found


def refused(cells: dict[str, Any], mapping: Mapping = PLAIN, *, csv: bool = True) -> LocalError:
    with pytest.raises(LocalError) as caught:
        mapping.event(Row(1, cells), lambda digest: "row", text_cells=csv)
    return caught.value


def test_columns_by_their_own_names() -> None:
    cells = {
        "id": "a1",
        "source": "s",
        "type": "t",
        "subject": "c7",
        "time": "2026-11-01T10:00:00Z",
        "n": "7",
        "x": "y",
    }
    event = sent(cells, Mapping())
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        **{name: cells[name] for name in ("id", "source", "type", "subject", "time")},
    }
    assert data == {"n": 7, "x": "y"}


def test_columns_that_are_named() -> None:
    mapping = Mapping(type="t", source="s", id="no", time="at", subject="who", data=[("n", "tokens"), ("x", "x")])
    cells = {"no": "1", "at": "2026-11-01T10:00:00Z", "who": "c7", "n": "7", "x": "y", "z": "left out", "id": "not"}
    event = sent(cells, mapping)
    assert (event["id"], event["subject"], event["data"]) == ("1", "c7", {"tokens": 7, "x": "y"})


@pytest.mark.parametrize("text", NUMBERS)
def test_a_cell_s_number_has_the_digits_it_is_written_with(text: str) -> None:
    raw = PLAIN.event(Row(1, {**BASE, "n": text}), str, text_cells=True)
    assert b'"n":%b}' % text.encode() in raw


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_same_event_as_from_another_sender(number: Decimal) -> None:
    """0.10 from a CSV file, from a DECIMAL column, and from a program are one event: no conflict, no second count."""
    written = (
        b'{"specversion":"1.0","id":"a1","source":"shop","type":"tokens","time":"2026-11-01T10:00:00Z","data":{"n":%b}}'
    )
    live = read_json(written % str(number).encode(), ORIGIN, NOW_S)
    assert isinstance(live, Event)
    for cell, csv in ((str(number), True), (number, False)):
        event = read_json(PLAIN.event(Row(1, {**BASE, "n": cell}), str, text_cells=csv), ORIGIN, NOW_S)
        assert isinstance(event, Event) and (event.key, event.content) == (live.key, live.content)


@given(st.text() | st.sampled_from(["nan", " -Inf ", " 7 ", "1e400"]))
def test_any_text_is_a_number_nothing_refused_or_itself(text: str) -> None:
    try:
        data = sent({**BASE, "n": text})["data"]
    except LocalError as error:
        assert error.field == "n" and not math.isfinite(float(text))
        return
    if text == "":
        assert data == {}
    elif type(data["n"]) is str:
        assert data["n"] == text
    else:
        assert Decimal(data["n"]) == Decimal(text)


@pytest.mark.parametrize("text", ["007", "+5", ".5", "5.", "1,5", "1_000", "0x10", "12 345", "٣", "true", "null"])
def test_what_json_writes_otherwise_is_text_unless_numbers_are_asked_for(text: str) -> None:
    assert sent({**BASE, "n": text})["data"] == {"n": text}
    assert refused({**BASE, "n": text}, msgspec.structs.replace(PLAIN, numbers=frozenset("n"))).field == "n"


def test_columns_of_text_stay_text() -> None:
    mapping = msgspec.structs.replace(PLAIN, texts=frozenset({"zip", "name"}))
    assert sent({**BASE, "zip": "10115", "name": "NaN"}, mapping)["data"] == {"zip": "10115", "name": "NaN"}
    assert sent({**BASE, "zip": 10115, "name": "x"}, mapping, csv=False)["data"] == {"zip": "10115", "name": "x"}


@pytest.mark.parametrize("text", ["NaN", "nan", "inf", "-Infinity", "+INF"])
def test_a_cell_that_is_no_number_to_count_is_refused(text: str) -> None:
    error = refused({**BASE, "n": text})
    assert error.field == "n" and "--text" in error.message


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, Decimal("NaN"), [1.0, math.inf], {"a": {"b": math.nan}}, [Decimal("-Infinity")]]
)
def test_a_value_that_is_no_number_to_count_is_refused(value: object) -> None:
    assert refused({**BASE, "n": value}, csv=False).field == "n"


def test_values_of_other_files_stay_what_they_are() -> None:
    cells = {
        **BASE,
        "i": 2**70,
        "d": Decimal("0.10"),
        "b": True,
        "t": "42",
        "l": [1, {"x": None}],
        "none": None,
        "e": "",
    }
    raw = PLAIN.event(Row(1, cells), str, text_cells=False)
    assert b'"i":1180591620717411303424,"d":0.10,"b":true,"t":"42","l":[1,{"x":null}],"e":""}' in raw
    numbers = msgspec.structs.replace(PLAIN, numbers=frozenset({"t", "b"}))
    assert refused(cells, numbers, csv=False).field == "b"
    assert sent({**BASE, "t": "42"}, numbers, csv=False)["data"] == {"t": 42}


@pytest.mark.parametrize("value", [None, ""])
def test_an_attribute_that_is_empty(value: object) -> None:
    assert "subject" not in sent({**BASE, "subject": value})
    for name in ("id", "time"):
        assert refused({**BASE, name: value}).field == name


def test_an_id_is_text_or_a_whole_number() -> None:
    values: list[Any] = [7, Decimal("7"), "7"]
    for value in values:
        assert sent({**BASE, "id": value}, csv=False)["id"] == "7"
    values = [7.0, Decimal("7.0"), True, [7]]
    for value in values:
        assert refused({**BASE, "id": value}, csv=False).field == "id"


def test_what_cannot_be_written_is_refused() -> None:
    for value in ("\ud800", object()):
        assert refused({**BASE, "n": value}, csv=False).field == "row"


@pytest.mark.parametrize(
    ("mapping", "columns", "field"),
    [
        (PLAIN, ["time", "n"], "--id"),
        (Mapping(source="s"), ["id", "time"], "--type"),
        (Mapping(type="t"), ["id", "time"], "--source"),
        (PLAIN, ["id", "n"], "--time"),
        (msgspec.structs.replace(PLAIN, id="no"), ["id", "time"], "--id"),
        (msgspec.structs.replace(PLAIN, time="at"), ["id", "time"], "--time"),
        (msgspec.structs.replace(PLAIN, subject="who"), ["id", "time"], "--subject"),
        (msgspec.structs.replace(PLAIN, data=[("n", "m")]), ["id", "time"], "--data"),
        (msgspec.structs.replace(PLAIN, texts=frozenset("n")), ["id", "time"], "--text"),
        (msgspec.structs.replace(PLAIN, numbers=frozenset("n")), ["id", "time"], "--number"),
    ],
)
def test_a_mapping_that_does_not_fit_is_said_before_anything_is_read(
    mapping: Mapping, columns: list[str], field: str
) -> None:
    with pytest.raises(LocalError) as caught:
        mapping.check(columns, "f.csv")
    assert caught.value.field == field and "f.csv" in caught.value.message


def test_without_an_id_it_says_why_and_what_else_there_is() -> None:
    with pytest.raises(LocalError, match=r"known by its id for ever.*--id-from-row makes an id"):
        PLAIN.check(["time", "n"], "f.csv")
    msgspec.structs.replace(PLAIN, id_from_row=True).check(["time", "n"], "f.csv")


def test_only_what_is_needed_is_read() -> None:
    mapping = Mapping(type="t", source="s", id="no", data=[("n", "m")])
    assert mapping.needed(["no", "time", "n", "rest"]) == (["no", "time", "n"], ["n"])
    whole = msgspec.structs.replace(mapping, id="", id_from_row=True)
    assert whole.needed(["no", "time", "n", "rest"]) == (["no", "time", "n", "rest"], ["n"])
    assert PLAIN.needed(["id", "time", "n"]) == (["id", "time", "n"], ["n"])


CELLS = st.dictionaries(st.sampled_from("abc"), st.none() | st.sampled_from(["", "1", "1.0", "x", "a,b"]))


@given(st.lists(CELLS, max_size=30), st.randoms())
def test_ids_of_rows(rows: list[dict[str, Any]], random: Any) -> None:
    """Each row has an id of its own; the same rows, in any order of rows and columns, have the same ids."""
    ids = [RowIds(), RowIds()]
    first = [ids[0].next(digest(row)) for row in rows]
    assert len(set(first)) == len(rows)
    again = [dict(random.sample(list(row.items()), len(row))) for row in rows]
    random.shuffle(again)
    assert sorted(ids[1].next(digest(row)) for row in again) == sorted(first)
    for one in ids:
        one.close()


@given(CELLS, CELLS)
def test_other_rows_have_other_ids(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (digest(one) == digest(other)) == (one == other)


def test_no_room_for_ids_ends_the_file_and_refuses_no_row() -> None:
    ids = RowIds()
    ids._db.execute("PRAGMA max_page_count = 8")
    with pytest.raises(OSError, match="no room"):
        for n in range(10_000):
            ids.next(digest({"n": n}))
    ids.close()


def test_a_row_added_or_edited_is_one_more_and_the_others_stay() -> None:
    ids = RowIds()
    before = {ids.next(digest({"n": n})) for n in ("1", "1", "2")}
    ids.close()
    ids = RowIds()
    after = {ids.next(digest({"n": n})) for n in ("2", "1", "1", "1", "3")}
    ids.close()
    assert before < after and len(after - before) == 2
