"""A whole import but for the sending: batches, tallies, what is named, and files that are damaged half-way."""

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest

from interlock.client import BATCH_BYTES_MAX, Item
from interlock.errors import LocalError
from interlock.importing import Import, Mapping, open_source
from interlock.importing import run as run_module
from interlock.importing.run import NAMED
from interlock.importing.sending import Batch

MAPPING = Mapping(type="t", source="s")


def importing(*paths: Path, mapping: Mapping = MAPPING, rejects: io.BytesIO | None = None) -> Import:
    return Import([str(path) for path in paths], partial(open_source, needed=mapping.needed), mapping, rejects)


def csv(path: Path, rows: int, *, bad: Sequence[int] = (), first: int = 0) -> Path:
    """`rows` rows; the ones in `bad` have no time."""
    lines = [f"a{n},{'' if n in bad else '2026-01-05T10:00:00Z'},{n}" for n in range(first, first + rows)]
    path.write_text("\n".join(["id,time,n", *lines]) + "\n")
    return path


def answers(batch: Batch, result: str = "counted") -> list[Item]:
    return [msgspec.convert({"result": result, "code": "conflict"}, Item) for _ in batch.events]


def test_batches_hold_what_they_may(tmp_path: Path) -> None:
    one = importing(csv(tmp_path / "a.csv", 2500), csv(tmp_path / "b.csv", 3, first=9000))
    batches = list(one.batches())
    assert [(batch.file, len(batch.events)) for batch in batches] == [(0, 1000), (0, 1000), (0, 500), (1, 3)]
    assert batches[1].places[0] == 1002 and b'"id":"a1000"' in batches[1].events[0]
    assert [len(batch.events) for batch in importing(tmp_path / "a.csv").batches(999)] == [999, 999, 502]
    big = "x" * 60_000
    (tmp_path / "c.ndjson").write_text(
        "".join(f'{{"id":"{n}","time":"2026-01-05T10:00:00Z","x":"{big}"}}\n' for n in range(200))
    )
    sizes = [sum(map(len, batch.events)) for batch in importing(tmp_path / "c.ndjson").batches()]
    assert len(sizes) > 2 and max(sizes) <= BATCH_BYTES_MAX and sum(sizes) > 200 * len(big)


def test_tallies_add_up(tmp_path: Path) -> None:
    rejects = io.BytesIO()
    one = importing(csv(tmp_path / "a.csv", 30, bad=range(0, 30, 2)), csv(tmp_path / "b.csv", 5), rejects=rejects)
    for batch in one.batches(10):
        one.answered(batch, answers(batch, "conflict" if batch.file else "counted"))
    assert one.total == {"rows": 35, "counted": 15, "refused": 15, "conflict": 5}
    assert one.files[0].results == {"counted": 15, "refused": 15} and one.share == 1.0 and not one.is_good
    assert len(one.named) == NAMED and [problem.line for problem in one.named] == list(range(2, 22, 2))
    lines = [msgspec.json.decode(line) for line in rejects.getvalue().splitlines()]
    refused = {"file": str(tmp_path / "a.csv"), "line": 2, "result": "refused", "code": "invalid_request"}
    assert len(lines) == 20 and lines[0] == refused | {
        "message": "time is empty",
        "field": "time",
        "read": {"id": "a0", "time": "", "n": "0"},
    }
    assert lines[-1]["result"] == "conflict" and lines[-1]["event"]["id"] == "a4" and "read" not in lines[-1]


def test_what_stands_before_the_damage_is_sent_and_the_next_file_too(tmp_path: Path) -> None:
    broken = csv(tmp_path / "a.csv", 1500)
    broken.write_text(broken.read_text() + 'a2,"x\n')
    one = importing(broken, csv(tmp_path / "b.csv", 5))
    assert [(batch.file, len(batch.events)) for batch in one.batches()] == [(0, 1000), (0, 500), (1, 5)]
    assert "a.csv:1502: the row cannot be read" in one.files[0].problem
    assert (one.files[1].problem, one.total["rows"], one.is_good) == ("", 1505, False)


def test_a_file_that_goes_away_costs_itself_alone(tmp_path: Path) -> None:
    one = importing(csv(tmp_path / "a.csv", 5), csv(tmp_path / "b.csv", 5))
    (tmp_path / "a.csv").unlink()
    assert [batch.file for batch in one.batches()] == [1]
    assert "No such file" in one.files[0].problem


def test_all_heads_are_looked_at_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("id,n\n1,2\n")
    with pytest.raises(LocalError, match=r"b\.csv has no column time"):
        importing(csv(tmp_path / "a.csv", 5), tmp_path / "b.csv")
    (tmp_path / "b.ndjson").write_text('\n{"time":"2026-01-05T10:00:00Z","n":7}\n')
    with pytest.raises(LocalError, match="--id-from-row"):
        importing(tmp_path / "b.ndjson")


def test_events_and_rows_of_one_file(tmp_path: Path) -> None:
    event = '{"specversion":"1.0","id":"e","source":"other","type":"x"}'
    (tmp_path / "a.ndjson").write_text(
        f'{event}\n{{"id":7,"time":"2026-01-05T10:00:00Z","n":0.10}}\n{{"id":8}}\nnonsense\n'
    )
    one = importing(tmp_path / "a.ndjson")
    [batch] = one.batches()
    row = b'{"specversion":"1.0","source":"s","type":"t","id":"7","time":"2026-01-05T10:00:00Z","data":{"n":0.10}}'
    assert (batch.places, batch.events) == ([1, 2], [event.encode(), row])
    assert [(problem.line, problem.field) for problem in one.named] == [(3, "time"), (4, "line")]


def test_ids_from_rows_are_the_same_each_time_and_begin_anew_with_each_file(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("time,n\n" + "2026-01-05T10:00:00Z,1\n" * 3)
    mapping = msgspec.structs.replace(MAPPING, id_from_row=True)
    one, other = (
        [
            msgspec.json.decode(event)["id"]
            for batch in importing(tmp_path / name, mapping=mapping).batches()
            for event in batch.events
        ]
        for name in ("a.csv", "b.csv")
    )
    assert one == other and len(set(one)) == 3 and [id.rpartition("-")[2] for id in one] == ["1", "2", "3"]


def test_a_reject_that_json_has_nothing_for_is_still_written(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"id":"\\ud800","time":"2026-01-05T10:00:00Z"}\n')
    rejects = io.BytesIO()
    list(importing(tmp_path / "a.ndjson", rejects=rejects).batches())
    [line] = rejects.getvalue().splitlines()
    assert msgspec.json.decode(line)["line"] == 1
    problem = run_module.Problem(file="f", line=1, result="refused", code="c", message="m", field="f", read="\ud800")
    assert msgspec.json.decode(run_module._line(problem))["read"] == "'\\ud800'"
