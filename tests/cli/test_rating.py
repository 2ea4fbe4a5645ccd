"""`interlock rate`: three formats of one result, and mistakes in one line that names the field."""

from pathlib import Path

import msgspec
import pytest

from interlock.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"
PLAN, JSON, CSV = (str(EXAMPLES / name) for name in ("plan-team.toml", "usage-team.json", "usage-team.csv"))


def test_json_and_csv_usage_rate_alike(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for usage in (JSON, CSV):
        assert main(["rate", "--plan", PLAN, "--usage", usage, "--format", "json"]) == 0
        found.append(msgspec.json.decode(capsys.readouterr().out))
    assert found[0] == found[1]
    assert found[0]["total"]["total"] == "845.96"
    assert [one["amount_nano"] for one in found[0]["charges"]] == ["203000000000", "583382719250", "3499870000"]


SMALL = """
name = "p"
currency = "USD"
charges = [{ id = "a", minimum = "62", price = { model = "flat", amount = "31" } }]
"""


def test_days_and_interim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, usage = tmp_path / "p.toml", tmp_path / "u.csv"
    plan.write_text(SMALL)
    usage.write_text("charge,quantity\n")
    for options, amount in (
        ([], "62"),
        (["--interim"], "31"),
        (["--days", "10/31"], "20"),
        (["--interim", "--days", "10/31"], "10"),
    ):
        assert main(["rate", "--plan", str(plan), "--usage", str(usage), "--format", "json", *options]) == 0
        assert msgspec.json.decode(capsys.readouterr().out)["total"]["total"] == amount


LATE = """
name = "p"
currency = "USD"
charges = [
  { id = "a", price = { model = "volume", tiers = [{ up_to = "15", unit = "10" }, { unit = "5" }] } },
  { id = "b", minimum = "1000", price = { model = "per_unit", unit = "1" } },
]
taxes = { rates = [{ name = "vat", percent = "10" }] }
"""


def test_what_was_booked_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """16 units are 80 now, of which 15 were 150; of the minimum 100 are booked. 10 % of 830 are 83."""
    plan, usage = tmp_path / "p.toml", tmp_path / "u.json"
    plan.write_text(LATE)
    run = '{"quantity": 1, "covers": "run", "booked": {"quantity": 15}}'
    usage.write_text(f'{{"a": {run}, "b": {{"quantity": 0, "booked": {{"amount": 100}}}}}}')
    for options, credited, due in (([], "0", "913"), (["--already-billed", "13", "--credits", "999.999"], "900", "0")):
        command = ["rate", "--plan", str(plan), "--usage", str(usage), *options]
        assert main([*command, "--format", "json"]) == 0
        told = msgspec.json.decode(capsys.readouterr().out)["total"]
        assert [line["amount"] for line in told["lines"]] == ["-70", "900"]
        assert (told["total"], told["credited"], told["due"]) == ("913", credited, due)
        assert main(command) == 0
        assert any(line.split() == ["due", "0.00"] for line in capsys.readouterr().out.splitlines()) == bool(options)


@pytest.mark.parametrize(
    ("plan", "usage", "options", "said"),
    [
        ("name = 1", "", [], "name"),
        (None, '{"seatz": 1}', [], "the plan has output, payments, seats"),
        (None, '{"seats": -1}', [], "charge seats: the quantity is negative"),
        (None, '{"seats": {"quantity": "many"}}', [], "seats.quantity"),
        (None, '{"seats": {"amount": 1}}', [], "seats.amount: unknown key"),
        (None, '{"payments": {"quantity": 9, "event_count": 3}}', [], "charge payments: the first 2 events are free"),
        (None, '{"seats": {"booked": {"amounts": 1}}}', [], "seats.booked.amounts: unknown key"),
        (None, "{}", ["--days", "x"], "--days"),
        (None, "{}", ["--credits", "1e3"], "--credits"),
        (None, "{}", ["--already-billed=-1"], "already_billed is negative"),
        (None, "{}", ["--days", "32/31"], "days"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plan: str | None, usage: str, options: list[str], said: str
) -> None:
    paths = tmp_path / "p.toml", tmp_path / "u.json"
    paths[0].write_text(plan if plan is not None else Path(PLAN).read_text())
    paths[1].write_text(usage)
    assert main(["rate", "--plan", str(paths[0]), "--usage", str(paths[1]), *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_a_missing_file_and_the_help(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rate", "--plan", str(tmp_path / "none.toml"), "--usage", JSON]) == 1
    assert "none.toml" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["rate", "--help"])
    assert "docs/rating.md" in capsys.readouterr().out
