"""POST /v1/reconciliations: a statement from outside is checked, compared, booked once."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from tests.control.test_app import refused

from interlock.testing.control_process import ControlProcess
from interlock.units import NANO

PATH = "/v1/reconciliations"


def line(**fields: Any) -> dict[str, Any]:
    return {
        "starts_ns": 86_400 * NANO,
        "ends_ns": 2 * 86_400 * NANO,
        "model": "tiny-1",
        "kind": "output",
        "currency": "USD",
        "category": "usage",
        "repeat": "",
        "rows": 1,
        "priced": 1,
        "quantity": "7",
        "amount": "0.000014",
        "places": ["data[0]"],
    } | fields


def body(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    statement = {
        "format": "openai",
        "providers": ["openai"],
        "files": [{"name": "costs.json", "sha256": "ab" * 32, "size": 9}],
        "lines": list(lines),
        "kinds": ["input", "output"],
        "amount_places": 9,
    }
    return {"statement": statement | fields.pop("statement", {}), **fields}


def test_a_statement_is_compared_and_booked_once(control: ControlProcess) -> None:
    compared = control.ask("POST", PATH, body(line()))
    assert compared.status == 200, compared.body
    found = compared.json()
    assert found["booked"] is None
    assert [(row["status"], row["classes"]) for row in found["report"]["rows"]] == [("theirs_only", ["not_metered"])]
    booked = control.ask("POST", PATH, body(line(), apply=True)).json()
    assert (booked["booked"]["entries"], booked["booked"]["nanousd"]) == (1, "14000")
    again = control.ask("POST", PATH, body(line(), apply=True)).json()
    assert (again["report"]["matched"], again["booked"]["entries"]) == (True, 0)
    assert again["booked"]["head"] == booked["booked"]["head"] == 2
    [statement] = control.ask("GET", PATH).json()["statements"]
    assert (statement["theirs_nanousd"], statement["files"][0]["name"]) == ("14000", "costs.json")
    [row] = control.ask("GET", "/v1/usage?by=tenant&tenant=unattributed").json()["rows"]
    assert (row["amount_nanousd"], row["requests"]) == ("14000", 0)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (body(line(amount="NaN")), "statement.lines[0].amount"),
        (body(line(amount="1e999999999")), "statement.lines[0].amount"),
        (body(line(amount="Infinity")), "statement.lines[0].amount"),
        (body(line(quantity="-1")), "statement.lines[0].quantity"),
        (body(line(ends_ns=0)), "statement.lines[0]"),
        (body(line(ends_ns=1 << 63)), "statement.lines[0]"),
        (body(line(model="a\nb")), "statement.lines[0]"),
        (body(line(rows=0)), "statement.lines[0]"),
        (body(line(priced=2)), "statement.lines[0]"),
        (body(line(category="gift")), "statement.lines[0].category"),
        (body(line(), statement={"providers": []}), "statement"),
        (body(line(), statement={"files": []}), "statement"),
        (body(line(), statement={"amount_places": 1000}), "statement.amount_places"),
        (body(line(), statement={"format": "x" * 1001}), "statement.format"),
        (body(line(), statement={"providers": ["p"] * 1001}), "statement.providers"),
        (body(line(), statement={"kinds": ["k"] * 1001}), "statement.kinds"),
        (body(line(), statement={"files": [{"name": "x" * 1001, "sha256": "", "size": 1}]}), "statement.files"),
        (body(line(), statement={"files": [{"name": "x", "sha256": "", "size": -1}]}), "statement.files"),
        (body(line(), statement={"models": {"x" * 1001: ""}}), "statement.models"),
        (body(line(), statement={"notes": ["x" * 1001]}), "statement.notes"),
        (body(line(places=["x" * 1001])), "statement.lines"),
        (body(line(amount="1000000001"), apply=True), "statement"),
        (body(), "since"),
        (body(line(), until_ns=1), "since"),
        (body(line(), why="x"), "why"),
    ],
)
def test_what_no_reader_makes_is_refused(control: ControlProcess, wrong: dict[str, Any], field: str) -> None:
    refused(control.ask("POST", PATH, wrong), "invalid_request", field)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_is_the_operators(control: ControlProcess, method: str) -> None:
    refused(control.ask(method, PATH, key=""), "key_missing")
    assert control.ask(method, PATH, port=control.api_port).status in (403, 404)


def test_nothing_is_booked_from_a_part_of_the_ledger(configured: ControlProcess) -> None:
    """The view does not continue its log: it may lack calls, and a booking would give them to somebody else."""
    assert configured.ask("POST", PATH, body(line())).status == 200
    assert configured.stop() == 0
    with closing(sqlite3.connect(configured.data_dir / "views" / "ledger.sqlite")) as view:
        view.execute("UPDATE positions SET seq = 1000 WHERE stream = 'config'")
        view.commit()
    configured.start()
    compared = configured.ask("POST", PATH, body(line())).json()
    assert "does not continue" in compared["problem"]
    answer = configured.ask("POST", PATH, body(line(), apply=True))
    assert "nothing is booked" in refused(answer, "log_corrupt")
    assert configured.ask("GET", PATH).json() == {"statements": []}
