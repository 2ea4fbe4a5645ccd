"""Plans from outside: what is written is what is read, and a mistake names its place."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from tests.rating.properties import bills, charges, holds, plan_with

from interlock.errors import LocalError
from interlock.rating import plan_hash, plan_record, read_plan, read_plan_file

UNIT = {"id": "a", "price": {"model": "per_unit", "unit": "1"}}
PLAN: dict[str, Any] = {"name": "p", "currency": "EUR", "charges": [UNIT]}


def test_a_record_reads_as_the_plan_that_it_is_of() -> None:
    def body(drawn: tuple[Any, dict[str, Any]]) -> None:
        for plan in (drawn[0][0], plan_with([drawn[1]])):
            record = plan_record(plan)
            assert read_plan(record) == plan
            assert msgspec.json.decode(msgspec.json.encode(record)) == record
            assert plan_hash(read_plan(record)) == plan_hash(plan)

    holds(st.tuples(bills(), charges()), body, 60)


def test_a_hash_tells_plans_apart() -> None:
    assert plan_hash(read_plan(PLAN)) == plan_hash(read_plan({**PLAN, "version": 1, "rounding": {"level": "line"}}))
    assert plan_hash(read_plan(PLAN)) != plan_hash(read_plan({**PLAN, "version": 2}))


def test_what_a_plan_does_not_say_is_not_in_its_record() -> None:
    """A plan of before there were windows, several sources and terms of payment has the record and hash that it had."""
    plan = {"name": "a", "currency": "USD", "charges": [{"id": "x", "price": {"model": "flat", "amount": "1"}}]}
    assert plan_hash(read_plan(plan)) == "13d578b6e1895f7a2ccaebc8733bce1272a26a947608b59b8ed8d595bf67fa15"
    said = {**windows(), "due_days": 0}
    record = plan_record(read_plan(said))
    assert (record["due_days"], record["charges"][0]["windows"]["size"]) == (0, "hour")
    assert read_plan(record) == read_plan(said)


def test_toml_and_json_are_read_exactly(tmp_path: Path) -> None:
    toml, json = tmp_path / "p.toml", tmp_path / "p.json"
    toml.write_text('name = "p"\ncurrency = "EUR"\n[[charges]]\nid = "a"\nprice = { model = "per_unit", unit = 0.1 }\n')
    json.write_text('{"name":"p","currency":"EUR","charges":[{"id":"a","price":{"model":"per_unit","unit":0.1}}]}')
    assert (
        read_plan_file(toml)
        == read_plan_file(json)
        == plan_with([{**UNIT, "price": {"model": "per_unit", "unit": "0.1"}}])
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", '{"name":"p","name":"q"}'),
        ("p.json", '{"name": NaN}'),
        ("p.json", "[" * 5000),
        ("p.toml", "name = "),
        ("p.toml", "a = " + "[" * 5000),
        ("p.toml", "name = 1e999999999999999999999"),
        ("p.toml", "#" * (1 << 20) + "\n"),
        ("p.toml", 'name = "\udcff"'),
    ],
)
def test_a_file_that_is_no_plan(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(LocalError):
        read_plan_file(path)


@pytest.mark.parametrize("text", ["{} = 1", "[{}]", "[[{}]]", "a = {{ b = 1, {} = 2 }}"])
@pytest.mark.parametrize("part", ["a", '"a"'])
def test_a_key_of_many_parts_costs_no_square_of_them(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text.format(".".join([part] * 400)))
    with pytest.raises(LocalError, match="a key of more than 300 parts"):
        read_plan_file(path)


def charge(**more: Any) -> dict[str, Any]:
    return {**PLAN, "charges": [{**UNIT, **more}]}


def price(model: str, **keys: Any) -> dict[str, Any]:
    return charge(price={"model": model, **keys})


def several(of: dict[str, Any], **more: Any) -> dict[str, Any]:
    return charge(sources=of, **more)


def windows(model: str = "windowed", **keys: Any) -> dict[str, Any]:
    """Two classes; each rule that is not given is right."""
    classes = {name: {"price": UNIT["price"]} for name in ("peak", "off")}
    priced: dict[str, dict[str, Any]] = {"windowed": {"classes": classes}, "flat": {"amount": "1"}}
    return charge(price={"model": model, **priced[model]}, windows={"size": "hour", "otherwise": "off", **keys})


def rule(**keys: Any) -> dict[str, Any]:
    return windows(rules=[{"in_class": "peak", **keys}])


BLOCK = {"block_size": "0", "price_per_block": "1"}
METERS = {name: [{"block_size": "1", "price_per_block": "1"}] for name in ("a", "b")}
TIERS = [{"up_to": "5", "unit": "1"}, {"unit": "2"}]
WRONG = [
    ([], "plan"),
    ({**PLAN, "colour": 1}, "colour"),
    ({**PLAN, "version": 10**3_000}, "version"),
    ({"currency": "EUR", "charges": [UNIT]}, "name"),
    ({**PLAN, "name": ""}, "name"),
    ({**PLAN, "name": "a\nb"}, "name"),
    ({**PLAN, "version": 0}, "version"),
    ({**PLAN, "version": 10**20}, "version"),
    ({**PLAN, "currency": "euro"}, "currency"),
    ({**PLAN, "currency": "ZZZ"}, "places"),
    ({**PLAN, "places": 10}, "places"),
    ({**PLAN, "charges": []}, "charges"),
    ({**PLAN, "charges": [UNIT] * 1001}, "charges"),
    ({**PLAN, "charges": [UNIT, UNIT]}, "charges[1]"),
    ({**PLAN, "rounding": {"mode": "sideways"}}, "rounding.mode"),
    ({**PLAN, "rounding": {"places": -1}}, "rounding.places"),
    ({**PLAN, "order": ["taxes", "taxes"]}, "order[1]"),
    ({**PLAN, "order": [], "discounts": [{"name": "x", "percent": "1"}]}, "order"),
    ({**PLAN, "discounts": [{"name": "x"}]}, "discounts[0].percent"),
    ({**PLAN, "discounts": [{"name": "x", "percent": "101"}]}, "discounts[0].percent"),
    ({**PLAN, "discounts": [{"name": "x", "amount": "-1"}]}, "discounts[0].amount"),
    ({**PLAN, "discounts": [{"name": "x", "amount": "1", "charges": ["b"]}]}, "discounts[0].charges[0]"),
    ({**PLAN, "commitment": {"minimum": "-1"}}, "commitment.minimum"),
    ({**PLAN, "taxes": {"rates": [{"name": "v", "percent": "-1"}]}}, "taxes.rates[0].percent"),
    ({**PLAN, "taxes": {"rates": [{"name": "v", "percent": "1"}] * 2}}, "taxes.rates[1]"),
    (charge(taxes=["vat"]), "charges[0].taxes[0]"),
    (charge(minimum="2", maximum="1"), "charges[0].minimum"),
    (charge(free_units="-1"), "charges[0].free_units"),
    (charge(prorate=["moon"]), "charges[0].prorate[0]"),
    (charge(source={"meter": "m", "usage": "output"}), "charges[0].source"),
    (charge(source={"usage": "output", "where": {"model": []}}), "charges[0].source.where.model"),
    (several({}), "charges[0].sources"),
    (several({str(n): {"meter": "m"} for n in range(101)}), "charges[0].sources"),
    (several({"a": {"meter": "m"}}, source={"meter": "m"}), "charges[0].sources"),
    (several({"a b": {"meter": "m"}}), "charges[0].sources"),
    (several({"a": {"meter": ""}}), "charges[0].sources.a"),
    (several({"a": {"meter": "m", "by": ["x"]}, "b": {"meter": "m"}}), "charges[0].sources.b.by"),
    (several({"a": {"meter": "m"}}, price={"model": "graduated_blocks", "meters": METERS}), "charges[0].sources"),
    (charge(price={"model": "graduated_blocks", "meters": METERS}, bucketed=True), "charges[0].price.meters"),
    (charge(price={"model": "volume_blocks", "meters": METERS}, free_units="1"), "charges[0].price.meters"),
    (windows("flat", otherwise=""), "charges[0].windows"),
    (windows(otherwise="night"), "charges[0].windows.otherwise"),
    (windows(otherwise=""), "charges[0].windows.otherwise"),
    (windows(size="minute"), "charges[0].windows.size"),
    (rule(in_class="night"), "charges[0].windows.rules[0].in_class"),
    (rule(days=["mon", "mon"]), "charges[0].windows.rules[0].days[1]"),
    (rule(days=["monday"]), "charges[0].windows.rules[0].days[0]"),
    (rule(from_hour=-1), "charges[0].windows.rules[0].from_hour"),
    (rule(to_hour=25), "charges[0].windows.rules[0].to_hour"),
    (rule(from_hour=8, to_hour=8), "charges[0].windows.rules[0].to_hour"),
    (windows(size="day", rules=[{"in_class": "peak", "from_hour": 8}]), "charges[0].windows.rules[0].from_hour"),
    (windows(rules=[{"in_class": "peak"}] * 101), "charges[0].windows.rules"),
    (charge(bucketed=True, windows={"size": "day", "otherwise": "off"}), "charges[0].windows.otherwise"),
    ({**PLAN, "due_days": -1}, "due_days"),
    ({**PLAN, "due_days": 367}, "due_days"),
    ({**PLAN, "due_days": "30"}, "due_days"),
    (charge(convert={"divide_by": "0"}), "charges[0].convert.divide_by"),
    (charge(convert={"multiply_by": "-1"}), "charges[0].convert.multiply_by"),
    (charge(description="x" * 257), "charges[0].description"),
    (price("per_unit"), "charges[0].price.unit"),
    (price("per_unit", unit="NaN"), "charges[0].price.unit"),
    (price("per_unit", unit="1e999999999"), "charges[0].price.unit"),
    (price("per_unit", unit=Decimal("Infinity")), "charges[0].price.unit"),
    (price("per_unit", unit=0.5), "charges[0].price.unit"),
    (price("per_unit", unit=True), "charges[0].price.unit"),
    (price("per_unit", unit="1", tiers=TIERS), "charges[0].price.tiers"),
    (price("by_the_moon", unit="1"), "charges[0].price.model"),
    (charge(price={"unit": "1"}), "charges[0].price.model"),
    (price("graduated", tiers=[]), "charges[0].price.tiers"),
    (price("graduated", tiers=TIERS[::-1]), "charges[0].price.tiers[0].up_to"),
    (price("volume", tiers=[TIERS[0], TIERS[0]]), "charges[0].price.tiers[1].up_to"),
    (price("graduated", tiers=[{"up_to": "0"}]), "charges[0].price.tiers[0].up_to"),
    (price("graduated", tiers=[{"up_to": "1", "unit": "x"}]), "charges[0].price.tiers[0].unit"),
    (price("package", size="0", price="1"), "charges[0].price.size"),
    (price("dynamic", divide_by="0"), "charges[0].price.divide_by"),
    (price("percentage", rate_percent="1", free_events=-1), "charges[0].price.free_events"),
    (price("percentage", rate_percent="1", per_event_min="2", per_event_max="1"), "charges[0].price.per_event_min"),
    (price("graduated_blocks"), "charges[0].price.tiers"),
    (price("volume_blocks", tiers=[BLOCK]), "charges[0].price.tiers[0].block_size"),
    (price("windowed", classes={}), "charges[0].price.classes"),
    (
        price("windowed", classes={"in": {"price": UNIT["price"], "commitment": "1", "commitment_units": "1"}}),
        "charges[0].price.classes.in.commitment",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("document", "field"), WRONG, ids=[field for _, field in WRONG])
def test_a_mistake_names_its_place(document: object, field: str) -> None:
    with pytest.raises(LocalError) as caught:
        read_plan(document)
    assert (caught.value.code, caught.value.field) == ("invalid_request", field)
    assert len(caught.value.message) < 700
