"""Prepaid credit on both ports of a real control process: given once, refused by field, listed, voided, asked for."""

from typing import Any

import pytest
from tests.control.test_app import issued, refused
from tests.e2e.server import run_cli, until

from interlock.ledger import Opened, Settled
from interlock.testing.control_process import ControlProcess, UsageWriter

BODY = {"tenant": "acme", "amount": "10"}


def give(control: ControlProcess, **more: Any) -> Any:
    answer = control.ask("POST", "/v1/credits", {**BODY, **more})
    assert answer.status in (200, 201), answer.body
    return answer.json()


def account(control: ControlProcess, tenant: str) -> Any:
    (found,) = control.ask("GET", f"/v1/balances?tenant={tenant}").json()["balances"]
    return found


def test_credit_is_given_once(control: ControlProcess) -> None:
    body = {**BODY, "tenant": "once", "id": "order/4711", "expires": "30d", "note": "a gift"}
    first, again = (control.ask("POST", "/v1/credits", body) for _ in range(2))
    assert (first.status, again.status) == (201, 200) and first.json() == again.json()
    assert first.json()["state"] == "active" and first.json()["balance"] == "10.00"
    refused(control.ask("POST", "/v1/credits", {**body, "amount": "11"}), "conflict", "id")
    refused(control.ask("POST", "/v1/credits", {**body, "tenant": "twice"}), "conflict", "id")
    assert account(control, "once")["granted"] == "10.00"
    assert account(control, "once")["held"] is None, "no gateway runs here"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("amount", ["", "0", "-1", "1e9", "NaN", "Infinity", "1e999999999", "0.0000000001", "1000000001", "1,5", "٣"]),
        ("tenant", ["", "A B", "x" * 64]),
        ("id", ["a b", "x" * 129]),
        ("principal", ["a b"]),
        ("priority", [-1, 1001]),
        ("effective", ["soon", "2026-11-01T00:00:00", "30d", "9999-01-01"]),
        ("expires", ["0d", "99999d", "2001-01-01", "never"]),
        ("every", ["P", "P1M1D", "PT1S", "P0D", "P9999D", "hour"]),
        ("anchor", ["2026-11-01"]),
        ("rollover_max", ["x"]),
        ("note", ["x" * 257, "a\nb"]),
    ],
)
def test_what_is_wrong_is_named(control: ControlProcess, field: str, values: list[Any]) -> None:
    for value in values:
        refused(control.ask("POST", "/v1/credits", {**BODY, field: value}), "invalid_request", field)


def test_what_does_not_fit_together(control: ControlProcess) -> None:
    every = {**BODY, "every": "month"}
    refused(control.ask("POST", "/v1/credits", {**every, "rollover_min": "2"}), "invalid_request", "rollover_min")
    once = {**BODY, "applies": "invoices", "rollover_max": "5"}
    refused(control.ask("POST", "/v1/credits", once), "invalid_request", "rollover_max")
    late = {**BODY, "effective": "2100-01-02", "expires": "2100-01-01"}
    refused(control.ask("POST", "/v1/credits", late), "invalid_request", "expires")
    one = {**BODY, "applies": "invoices", "principal": "p"}
    refused(control.ask("POST", "/v1/credits", one), "invalid_request", "principal")
    mistyped: list[Any] = [{**BODY, "amount": 10}, {**BODY, "more": 1}, {**BODY, "applies": "both"}, []]
    for wrong in mistyped:
        assert control.ask("POST", "/v1/credits", wrong).status == 400
    refused(control.ask("GET", "/v1/credits?tenant=A%20B"), "invalid_request", "tenant")
    refused(control.ask("GET", "/v1/balances?principal=p"), "invalid_request", "principal")
    refused(control.ask("DELETE", "/v1/credits/none"), "not_found", "id")


def test_a_grant_is_listed_and_voided(control: ControlProcess) -> None:
    give(control, tenant="voids", id="a/b c".replace(" ", "-"), priority=2)
    give(control, tenant="voids", id="later", effective="2100-01-01")
    give(control, tenant="voids", id="bills", applies="invoices", every="month", rollover_max="3")
    listed = control.ask("GET", "/v1/credits?tenant=voids").json()
    assert [row["id"] for row in listed["credits"]] == ["bills", "later", "a/b-c"] and listed["more"] == 0
    assert [row["state"] for row in listed["credits"]] == ["active", "pending", "active"]
    stands = account(control, "voids")
    assert (stands["balance"], stands["granted"], stands["for_invoices"]) == ("10.00", "10.00", "10.00")
    for _ in range(2):
        answer = control.ask("DELETE", "/v1/credits/a/b-c?reason=a%20mistake").json()
        assert (answer["state"], answer["reason"]) == ("voided", "a mistake")
    control.ask("DELETE", "/v1/credits/bills")
    until(lambda: account(control, "voids")["forfeited"] == "10.00", "the end is written")
    assert account(control, "voids")["for_invoices"] == account(control, "voids")["balance"] == "0.00"


