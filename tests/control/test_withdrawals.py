"""Tenants and their terms, withdrawals: the control port's paths, and what may not be said there."""

import pytest
from tests.control.test_app import issued, refused

from interlock.testing.control_process import ControlProcess


def test_a_withdrawal_stands_until_it_is_taken_back(control: ControlProcess) -> None:
    body = {"kind": "model", "name": "gpt-*", "reason": "terms changed"}
    made = control.ask("POST", "/v1/withdrawals", body)
    assert made.status == 201 and made.json()["reason"] == "terms changed" and made.json()["workers_killed"] == 0
    again = control.ask("POST", "/v1/withdrawals", body | {"reason": "other"})
    assert again.json()["reason"] == "terms changed" and again.json()["at"] == made.json()["at"]
    shown = control.ask("GET", "/v1/withdrawals").json()["withdrawals"]
    assert [(one["kind"], one["name"], one["by"]) for one in shown] == [("model", "gpt-*", "admin")]
    gone = control.ask("DELETE", "/v1/withdrawals/model/gpt-*?reason=back")
    assert gone.status == 200 and control.ask("GET", "/v1/withdrawals").json()["withdrawals"] == []
    refused(control.ask("DELETE", "/v1/withdrawals/model/gpt-*"), "not_found", "name")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "planet", "name": "x", "reason": "r"}, "kind"),
        ({"kind": "model", "name": "", "reason": "r"}, "name"),
        ({"kind": "model", "name": "x" * 257, "reason": "r"}, "name"),
        ({"kind": "model", "name": "x", "reason": " "}, "reason"),
        ({"kind": "model", "name": "x", "reason": "r" * 257}, "reason"),
        ({"kind": "model", "name": "x"}, "reason"),
    ],
)
def test_a_mistake_is_named(control: ControlProcess, body: dict[str, str], field: str) -> None:
    refused(control.ask("POST", "/v1/withdrawals", body), "invalid_request", field)
    assert control.ask("GET", "/v1/withdrawals").json()["withdrawals"] == []


def test_tenants_and_what_they_accept(control: ControlProcess) -> None:
    made = control.ask("POST", "/v1/tenants", {"name": "care", "boundary": "eu"})
    assert made.status == 201 and made.json() == {"name": "care", "boundary": "eu", "agreements": []}
    refused(control.ask("POST", "/v1/tenants", {"name": "care", "boundary": ""}), "conflict", "boundary")
    refused(control.ask("POST", "/v1/tenants", {"name": "x", "boundary": "mars"}), "invalid_request", "boundary")
    accepted = control.ask("POST", "/v1/tenants/care/agreements", {"agreement": "dpa/2026", "by": "ada"})
    (one,) = accepted.json()["agreements"]
    assert (one["agreement"], one["by"]) == ("dpa/2026", "ada")
    again = control.ask("POST", "/v1/tenants/care/agreements", {"agreement": "dpa/2026", "by": "bob"})
    assert again.json()["agreements"] == [one]
    refused(control.ask("POST", "/v1/tenants/nobody/agreements", {"agreement": "x"}), "not_found", "tenant")
    refused(control.ask("POST", "/v1/tenants/care/agreements", {"agreement": ""}), "invalid_request", "agreement")
    left = control.ask("DELETE", "/v1/tenants/care/agreements/dpa/2026?reason=expired")
    assert left.json()["agreements"] == []
    refused(control.ask("DELETE", "/v1/tenants/care/agreements/dpa/2026"), "not_found", "agreement")


def test_only_admins(control: ControlProcess) -> None:
    secret = issued(control, scopes=["inference"])["secret"]
    for method, path in (("POST", "/v1/withdrawals"), ("POST", "/v1/tenants"), ("GET", "/v1/withdrawals")):
        refused(control.ask(method, path, key=secret), "scope_missing")


def test_a_list_of_destinations_never_changes_under_its_name(configured: ControlProcess) -> None:
    assert configured.config is not None
    text = configured.config.read_text()

    def load(sources: str) -> int:
        assert configured.config is not None
        configured.config.write_text(text + sources)
        answer = configured.ask("POST", "/v1/config/reload")
        if answer.status != 200:
            assert "boundaries.dach.sources" in answer.body.decode() and "dach-2" in answer.body.decode()
        return answer.status

    first = '[boundaries.dach.sources]\nde = ["de", "at"]\n'
    other = '[boundaries.dach.sources]\nde = ["de", "at", "ch"]\n'
    assert load(first) == 200
    assert load(other) == 400
    assert load("") == 200, "it may go"
    assert load(other) == 400, "and nobody takes its name"
    assert load(other.replace("dach", "dach-2")) == 200
    assert load(first) == 200
