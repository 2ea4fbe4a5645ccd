"""Billing's commands as people read them: tables, CSV, complaints, exit statuses."""

import csv
import io
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from interlock.cli import main
from interlock.clock import SystemClock
from interlock.instants import rfc3339
from interlock.testing.control_process import ControlProcess

MONTH = rfc3339(SystemClock().now_ns())[:7]
SELLER = "Seller\nYork\nnumbers begin with S-\n"
Type = Callable[..., tuple[int, str, str]]
PLAN = """
name = "flat"
currency = "EUR"
taxes = { rates = [{ name = "VAT", percent = "19" }] }
discounts = [{ name = "friends", percent = "5" }]
[[charges]]
id = "base"
description = "Base fee"
price = { model = "flat", amount = "100" }
"""


@pytest.fixture
def type_(server: ControlProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """(status, stdout, stderr) of a command, run in this process."""
    monkeypatch.setenv("INTERLOCK_URL", server.url)
    monkeypatch.setenv("INTERLOCK_KEY", server.admin)

    def call(*argv: str) -> tuple[int, str, str]:
        status = main(list(argv))
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def lines(said: str) -> list[list[str]]:
    return [line.split() for line in said.splitlines()]


def test_a_month_as_people_see_it(type_: Type, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    assert type_("invoices", "issuer")[1] == "nobody is named who sells\n"
    assert type_("invoices", "issuer", "--note", "x")[0] == 2
    assert type_("invoices", "issuer", "--name", "Seller", "--address", "York", "--prefix", "S-")[1] == SELLER
    assert type_("plans", "put", str(plan))[1] == "plan flat is version 1\n"
    assert type_("plans", "put", str(plan))[1] == "plan flat stands already as version 1\n"
    assert lines(type_("plans", "list")[1])[1][:4] == ["flat", "1", "EUR", "1"]
    assert '"half_away_from_zero"' in type_("plans", "show", "flat")[1]
    asked = ("subscriptions", "set", "acme", "--plan", "flat", "--since", f"{MONTH}-01")
    status, _, said = type_(*asked)
    assert status == 2 and "say who is billed" in said
    assert "from" in type_(*asked, "--name", "Acme")[1]
    assert type_("subscriptions", "end", "acme", "--since", "2199-01-01")[1].endswith("from 2199-01-01 on\n")
    assert [
        row["plan"] for row in csv.DictReader(io.StringIO(type_("subscriptions", "list", "--format", "csv")[1]))
    ] == [
        "flat",
        "",
    ]
    draft = type_("invoices", "draft", "acme")[1]
    assert "Base fee" in draft and "rounded off: 0" in draft
    assert ["discount", "friends", "-5.00"] in lines(draft) and ["VAT", "19", "%", "18.05"] in lines(draft)
    assert ["total", "113.05"] in lines(draft)
    held = type_("invoices", "review", "acme", "--period", MONTH, "--interim")[1]
    id = f"acme:{MONTH}:1"
    assert held.startswith(f"{id} is in_review: 113.05 EUR, content ")
    status, _, said = type_("invoices", "finalize", id)
    assert status == 1 and "is in_review: what may happen to it: approve, return" in said and "[wrong_state]" in said
    assert " is approved" in type_("invoices", "approve", id, "--hash", held.split()[-1])[1]
    final = type_("invoices", "finalize", id)[1]
    number = final.split()[0]
    assert number.startswith("S-") and "is final: 113.05 EUR" in final
    shown = type_("invoices", "show", number)[1]
    assert ["payable", "113.05"] in lines(shown)
    assert number in type_("invoices", "list", "--tenant", "acme")[1]
    assert type_("invoices", "list", "--tenant", "nobody", "--format", "csv")[1].count("\n") == 1
    assert type_("invoices", "events", number, "--line", "1", "--verify")[1].startswith("0 events, which are those")
    place = tmp_path / "invoice.html"
    assert type_("invoices", "export", number, "--output", str(place))[0] == 0
    assert place.read_text().startswith("<!doctype html>")
    assert type_("invoices", "export", number, "--output", str(tmp_path / "no" / "x"))[0] == 1
    assert type_("invoices", "export", number, "--format", "csv")[1].count("\n") == 2
    assert type_("invoices", "credit", number, "--id", "c", "--reason", "r", "--line", "x")[0] == 2
    assert (
        "gives back 11.90 of" in type_("invoices", "credit", number, "--id", "c", "--reason", "r", "--line", "1=10")[1]
    )
    assert "issued already" in type_("invoices", "credit", number, "--id", "c", "--reason", "r", "--line", "1=10")[1]
    note = next(line for line in lines(type_("invoices", "show", number)[1]) if line[:2] == ["credit", "note"])
    assert note[3] == "-11.90", "who looks at the invoice sees what was given back"
    assert ["left", "101.15"] in lines(type_("invoices", "show", number)[1])
    assert ["line", "1", "-10.00"] in lines(type_("invoices", "show", note[2])[1])
    assert f"<title>Credit note {note[2]}" in type_("invoices", "export", note[2])[1]
    rows = list(csv.DictReader(io.StringIO(type_("invoices", "export", note[2], "--format", "focus")[1])))
    assert [row["BilledCost"] for row in rows] == ["-10.00", "-1.90"]
    assert msgspec.json.decode(type_("invoices", "export", note[2], "--format", "json")[1])["total"] == "11.90"
    assert type_("invoices", "export", note[2], "--format", "csv")[0] == 2
    status, _, said = type_("invoices", "events", note[2], "--line", "1")
    assert status == 1 and "there is no invoice" in said
    assert type_("invoices", "check")[1] == "1 invoices and 1 credit notes: all hold\n"
    books = dict(line[1:] for line in lines(type_("invoices", "books")[1])[1:])
    assert books == {"receivable/acme": "101.15", "revenue": "-90", "discounts": "5", "tax/VAT": "-16.15"}
    status, _, said = type_("invoices", "void", number, "--reason", "r")
    assert status == 1 and "credit notes" in said


def test_a_voided_invoice_is_not_listed_as_owed(type_: Type, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN.replace('"flat"', '"terms"', 1).replace("taxes", "due_days = 30\ntaxes"))
    type_("plans", "put", str(plan))
    type_("invoices", "issuer", "--name", "Seller", "--prefix", "S-")
    assert type_("subscriptions", "set", "beta", "--plan", "terms", "--since", f"{MONTH}-01", "--name", "Beta")[0] == 0
    id = f"beta:{MONTH}:1"
    held = type_("invoices", "review", "beta", "--period", MONTH, "--interim")[1]
    type_("invoices", "approve", id, "--hash", held.split()[-1])
    said = type_("invoices", "finalize", id)[1]
    due = said.strip()[-10:]
    assert said.endswith(f"is final: 113.05 EUR, due {due}\n")
    assert ["due", due] in lines(type_("invoices", "show", id)[1])

    def listed() -> dict[str, str]:
        [row] = csv.DictReader(io.StringIO(type_("invoices", "list", "--tenant", "beta", "--format", "csv")[1]))
        return {name: row[name] for name in ("state", "total", "payable", "left", "due")}

    sums = {"total": "113.05", "payable": "113.05"}
    assert listed() == {"state": "final", **sums, "left": "113.05", "due": due}
    said = type_("invoices", "void", id, "--reason", "wrong")[1]
    assert said.endswith(f"({id}) is voided: 113.05 EUR, of which nothing is due\n")
    assert listed() == {"state": "voided", **sums, "left": "0.00", "due": ""}
    head, row = lines(type_("invoices", "list", "--tenant", "beta")[1])
    assert dict(zip(head, row, strict=True))["LEFT"] == "0.00" and dict(zip(head, row, strict=True))["DUE"] == "-"
    shown = lines(type_("invoices", "show", id)[1])
    assert ["payable", "113.05"] in shown and ["left", "0.00"] in shown and ["due", due] not in shown
    [one] = msgspec.json.decode(type_("invoices", "list", "--tenant", "beta", "--format", "json")[1])["invoices"]
    assert (one["payable"], one["left"], one["due_days"], one["due"]) == ("113.05", "0.00", 30, None)
    assert date.fromisoformat(due) - date.fromisoformat(one["issued_at"][:10]) == timedelta(days=30)


def test_a_file_that_is_no_plan(type_: Type, tmp_path: Path) -> None:
    for text, said in (("name = 1", "name"), ("{", "not TOML"), (PLAN + "x = 1\n", "x")):
        (tmp_path / "bad.toml").write_text(text)
        status, _, complaint = type_("plans", "put", str(tmp_path / "bad.toml"))
        assert status == 2 and said in complaint and "Traceback" not in complaint
    assert type_("plans", "put", str(tmp_path / "none.toml"))[0] == 1