def test_a_period_is_reset(control: ControlProcess) -> None:
    give(control, tenant="turns", id="turns-1", rollover_max="4")
    give(control, tenant="turns", id="turns-2", amount="3")
    body = {"id": "turns/june", "keep_overage": False, "anchor": "keep", "reason": "a new contract"}
    first, again = (control.ask("POST", "/v1/credits/turns/reset", body) for _ in range(2))
    assert (first.status, again.status) == (201, 200) and first.json() == again.json(), first.body
    made = first.json()
    assert (made["forfeited"], made["forgiven"], made["balance"], made["final"]) == ("9.00", "0.00", "4.00", False)
    stands = until(lambda: (found := account(control, "turns"))["forfeited"] != "0.00" and found, "the cut has come")
    assert (stands["granted"], stands["forfeited"], stands["forgiven"], stands["balance"]) == (
        *("13.00", "9.00", "0.00", "4.00"),
    )
    rows = control.ask("GET", "/v1/credits?tenant=turns").json()["credits"]
    assert {row["id"]: (row["balance"], row["forfeited_by_resets"], row["period"]) for row in rows} == {
        "turns-1": ("4.00", "6.00", 1),
        "turns-2": ("0.00", "3.00", 1),
    }
    refused(control.ask("POST", "/v1/credits/turns/reset", {**body, "anchor": "now"}), "conflict", "id")
    old = control.ask("POST", "/v1/credits/turns/reset", {**body, "id": "old", "at": "2020-01-01"})
    refused(old, "invalid_request", "at")
    earliest = old.json()["error"]["message"].split(": ")[1].split(" ")[0]
    assert earliest > made["cut"]
    assert control.ask("POST", "/v1/credits/turns/reset", {**body, "id": "old", "at": earliest}).status == 201


def test_what_is_wrong_with_a_reset_is_named(control: ControlProcess) -> None:
    give(control, tenant="turns-not", id="turns-not")
    body = {"id": "r", "keep_overage": True, "anchor": "now"}
    wrong: list[tuple[str, Any]] = [
        *(("id", ""), ("id", "a b"), ("principal", "a b"), ("at", "soon"), ("at", "30d"), ("at", "2200-01-01")),
        *(("reason", "a\nb"),),
    ]
    for field, value in wrong:
        answer = control.ask("POST", "/v1/credits/turns-not/reset", {**body, field: value})
        refused(answer, "invalid_request", field)
    untyped: list[Any] = [{"id": "r"}, {**body, "keep_overage": "yes"}, {**body, "anchor": "then"}, {**body, "more": 1}]
    for mistyped in untyped:
        assert control.ask("POST", "/v1/credits/turns-not/reset", mistyped).status == 400
    refused(control.ask("POST", "/v1/credits/A%20B/reset", body), "invalid_request", "tenant")
    refused(control.ask("POST", "/v1/credits/turns-none/reset", body), "not_found", "tenant")
    give(control, tenant="turns-bills", id="turns-bills", applies="invoices")
    refused(control.ask("POST", "/v1/credits/turns-bills/reset", body), "not_found", "tenant")


def test_what_calls_cost_is_taken(control: ControlProcess) -> None:
    give(control, tenant="calls", id="one", priority=0, amount="0.00001")
    give(control, tenant="calls", id="two", priority=1, amount="0.00001")
    give(control, tenant="calls", principal="p", id="own", amount="1")
    opened = Opened(
        request_id="req_credits", attempt=1, tenant="calls", principal="p", key_id="k", format="chat", stream=False,
        model_requested="auto", tier="small", deployment="tiny", provider="openai", model="tiny-1",
        policy=control.ask("GET", "/v1/status").json()["policy"], input_estimate=4, estimate_rule="r",
    )  # fmt: skip
    settled = Settled(
        request_id="req_credits", attempt=1, outcome="completed", usage={"input": 3, "output": 5}, source="reported"
    )
    writer = UsageWriter(control.data_dir)
    writer.write(opened)
    writer.write(settled)
    writer.close()
    found = control.ask("GET", "/v1/balances?tenant=calls").json()["balances"]
    assert [(row["principal"], row["used"], row["balance"]) for row in found] == [
        ("", "0.000013", "0.000007"),
        ("p", "0.000013", "0.999987"),
    ]
    rows = control.ask("GET", "/v1/credits?tenant=calls").json()["credits"]
    assert {row["id"]: row["balance"] for row in rows} == {"one": "0.00", "two": "0.000007", "own": "0.999987"}


