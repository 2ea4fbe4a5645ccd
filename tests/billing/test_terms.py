"""What may be adopted: plans for invoices, parties that can be printed, subscriptions that overlap nothing."""

from pathlib import Path
from typing import Any

import pytest
from tests.billing.rig import BASE, BUYER, TOKENS, Rig

from interlock.billing import Party, Wanted
from interlock.errors import LocalError
from interlock.rating import plan_record, read_plan_file

EXAMPLES = Path(__file__).parents[2] / "examples"


def field(rig: Rig, work: Any) -> str | None:
    with pytest.raises(LocalError) as caught:
        rig.do(work)
    return caught.value.field


def plan(*charges: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "gold", "currency": "USD", "charges": list(charges or [TOKENS]), **more}


def test_versions() -> None:
    rig = Rig()
    one, new = rig.do(rig.billing.adopt_plan(plan(), "ann"))
    assert (one.version, new) == (1, True)
    assert rig.do(rig.billing.adopt_plan(plan(), "ann")) == (one, False)
    two, new = rig.do(rig.billing.adopt_plan(plan(BASE), "ann"))
    assert (two.version, new) == (2, True)
    assert rig.do(rig.billing.adopt_plan(plan(version=1), "ann")) == (one, False)  # it stands, and is not the newest
    assert field(rig, rig.billing.adopt_plan(plan(BASE, version=1), "ann")) == "version"
    assert field(rig, rig.billing.adopt_plan(plan(version=4), "ann")) == "version"
    assert rig.do(rig.billing.adopt_plan(plan(version=3), "ann"))[0].version == 3
    again = rig.again().accounts
    assert plan_record(again.plan("gold", 2)) == plan_record(two) and again.plan("gold").version == 3
    for name, version in (("gold", 9), ("silver", 0)):
        with pytest.raises(LocalError) as caught:
            again.plan(name, version)
        assert caught.value.code == "not_found"


def test_examples_can_be_billed() -> None:
    rig = Rig()
    for name in ("plan-agents", "plan-hours"):
        found, new = rig.do(rig.billing.adopt_plan(plan_record(read_plan_file(EXAMPLES / f"{name}.toml")), "ann"))
        assert new and f"plan-{found.name}" == name


WINDOWED = {"model": "windowed", "classes": {"": {"price": BASE["price"]}}}
BLOCKS = {"model": "graduated_blocks", "meters": {"a": [{"block_size": "1", "price_per_block": "1"}]}}
COST = TOKENS | {"source": {"usage": "cost"}}
OFF = [{"name": "d", "percent": "1"}]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (plan(TOKENS | {"source": None}), "charges[0].source"),
        (plan(rounding={"level": "none"}), "rounding.level"),
        (plan(rounding={"level": "total"}), "rounding.level"),
        (plan(order=["discounts", "commitment", "credits", "taxes"]), "order"),
        (plan(order=["commitment", "taxes", "discounts", "credits"], discounts=OFF), "order"),
        (plan(TOKENS | {"negative_delta": "zero"}, discounts=OFF), "charges[0].negative_delta"),
        (plan(TOKENS | {"price": WINDOWED}), "charges[0].windows"),
        (plan(TOKENS | {"bucketed": True, "aggregate": "weighted_sum"}), "charges[0].aggregate"),
        (plan(TOKENS | {"price": BLOCKS}), "charges[0].sources"),
        (plan(TOKENS | {"source": None, "sources": {"a": {"usage": "token"}}}), "charges[0].sources.a.usage"),
        (plan(TOKENS | {"source": None, "sources": {"a": {"usage": "cost"}}}, currency="EUR"), "charges[0].price"),
        (plan(currency="XBT1", places=12), "places"),
        (plan(TOKENS | {"source": {"usage": "token"}}), "charges[0].source.usage"),
        (plan(TOKENS | {"source": {"usage": "output", "by": ["modle"]}}), "charges[0].source.by"),
        (plan(TOKENS | {"source": {"usage": "output", "where": {"x": ["a"]}}}), "charges[0].source.where"),
        (plan(COST, currency="EUR"), "charges[0].price"),
        (plan(COST | {"price": {"model": "dynamic"}}, currency="EUR"), "charges[0].price"),
        (plan(nonsense=1), "nonsense"),
    ],
)  # fmt: skip
def test_plans_no_invoice_can_be_made_of(document: dict[str, Any], place: str) -> None:
    rig = Rig()
    found = field(rig, rig.billing.adopt_plan(document, "ann"))
    assert found is not None and place in found
    assert rig.accounts.plans == {}


@pytest.mark.parametrize(
    ("party", "place"),
    [
        (Party(name=""), "name"),
        (Party(name="   "), "name"),
        (Party(name="x" * 201), "name"),
        (Party(name="a\nb"), "name"),
        (Party(name="a\x1b[2J"), "name"),
        (Party(name="\u202eevil"), "name"),
        (Party(name="a", address=("x",) * 13), "address"),
        (Party(name="a", address=("",)), "address"),
        (Party(name="a", prefix="A/B"), "prefix"),
        (Party(name="a", prefix="X" * 17), "prefix"),
    ],
)
def test_parties_that_cannot_be_printed(party: Party, place: str) -> None:
    rig = Rig()
    assert field(rig, rig.billing.set_issuer(party, "ann")) == f"issuer.{place}"


def test_a_draft_needs_an_issuer_and_the_issuer_may_change() -> None:
    rig = Rig()
    rig.do(rig.billing.adopt_plan(plan(), "ann"))
    rig.do(rig.billing.subscribe("acme", Wanted(plan="gold", since="2026-01-01", buyer=BUYER), "ann"))
    assert field(rig, rig.billing.draft("acme", "2026-11")) == "issuer"
    assert rig.do(rig.billing.set_issuer(Party(name="A"), "ann")) is True
    assert rig.do(rig.billing.set_issuer(Party(name="A"), "ann")) is False
    held = rig.final()
    rig.do(rig.billing.set_issuer(Party(name="B"), "ann"))
    assert rig.accounts.find(held.header.id).header.issuer.name == "A"


def test_subscriptions() -> None:
    rig = Rig().subscribed()
    euro = {"name": "euro", "currency": "EUR", "charges": [BASE]}
    rig.do(rig.billing.adopt_plan(euro, "ann"))

    def asked(tenant: str = "acme", **wanted: Any) -> Any:
        return rig.billing.subscribe(tenant, Wanted(**{"plan": "gold", "since": "2026-06-01", **wanted}), "ann")

    assert field(rig, asked("new")) == "buyer"
    assert field(rig, asked("new", plan="")) == "tenant"  # none that could end
    assert field(rig, asked(plan="none")) == "plan"
    assert field(rig, asked(version=7)) == "version"
    assert field(rig, asked(since="2026-6-1")) == "since"
    assert field(rig, asked(zone="Europe/Berlin")) == "zone"
    assert field(rig, asked(zone="../etc")) == "zone"
    assert field(rig, asked(every="day")) == "every"
    assert field(rig, asked("new", every="year", buyer=BUYER)) == "every"
    assert field(rig, asked(plan="euro")) == "plan"
    made, new = rig.do(asked(reference="PO 7"))
    assert (made.buyer, made.reference, new) == (BUYER, "PO 7", True)
    assert rig.do(asked()) == (made, False)
    rig.final("2026-11")
    assert field(rig, asked(since="2026-11-30")) == "since"
    assert rig.do(asked(since="2026-12-01", plan=""))[0].plan == ""
    assert field(rig, rig.billing.draft("acme", "2026-12")) == "period"
