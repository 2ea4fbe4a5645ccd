"""A month of an agent team to invoices: usage, drill-down, exports, the provider's bill and the verifier agree.

Every figure is reckoned here once more, from the traffic alone.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.e2e.server import Server, run_cli
from tests.e2e.traffic import CONFIG, PRICES, Attempt, attempts, record

PERIOD = "2026-10"
TENANTS = ("acme", "globex", "initech")
PLAN = """
name = "agents"
currency = "USD"
taxes = { rates = [{ name = "VAT", percent = "19" }] }
commitment = { minimum = "60" }

[[charges]]
id = "seat"
description = "Platform fee"
price = { model = "flat", amount = "49" }

[[charges]]
id = "calls"
description = "Calls"
unit_name = "call"
source = { usage = "requests" }
price = { model = "package", size = "500", price = "2", free_units = "100" }

[[charges]]
id = "output"
description = "Output tokens"
unit_name = "1,000 tokens"
source = { usage = "output", by = ["model"] }
convert = { divide_by = "1000" }

[charges.price]
model = "graduated"
tiers = [{ up_to = "20", unit = "0.03" }, { up_to = "60", unit = "0.0225" }, { unit = "0.0155" }]


[[charges]]
id = "models"
description = "Models at cost and 12 %"
unit_name = "USD"
source = { usage = "cost" }
price = { model = "dynamic", markup_percent = "12" }

[[charges]]
id = "reserved"
description = "Reserved capacity"
unit_name = "token"
sources = { read = { usage = "input" }, written = { usage = "output" } }

[charges.windows]
size = "hour"
rules = [{ in_class = "peak", days = ["mon", "tue", "wed", "thu", "fri"], from_hour = 9, to_hour = 17 }]
otherwise = "off"

[charges.price]
model = "windowed"
classes.off.price = { model = "package", size = "10000", price = "0.0021" }

[charges.price.classes.peak]
price = { model = "per_unit", unit = "0.0000003" }
commitment = "0.01"
overage_factor = "1.5"
true_up = true
"""

Usage = dict[str, int]


def numerator(usage: Usage, deployment: str) -> Fraction:
    """What it costs, in nano-dollars, exactly."""
    price = {kind: Fraction(text) * 1000 for kind, text in PRICES[deployment].items()}
    cached = usage.get("cache_read", 0)
    return (usage["input"] - cached) * price["input"] + cached * price["cache_read"] + usage["output"] * price["output"]


def nano(usage: Usage, deployment: str) -> int:
    """An entry's amount: one rounding, half to even (`round` of a Fraction)."""
    return round(numerator(usage, deployment))


def cents(exact: Fraction) -> Fraction:
    """Half away from zero."""
    scaled = abs(exact) * 100
    return Fraction(int(scaled + Fraction(1, 2)), 100) * (1 if exact >= 0 else -1)


def graduated(quantity: Fraction) -> Fraction:
    total, below = Fraction(0), Fraction(0)
    for up_to, unit in ((20, "0.03"), (60, "0.0225"), (None, "0.0155")):
        top = quantity if up_to is None else min(quantity, Fraction(up_to))
        total += max(top - below, Fraction(0)) * Fraction(unit)
        below = max(top, below)
    return total