def test_how_long_balances_last(control: ControlProcess) -> None:
    give(control, tenant="lasts", id="lasts-1", amount="7.5")
    give(control, tenant="lasts", principal="p", id="lasts-2", amount="1")
    give(control, tenant="lasts-not", id="lasts-3", amount="1")
    give(control, tenant="lasts", id="lasts-4", applies="invoices")
    found = control.ask("GET", "/v1/budgets?tenant=lasts").json()["budgets"]
    assert [(row["name"], row["used"], row["amount"], row["left"]) for row in found] == [
        ("credit/lasts", "0.00", "7.50", "7.50"),
        ("credit/lasts/p", "0.00", "1.00", "1.00"),
    ]
    assert {row["window"] for row in found} == {row["ends"] for row in found} == {None}
    secret = issued(control, tenant="lasts", name="asks", scopes=["usage:read"])["secret"]
    own = control.ask("GET", "/v1/budgets", key=secret, port=control.api_port).json()["budgets"]
    assert [row["name"] for row in own] == ["credit/lasts", "credit/lasts/p"]
    every = [row["name"] for row in control.ask("GET", "/v1/budgets").json()["budgets"]]
    assert "credit/lasts-not" in every
    env = {"INTERLOCK_URL": control.url, "INTERLOCK_KEY": control.admin}
    done = run_cli("budgets", "--tenant", "lasts", env=env)
    assert done.returncode == 0 and "credit/lasts/p  tenant=lasts principal=p  usd      -" in done.stdout, done


def test_who_may(control: ControlProcess) -> None:
    secret = issued(control, tenant="asks", principal="p", scopes=["usage:read"])["secret"]
    for method, path in (("GET", "/v1/credits"), ("POST", "/v1/credits"), ("GET", "/v1/balances")):
        refused(control.ask(method, path, key=secret), "scope_missing")
    told = control.ask("GET", "/v1/balance", key=secret, port=control.api_port).json()
    assert told == {"tenant": "asks", "principal": "p", "credit": [], "limits": []}
    give(control, tenant="asks", id="asks")
    give(control, tenant="others", id="others")
    told = control.ask("GET", "/v1/balance", key=secret, port=control.api_port).json()
    assert told["credit"] == [{"account": "asks", "held": None, "left": None}]
    none = issued(control, tenant="asks", name="none", scopes=["inference"])["secret"]
    refused(control.ask("GET", "/v1/balance", key=none, port=control.api_port), "scope_missing")


def test_by_command(control: ControlProcess) -> None:
    env = {"INTERLOCK_URL": control.url, "INTERLOCK_KEY": control.admin}
    topup = ("credits", "topup", "--tenant", "typed", "--amount", "12.5", "--id", "typed-1")
    done = run_cli(*topup, env=env)
    assert done.returncode == 0 and done.stdout.startswith("typed-1: 12.50 USD for typed from ")
    assert run_cli(*topup, env=env).stdout == done.stdout
    wrong = run_cli("credits", "topup", "--tenant", "typed", "--amount", "1e3", env=env)
    assert wrong.returncode == 2 and "is not an amount" in wrong.stderr and "Traceback" not in wrong.stderr
    grant = ("credits", "grant", "--tenant", "typed", "--amount", "1", "--every", "month", "--rollover-max", "1")
    assert run_cli(*grant, "--id", "typed-2", "--expires", "365d", env=env).returncode == 0
    assert run_cli("credits", "list", "--tenant", "typed", "--format", "csv", env=env).stdout.count("\n") == 3
    shown = run_cli("credits", "balances", "--tenant", "typed", env=env).stdout
    assert "13.50" in shown and shown.startswith("TENANT")
    reset = ("credits", "reset", "--tenant", "typed", "--id", "typed-3", "--anchor", "now")
    unsaid = run_cli(*reset, env=env)
    assert unsaid.returncode == 2 and "--keep-overage" in unsaid.stderr

    def is_reset() -> str:
        return run_cli(*reset, "--no-keep-overage", env=env).stdout

    said = until(is_reset, "no grant changes in that second")
    assert said.startswith("typed-3: the period of typed is reset at "), said
    assert "12.50 USD are forfeited, 0.00 USD forgiven, 2.00 USD left" in said
    assert "typed-2 of typed is voided" in run_cli("credits", "void", "typed-2", env=env).stdout
    assert "--rollover-max" in run_cli("credits", "grant", "--help").stdout
