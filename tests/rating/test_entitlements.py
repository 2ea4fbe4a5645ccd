"""What a plan entitles to: read, kept on record, refused by field; a plan without it is what it always was."""

from pathlib import Path
from typing import Any

import pytest

from interlock.errors import LocalError
from interlock.rating import Entitlements, plan_hash, plan_record, read_plan, read_plan_file

PLAN: dict[str, Any] = {
    "name": "gold",
    "currency": "USD",
    "charges": [{"id": "base", "price": {"model": "flat", "amount": "10"}}],
}
LIMIT: dict[str, Any] = {"name": "tokens", "measure": "tokens", "amount": "2000000", "window": "month"}
BEFORE = "b2c14e4a53ad56692b64d38038d2760678ef82065841a8f1b1105207ca87c506"
"""The hash of `PLAN`, as it was when plans could not entitle to anything."""
TOML = """
name = "gold"
currency = "USD"
[[charges]]
id = "base"
price = { model = "flat", amount = "10" }
[entitlements]
models = ["small-*", "claude-haiku-4-5"]
[entitlements.features]
sso = true
audit = false
support = "business hours"
[[entitlements.limits]]
name = "tokens"
measure = "tokens"
amount = "2000000"
window = "month"
per = ["principal"]
warn_at = [80, 100]
[[entitlements.limits]]
name = "at-once"
measure = "concurrency"
amount = 5
[[entitlements.limits]]
name = "spend"
measure = "usd"
amount = "12.000000001"
window = "day"
"""


def with_limit(**changes: Any) -> dict[str, Any]:
    made = {name: value for name, value in {**LIMIT, **changes}.items() if value is not None}
    return {"limits": [made]}


def test_a_plan_without_it_is_what_it_was() -> None:
    plan = read_plan(PLAN)
    assert plan.entitlements is None and "entitlements" not in plan_record(plan)
    assert plan_hash(plan) == BEFORE
    assert read_plan(plan_record(plan)) == plan
    assert plan_hash(read_plan({**PLAN, "entitlements": {}})) != BEFORE, "an empty table is one"


def test_a_table_is_read_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "gold.toml"
    path.write_text(TOML)
    plan = read_plan_file(path)
    found = plan.entitlements
    assert found is not None and found.models == ("small-*", "claude-haiku-4-5")
    assert found.features == {"sso": True, "audit": False, "support": "business hours"}
    assert [(one.name, one.window, one.per, one.warn_at) for one in found.limits] == [
        ("tokens", "month", ("principal",), (80, 100)),
        ("at-once", None, (), ()),
        ("spend", "day", (), ()),
    ]
    assert read_plan(plan_record(plan)) == plan
    assert plan_hash(plan) == plan_hash(read_plan(plan_record(plan))) != BEFORE
    assert read_plan({**PLAN, "entitlements": {}}).entitlements == Entitlements()
    assert read_plan({**PLAN, "entitlements": {"models": []}}).entitlements == Entitlements(models=())


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ({"model": ["a"]}, "entitlements.model"),
        ({"models": [""]}, "entitlements.models[0]"),
        ({"models": ["a\n"]}, "entitlements.models[0]"),
        ({"models": ["a" * 257]}, "entitlements.models[0]"),
        ({"models": ["a", "a"]}, "entitlements.models[1]"),
        ({"models": [f"m{n}" for n in range(257)]}, "entitlements.models"),
        ({"features": {"a b": True}}, "entitlements.features"),
        ({"features": {"f": "x" * 257}}, "entitlements.features.f"),
        ({"features": {"f": "\x1b[1m"}}, "entitlements.features.f"),
        ({"features": {f"f{n}": True for n in range(65)}}, "entitlements.features"),
        ({"limits": [LIMIT] * 2}, "entitlements.limits[1]"),
        ({"limits": [{**LIMIT, "name": f"n{n}"} for n in range(9)]}, "entitlements.limits"),
        (with_limit(name="a b"), "entitlements.limits[0].name"),
        (with_limit(name="a" * 65), "entitlements.limits[0].name"),
        (with_limit(measure="nanousd"), "entitlements.limits[0].measure"),
        (with_limit(amount="-1"), "entitlements.limits[0].amount"),
        (with_limit(amount="0.5"), "entitlements.limits[0].amount"),
        (with_limit(amount=str(1 << 63)), "entitlements.limits[0].amount"),
        (with_limit(measure="usd", amount="0.0000000001"), "entitlements.limits[0].amount"),
        (with_limit(measure="usd", amount="9223372037"), "entitlements.limits[0].amount"),
        (with_limit(window="ever"), "entitlements.limits[0].window"),
        (with_limit(window=None), "entitlements.limits[0].window"),
        (with_limit(measure="concurrency"), "entitlements.limits[0].window"),
        (with_limit(per=["tenant"]), "entitlements.limits[0].per[0]"),
        (with_limit(per=["key", "key"]), "entitlements.limits[0].per[1]"),
        (with_limit(per=["key", "session"], window="month"), "entitlements.limits[0].per"),
        (with_limit(per=["session"], window="day"), "entitlements.limits[0].per"),
        (with_limit(warn_at=[90, 80]), "entitlements.limits[0].warn_at"),
        (with_limit(warn_at=[0]), "entitlements.limits[0].warn_at"),
        (with_limit(warn_at=[101]), "entitlements.limits[0].warn_at"),
    ],
)
def test_a_mistake_names_its_field(table: dict[str, Any], field: str) -> None:
    with pytest.raises(LocalError) as refused:
        read_plan({**PLAN, "entitlements": table})
    assert refused.value.field == field, refused.value.message
    assert refused.value.code == "invalid_request"


def test_what_fits_is_taken() -> None:
    read_plan({**PLAN, "entitlements": with_limit(amount=str((1 << 63) - 1))})
    read_plan({**PLAN, "entitlements": with_limit(measure="usd", amount="9223372036.854775807")})
    read_plan({**PLAN, "entitlements": with_limit(measure="concurrency", window=None, amount="0")})
    read_plan({**PLAN, "entitlements": with_limit(per=["session"], window="hour")})