def reserved(mine: Sequence[Attempt]) -> Fraction:
    """Hour by hour of the month: those of the peak cost a cent at the least, and half as much again above it."""
    hours: Counter[int] = Counter()
    for one in mine:
        hours[one.at_ns // (3600 * 10**9)] += one.usage["input"] + one.usage["output"]
    first = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) // 3600
    assert all(first <= hour < first + 31 * 24 for hour in hours)
    total, cent = Fraction(0), Fraction(1, 100)
    for hour in range(first, first + 31 * 24):
        at = datetime.fromtimestamp(hour * 3600, UTC)
        if at.isoweekday() <= 5 and 9 <= at.hour < 17:
            cost = hours[hour] * Fraction("0.0000003")
            total += max(cost, cent) + max(cost - cent, Fraction(0)) / 2
        else:
            total += -(-hours[hour] // 10_000) * Fraction("0.0021")
    return total


def lines_of(made: Sequence[Attempt], tenant: str) -> dict[tuple[str, str], Fraction]:
    """(charge, model) to the line's exact amount."""
    mine = [one for one in made if one.tenant == tenant]
    calls = sum(one.outcome == "completed" for one in mine)
    found = {("seat", ""): Fraction(49), ("calls", ""): Fraction(-(-max(calls - 100, 0) // 500) * 2)}
    for model in sorted({one.deployment for one in mine}):
        tokens = sum(one.usage["output"] for one in mine if one.deployment == model)
        found["output", f"{model}-1"] = graduated(Fraction(tokens, 1000))
    found["reserved", ""] = reserved(mine)
    cost = sum(nano(one.usage, one.deployment) for one in mine)
    found["models", ""] = Fraction(cost, 10**9) * Fraction(112, 100)
    return found


def bill(path: Path, made: Sequence[Attempt]) -> Fraction:
    """The provider's, by day, model and kind, to six places. Returns: its sum."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for one in made:
        day = str(_day(one.at_ns))
        cached = one.true.get("cache_read", 0)
        kinds = {"input": one.true["input"] - cached, "cache_read": cached, "output": one.true["output"]}
        for kind, quantity in kinds.items():
            counts[day, one.deployment, kind] += quantity
    total = Fraction(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["day", "model", "kind", "tokens", "usd"])
        for (day, deployment, kind), quantity in sorted(counts.items()):
            if quantity:
                money = round(quantity * Fraction(PRICES[deployment][kind]) / 10**6, 6)
                total += money
                writer.writerow(
                    [day, f"{deployment}-1", kind, quantity, f"{Decimal(money.numerator) / money.denominator:f}"]
                )
    return total


def _day(at_ns: int) -> Any:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).date()


class Month:
    """A server on the month's records."""

    def __init__(self, directory: Path, made: list[Attempt]) -> None:
        self.directory = directory
        self.made = made
        config = directory / "interlock.toml"
        config.write_text(CONFIG)
        self.server = Server(directory / "data", config=config).start()
        policy = self.server.json("status")["policy"]
        assert self.server.stop() == 0
        record(self.server.places.journal, policy, made)
        self.server.start()

    def billed(self, tenant: str, period: str) -> dict[str, Any]:
        """From review to the final invoice, whole."""
        held = self.server.json("invoices", "review", tenant, "--period", period)
        self.server.json("invoices", "approve", held["id"], "--hash", held["sha256"])
        final = self.server.json("invoices", "finalize", held["id"])
        whole: dict[str, Any] = self.server.json("invoices", "show", final["number"])
        return whole


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    made = list(attempts(2026, 10))
    assert any(one.outcome == "lost" for one in made) and {one.tenant for one in made} == set(TENANTS)
    found = Month(tmp_path_factory.mktemp("month"), made)
    found.server.json("invoices", "issuer", "--name", "Interlock Ltd", "--address", "York", "--prefix", "INV-")
    plan = found.directory / "agents.toml"
    plan.write_text(PLAN)
    found.server.json("plans", "put", str(plan))
    for tenant in TENANTS:
        found.server.json(
            "subscriptions", "set", tenant, "--plan", "agents", "--since", f"{PERIOD}-01", "--name", tenant.title()
        )
    yield found
    found.server.kill()


@pytest.fixture(scope="module")
def invoices(month: Month) -> dict[str, dict[str, Any]]:
    return {tenant: month.billed(tenant, PERIOD) for tenant in TENANTS}


def test_usage_is_the_traffic(month: Month) -> None:
    rows = month.server.json("usage", "--by", "tenant")["rows"]
    told = {row["dimensions"]["tenant"]: row for row in rows}
    for tenant in TENANTS:
        mine = [one for one in month.made if one.tenant == tenant]
        assert int(told[tenant]["amount_nanousd"]) == sum(nano(one.usage, one.deployment) for one in mine)
        for kind in ("input", "output", "cache_read"):
            assert told[tenant][kind] == sum(one.usage.get(kind, 0) for one in mine)
    teams = month.server.json("costs", "--by", "team", "--since", "2026-10-01", "--until", "2026-11-01")["rows"]
    whole = sum(int(row["amount_nanousd"]) for row in teams)
    assert whole == sum(int(row["amount_nanousd"]) for row in rows)


def test_every_line_is_what_the_traffic_comes_to(month: Month, invoices: dict[str, dict[str, Any]]) -> None:
    for tenant, invoice in invoices.items():
        expected = lines_of(month.made, tenant)
        said = {
            (line["charge"], line["group"].get("model", "")): line
            for line in invoice["lines"]
            if line["kind"] in ("fixed", "usage")
        }
        assert said.keys() == expected.keys()
        for key, exact in expected.items():
            line = said[key]
            assert Fraction(line["amount"]) == cents(exact), (tenant, key)
            assert Fraction(line["exact"]) == exact == Fraction(line["amount"]) + Fraction(line["rounded_off"])
        net = sum((cents(exact) for exact in expected.values()), Fraction(0))
        net = max(net, Fraction(60))  # the commitment
        assert Fraction(invoice["net"]) == net == sum(Fraction(line["net"]) for line in invoice["lines"])
        assert Fraction(invoice["tax"]) == cents(net * Fraction(19, 100))
        assert Fraction(invoice["payable"]) == net + Fraction(invoice["tax"])
    numbers = sorted(invoice["number"] for invoice in invoices.values())
    assert [number[-6:] for number in numbers] == ["000001", "000002", "000003"]


def test_every_line_drills_down_to_its_calls(month: Month, invoices: dict[str, dict[str, Any]]) -> None:
    invoice = invoices["acme"]
    mine = {f"{one.id}/1": one for one in month.made if one.tenant == "acme"}
    for line in invoice["lines"]:
        if line["charge"] == "output":
            told = month.server.json("invoices", "events", invoice["number"], "--line", str(line["n"]))["events"]
            model = line["group"]["model"]
            wanted = {
                id: one.usage["output"]
                for id, one in mine.items()
                if f"{one.deployment}-1" == model and one.usage["output"]
            }
            assert {event["id"]: int(event["quantity"]) for event in told} == wanted
        if line["charge"] == "reserved":
            told = month.server.json("invoices", "events", invoice["number"], "--line", str(line["n"]))["events"]
            counted = {(event["meter"], event["id"]): int(event["quantity"]) for event in told}
            measures = (("read", "input"), ("written", "output"))
            assert counted == {
                (name, id): one.usage[kind] for name, kind in measures for id, one in mine.items() if one.usage[kind]
            }
        checked = month.server.cli("invoices", "events", invoice["number"], "--line", str(line["n"]), "--verify")
        assert checked.returncode == 0, checked


def test_exports_come_to_what_is_payable(month: Month, invoices: dict[str, dict[str, Any]]) -> None:
    for invoice in invoices.values():
        focus = month.server.cli("invoices", "export", invoice["number"], "--format", "focus")
        rows = list(csv.DictReader(io.StringIO(focus.stdout)))
        assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(invoice["payable"])
        assert {row["ChargeClass"] for row in rows} == {""}
        page = month.server.cli("invoices", "export", invoice["number"], "--format", "html").stdout
        assert invoice["number"] in page and f"{Decimal(invoice['payable']):,.2f}" in page


def test_the_provider_s_bill_is_booked_and_the_next_invoice_corrects(
    month: Month, invoices: dict[str, dict[str, Any]]
) -> None:
    server, path = month.server, month.directory / "bill.csv"
    total = bill(path, month.made)
    columns = "start=day,model=model,kind=kind,quantity=tokens,amount=usd"
    of = ("--provider", "csv", "--of", "scripted", "--bucket", "day", "--places", "6")
    asked = ("reconcile", *of, "--columns", columns, str(path))
    found = server.cli(*asked, "--format", "json")
    assert found.returncode == 3, found
    rows = msgspec.json.decode(found.stdout)["report"]["rows"]
    lost = {(str(_day(one.at_ns)), f"{one.deployment}-1") for one in month.made if one.outcome == "lost"}
    differing = {(row["starts"][:10], row["model"]) for row in rows if row["status"] != "matched"}
    assert differing == lost
    assert server.cli(*asked, "--apply").returncode == 0
    again = server.cli(*asked, "--format", "json")
    assert again.returncode == 0 and {row["status"] for row in msgspec.json.decode(again.stdout)["report"]["rows"]} == {
        "matched"
    }
    usage = server.json("usage")["rows"][0]
    assert abs(Fraction(int(usage["amount_nanousd"]), 10**9) - total) <= Fraction(len(rows), 10**6)
    for tenant, invoice in invoices.items():  # what was billed stands, and says what it counted
        for line in invoice["lines"]:
            checked = server.cli("invoices", "events", invoice["number"], "--line", str(line["n"]), "--verify")
            assert checked.returncode == 0, (tenant, checked)
        next_month = server.json("invoices", "draft", tenant, "--period", "2026-11")
        corrected = [line for line in next_month["lines"] if line["correction"]]
        true = [one._replace(usage=one.true) for one in month.made if one.tenant == tenant]
        more = lines_of(true, tenant)["models", ""] - lines_of(month.made, tenant)["models", ""]
        models = sum(Fraction(line["exact"]) for line in corrected if line["charge"] == "models")
        assert models > 0 and abs(models - more) < Fraction(1, 100), tenant


def test_it_verifies(month: Month, invoices: dict[str, dict[str, Any]]) -> None:
    assert month.server.stop() == 0
    data = str(month.server.places.root)
    for command in (("verify",), ("invoices", "check"), ("rebuild", "--check")):
        done = run_cli(*command, "--data", data)
        assert done.returncode == 0, done
    books = msgspec.json.decode(run_cli("invoices", "books", "--data", data, "--format", "json").stdout)
    assert books["imbalance"] == {}
