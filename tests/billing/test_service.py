"""The way of an invoice: once, whatever is asked again, by whom, and whenever it is cut off."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from tests.billing.rig import BASE, BUYER, TOKENS, Rig, ns

from interlock.billing import Billing, Wanted
from interlock.billing.checking import check_booked, check_invoice, check_numbers
from interlock.billing.state import STREAM, Accounts
from interlock.billing.value import Header
from interlock.errors import LocalError, LogUnavailable
from interlock.log import Appended, Conflict, Record
from interlock.log.memory import MemoryLog


def refused(rig: Rig, work: Any, code: str, said: str = "") -> None:
    with pytest.raises(LocalError, match=said or None) as caught:
        rig.do(work)
    assert caught.value.code == code


def types(rig: Rig) -> list[str]:
    return [stored.record.type for stored in rig.log._streams[STREAM]]


def test_every_step_once() -> None:
    rig = Rig().subscribed()
    rig.usage.add("2026-11-05", 100)
    held, new = rig.do(rig.billing.review("acme", "2026-11", "ann"))
    assert (new, held.state, held.header.total) == (True, "in_review", 10**9)
    rig.usage.add("2026-11-06", 100)  # what is frozen stays as it is
    again, new = rig.do(rig.billing.review("acme", "2026-11", "bob"))
    assert (new, again.sha256) == (False, held.sha256)
    refused(rig, rig.billing.finalize(held.header.id, "bob"), "wrong_state", "approve, return")
    refused(rig, rig.billing.approve(held.header.id, "0" * 64, "bob"), "conflict")
    for _ in range(2):
        rig.do(rig.billing.approve(held.header.id, held.sha256, "bob"))
    made = [rig.do(rig.billing.finalize(held.header.id, "bob")).final for _ in range(3)]
    assert made[0] == made[1] == made[2] and made[0] is not None and made[0].number == "INV-2026-000001"
    assert rig.do(rig.billing.review("acme", "2026-11", "ann"))[1] is False
    refused(rig, rig.billing.send_back(held.header.id, "no", "ann"), "wrong_state")
    assert types(rig)[-4:] == ["invoice.lines", "invoice.reviewed", "invoice.approved", "invoice.finalized"]
    assert rig.accounts.find("INV-2026-000001").header.id == held.header.id


def test_returned_and_drafted_anew() -> None:
    rig = Rig().subscribed()
    held, _ = rig.do(rig.billing.review("acme", "2026-11", "ann"))
    rig.do(rig.billing.approve(held.header.id, held.sha256, "bob"))
    rig.do(rig.billing.send_back(held.header.id, "wrong plan", "bob"))
    rig.usage.add("2026-11-05", 100)
    second = rig.final()
    assert second.header.id == "acme:2026-11:2" and second.header.total == 10**9
    assert rig.accounts.find(held.header.id).state == "returned"


def test_voided_and_billed_anew() -> None:
    rig = Rig(acme=5 * 10**8).subscribed()
    rig.usage.add("2026-11-05", 100)
    first = rig.final()
    assert first.final is not None and (first.final.prepaid, first.final.payable) == (5 * 10**8, 5 * 10**8)
    rig.usage.add("2026-11-06", 1)
    rig.at("2027-01-02")
    rig.final("2026-12")  # holds a correction of November
    for _ in range(2):
        rig.do(rig.billing.void(first.header.id, "wrong address", "ann"))
    assert rig.balances.left["acme"] == 5 * 10**8
    second = rig.final("2026-11")
    assert second.final is not None and second.final.number == "INV-2027-000002"
    [line] = rig.whole(second).lines
    assert (line.quantity, line.amount) == ("100", 10**9)  # what December's invoice charged of it is not charged again
    accounts = rig.accounts
    assert check_numbers(accounts) == [] and check_booked(accounts) == []


def test_a_period_has_to_be_over_and_calls_priced() -> None:
    rig = Rig(now="2026-11-20").subscribed()
    refused(rig, rig.billing.review("acme", "2026-11", "ann"), "wrong_state", "interim")
    refused(rig, rig.billing.draft("acme", "2026-12"), "invalid_request", "not begun")
    refused(rig, rig.billing.draft("acme", "2025-12"), "invalid_request", "no subscription in")
    refused(rig, rig.billing.draft("other", "2026-11"), "not_found")
    rig.usage.unpriced = 3
    refused(rig, rig.billing.review("acme", "2026-11", "ann", interim=True), "wrong_state", "3 attempts have no price")
    held = rig.final(interim=True, unpriced=True)
    assert (held.header.interim, held.header.unpriced) == (True, 3)


def test_what_follows_an_interim_invoice() -> None:
    rig = Rig(now="2026-11-20").subscribed(TOKENS, commitment={"minimum": "10"})
    rig.usage.add("2026-11-05", 100)
    assert rig.final(interim=True).header.total == 10**9  # no minimum yet
    rig.usage.add("2026-11-25", 50)
    rig.at("2027-01-02")
    rest = rig.whole(rig.final("2026-12"))
    november = [(line.kind, line.amount) for line in rest.lines if line.correction]
    assert november == [("usage", 5 * 10**8), ("commitment", 85 * 10**8)]


def test_an_invoice_that_another_overtook() -> None:
    rig = Rig().subscribed()
    rig.usage.add("2026-11-05", 100)
    rig.final("2026-11")
    rig.usage.add("2026-11-06", 7)
    rig.at("2027-02-02")
    waiting, _ = rig.do(rig.billing.review("acme", "2026-12", "ann"))
    rig.do(rig.billing.approve(waiting.header.id, waiting.sha256, "bob"))
    rig.final("2027-01")  # corrects November, too
    refused(rig, rig.billing.finalize(waiting.header.id, "bob"), "conflict", "review")
    rig.do(rig.billing.send_back(waiting.header.id, "overtaken", "bob"))
    assert not any(line.correction for line in rig.whole(rig.final("2026-12")).lines)


def test_a_new_version_changes_no_old_invoice() -> None:
    rig = Rig().subscribed()
    rig.usage.add("2026-11-05", 100)
    old = rig.whole(rig.final("2026-11"))
    dearer = TOKENS | {"price": {"model": "per_unit", "unit": "1"}}
    plan, new = rig.do(rig.billing.adopt_plan({"name": "gold", "currency": "USD", "charges": [dearer]}, "ann"))
    assert (plan.version, new) == (2, True)
    rig.do(rig.billing.subscribe("acme", Wanted(plan="gold", since="2026-12-17"), "ann"))
    rig.usage.add("2026-11-06", 10)
    rig.usage.add("2026-12-05", 10)
    rig.usage.add("2026-12-20", 10)
    rig.at("2027-01-02")
    lines = rig.whole(rig.final("2026-12")).lines
    assert [(line.period, line.version, line.amount) for line in lines] == [
        ("2026-12", 1, 10**8), ("2026-12", 2, 10**10), ("2026-11", 1, 10**8),
    ]  # fmt: skip
    assert rig.whole(rig.accounts.find(old.header.id)).lines == old.lines


def test_a_change_of_plan_prorates_what_is_fixed() -> None:
    rig = Rig().subscribed(BASE)
    rig.do(
        rig.billing.adopt_plan(
            {"name": "gold", "currency": "USD", "charges": [BASE | {"price": {"model": "flat", "amount": "62"}}]}, "ann"
        )
    )
    rig.do(rig.billing.subscribe("acme", Wanted(plan="gold", since="2026-11-11"), "ann"))
    lines = rig.document().lines
    assert [(line.exact, line.amount) for line in lines] == [("31/3", 10_330_000_000), ("124/3", 41_330_000_000)]


class Cut(MemoryLog):
    """A log whose appends are lost: before they happen, or after (`applied`)."""

    def __init__(self, at: int, *, applied: bool) -> None:
        super().__init__()
        self.appends, self.at, self.applied = 0, at, applied

    async def append(self, stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
        self.appends += 1
        if self.appends == self.at and not self.applied:
            raise LogUnavailable("cut off before")
        found = await super().append(stream, records, expect=expect)
        if self.appends == self.at:
            raise LogUnavailable("cut off after")
        return found


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("at", range(4, 9))
def test_cut_off_anywhere_and_done_again(at: int, applied: bool) -> None:
    rig = Rig(acme=3 * 10**8)
    rig.log = Cut(at, applied=applied)
    rig.again().subscribed()
    rig.usage.add("2026-11-05", 100)
    id = "acme:2026-11:1"

    def steps() -> None:
        held, _ = rig.do(rig.billing.review("acme", "2026-11", "ann"))
        rig.do(rig.billing.approve(id, held.sha256, "bob"))
        rig.do(rig.billing.finalize(id, "bob"))
        rig.do(rig.billing.credit("c1", id, {}, "outage", "ann"))

    for _ in range(2):
        try:
            steps()
        except LogUnavailable:
            rig.again()
    held = rig.accounts.find(id)
    assert held.final is not None and held.final.prepaid == 3 * 10**8 and len(held.notes) == 1
    assert rig.balances.left == {"acme": 0} and len(rig.balances.taken) == 1
    assert list(rig.accounts.invoices) == [id] and check_numbers(rig.accounts) == []
    assert check_invoice(held, rig.whole(held).lines) == []


def test_a_killed_finalizing_leaves_no_credit_behind() -> None:
    rig = Rig(acme=3 * 10**8).subscribed()
    rig.usage.add("2026-11-05", 100)
    held, _ = rig.do(rig.billing.review("acme", "2026-11", "ann"))
    rig.do(rig.billing.approve(held.header.id, held.sha256, "bob"))
    rig.do(rig.balances.burn("acme", held.header.total, f"invoice/{held.header.id}"))  # and then it was killed
    rig.again()
    rig.do(rig.billing.send_back(held.header.id, "no", "bob"))
    assert rig.balances.left == {"acme": 3 * 10**8}


def test_a_killed_void_gives_back_at_the_next_start() -> None:
    rig = Rig(acme=3 * 10**8).subscribed()
    rig.usage.add("2026-11-05", 100)
    held = rig.final()
    restore = rig.balances.restore
    rig.balances.restore = rig.balances.lost  # type: ignore[method-assign]  # killed after the record, before this
    with pytest.raises(LogUnavailable):
        rig.do(rig.billing.void(held.header.id, "wrong", "ann"))
    assert rig.balances.left == {"acme": 0}
    rig.balances.restore = restore  # type: ignore[method-assign]  # as above
    for _ in range(2):
        rig.do(rig.again().billing.settle())
    assert rig.balances.left == {"acme": 3 * 10**8}


class Forgetful(Billing):
    """Does not look whether the period has an invoice."""

    async def refresh(self) -> Accounts:
        accounts = await super().refresh()
        accounts.active = lambda tenant, period: None  # type: ignore[method-assign]  # the planted mistake
        return accounts


def test_a_period_billed_twice_is_caught() -> None:
    rig = Rig(billing=Forgetful).subscribed()
    rig.usage.add("2026-11-05", 100)
    rig.final()
    rig.final()
    [problem] = check_booked(rig.accounts)
    assert "more than one invoice" in problem


def test_two_at_once_get_different_numbers() -> None:
    rig = Rig().subscribed()
    rig.do(rig.billing.subscribe("beta", Wanted(plan="gold", since="2026-01-01", buyer=BUYER), "ann"))
    for tenant in ("acme", "beta"):
        held, _ = rig.do(rig.billing.review(tenant, "2026-11", "ann"))
        rig.do(rig.billing.approve(held.header.id, held.sha256, "bob"))
    other = Billing(rig.log, rig.clock, rig.usage, rig.balances)
    rig.do(other.refresh())
    one = rig.do(rig.billing.finalize("acme:2026-11:1", "ann")).final  # `other` has not seen it
    two = rig.do(other.finalize("beta:2026-11:1", "ann")).final
    assert one is not None and two is not None and (one.sequence, two.sequence) == (1, 2)


def test_numbers_begin_anew_with_the_year() -> None:
    rig = Rig().subscribed(since="2026-10-01")
    assert [rig.final(period).final.number for period in ("2026-10", "2026-11")] == [  # type: ignore[union-attr]  # final
        "INV-2026-000001", "INV-2026-000002",
    ]  # fmt: skip
    rig.at("2027-01-01")
    assert rig.final("2026-12").final.number == "INV-2027-000001"  # type: ignore[union-attr]  # final


def test_what_is_due_and_when_and_what_is_left_of_it() -> None:
    rig = Rig(acme=10**9).subscribed(BASE, due_days=14)
    held = rig.final()
    assert held.final is not None
    assert (held.final.due, held.due, held.left) == ("2026-12-17", "2026-12-17", 30 * 10**9)
    assert check_invoice(held, rig.whole(held).lines) == []
    rig.at("2027-01-02")
    second = rig.final("2026-12")
    rig.do(rig.billing.credit("c", second.header.id, {1: 10**10}, "r", "ann"))
    assert (second.left, second.due) == (21 * 10**9, "2027-01-16")
    voided = rig.do(rig.billing.void(held.header.id, "wrong", "ann"))
    assert voided.final is not None
    assert (voided.left, voided.due, voided.final.payable, voided.final.due) == (0, "", 30 * 10**9, "2026-12-17")
    draft, _ = rig.do(rig.billing.review("acme", "2026-11", "ann"))
    assert (draft.left, draft.due) == (None, "")
    paid = Rig(acme=10**12).subscribed(BASE, due_days=14).final()
    assert (paid.left, paid.due) == (0, "")  # from the prepaid balance: nothing is to be paid


def test_records_without_what_came_later_are_what_they_were() -> None:
    """No plan says windows, sources or terms of payment: no byte of them is on record, and no hash changes."""
    rig = Rig().subscribed(BASE, TOKENS)
    rig.usage.add("2026-11-05", 100)
    held = rig.final()
    records = b"".join(stored.record.payload for stored in rig.log._streams[STREAM])
    for name in ("sources", "windows", "due_days", "due"):
        assert f'"{name}":'.encode() not in records, name
    assert all(b'"meter":' not in msgspec.json.encode(line) for line in rig.whole(held).lines)
    head = msgspec.json.encode(held.header, order="sorted")
    assert sha256(head).hexdigest() == held.sha256 == msgspec.json.decode(head, type=Header).sha256()


def test_a_fold_of_the_log_is_the_same() -> None:
    rig = Rig().subscribed()
    rig.usage.add("2026-11-05", 100)
    rig.final()
    before = msgspec.json.encode([held.header for held in rig.accounts.invoices.values()])
    again = rig.again().accounts
    assert msgspec.json.encode([held.header for held in again.invoices.values()]) == before
    assert [held.sha256 for held in again.invoices.values()] == [
        held.header.sha256() for held in again.invoices.values()
    ]


def test_events_of_a_line_are_those_of_the_cut() -> None:
    rig = Rig().subscribed()
    rig.usage.add("2026-11-05", 100)
    rig.usage.add("2026-12-05", 100)
    held = rig.final()
    rig.usage.add("2026-11-06", 7)
    [line] = rig.whole(held).lines

    async def listed() -> list[Any]:
        return [item async for _, item in rig.billing.events(line, "acme")]

    found = rig.do(listed())
    assert [(item.id, item.at_ns) for item in found] == [("req_000001/1", ns("2026-11-05"))]
    assert line.evidence[0].count == 1


def test_days_of_a_zone() -> None:
    rig = Rig(now="2026-03-30T12:00:00").subscribed()
    wanted = Wanted(plan="gold", since="2026-03-01", zone="Europe/Berlin", every="day", buyer=BUYER)
    rig.do(rig.billing.subscribe("tag", wanted, "ann"))
    rig.usage.add("2026-03-28T23:30:00", 1, tenant="tag")
    rig.usage.add("2026-03-29T21:59:59", 2, tenant="tag")
    rig.usage.add("2026-03-29T22:00:00", 4, tenant="tag")
    assert rig.do(rig.billing.draft("tag", "2026-03-29")).lines[0].quantity == "3"
    assert rig.do(rig.billing.draft("tag")).header.period == "2026-03-30"


def test_an_approval_of_other_content_is_never_answered_as_done() -> None:
    rig = Rig().subscribed()
    held, _ = rig.do(rig.billing.review("acme", "2026-11", "ann"))
    rig.do(rig.billing.approve(held.header.id, held.sha256, "bob"))
    refused(rig, rig.billing.approve(held.header.id, "0" * 64, "bob"), "conflict", "not the hash")
    rig.do(rig.billing.finalize(held.header.id, "bob"))
    refused(rig, rig.billing.approve(held.header.id, "0" * 64, "bob"), "conflict", "not the hash")


def test_what_is_taken_back_has_a_reason() -> None:
    rig = Rig().subscribed(BASE)
    held, _ = rig.do(rig.billing.review("acme", "2026-11", "ann"))
    refused(rig, rig.billing.send_back(held.header.id, "", "bob"), "invalid_request", "reason")
    rig.do(rig.billing.approve(held.header.id, held.sha256, "bob"))
    rig.do(rig.billing.finalize(held.header.id, "bob"))
    refused(rig, rig.billing.credit("c", held.header.id, {}, "", "bob"), "invalid_request", "reason")
    refused(rig, rig.billing.void(held.header.id, "", "bob"), "invalid_request", "reason")
    assert rig.accounts.find(held.header.id).state == "final" and not rig.accounts.notes
