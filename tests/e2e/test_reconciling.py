"""A real server, calls through it, one lost with its worker; then the provider's report of them, booked."""

import asyncio
from pathlib import Path

from tests.e2e.billed import PER_MTOK, TRUE, calls, figures, report
from tests.e2e.configs import Journals, scripted
from tests.e2e.server import Server, running
from tests.e2e.upstream import upstream


def test_a_lost_call_is_given_its_figures_and_the_books_say_what_the_bill_says(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config) as server:
            asyncio.run(calls(server, provider))
            journals = Journals(server.places.journal)
            lost = next(o.request_id for o in journals.opened.values() if o.session == "held-1")
            files = [str(path) for path in report(tmp_path, journals)]
            command = ("reconcile", "--provider", "openai", "--of", "scripted", *files)

            found = server.cli(*command)
            assert found.returncode == 3, found.stderr
            assert "lost" in found.stdout
            assert "--apply would book 1 call with true figures" in found.stdout
            offline = server.cli(*command, "--data", str(server.places.root), env={"INTERLOCK_URL": ""})
            assert (offline.returncode, offline.stdout) == (3, found.stdout)

            booked = server.cli(*command, "--apply")
            assert booked.returncode == 0, booked.stderr + booked.stdout
            again = server.cli(*command, "--apply")
            assert again.returncode == 0
            assert "booked: 0 calls with true figures ($0.00), 0 entries" in again.stdout

            told = server.cli("explain", lost).stdout
            assert "figures  billed" in told
            assert "adjustments" in told
            _check_usage(server, journals)
            checked = server.cli("rebuild", "--check", "--data", str(server.places.root))
            assert checked.returncode == 0, checked.stdout + checked.stderr


def _check_usage(server: Server, journals: Journals) -> None:
    """`usage` says what the bill says."""
    every = [TRUE if s.outcome == "lost" else figures(s) for found in journals.settled.values() for s in found]
    billed = sum(PER_MTOK[kind] * count for usage in every for kind, count in usage.items()) / 1_000_000
    [row] = server.json("usage")["rows"]
    assert int(row["amount_nanousd"]) == billed * 10**9
    assert (row["attempts"], row["lost"], row["estimated"]) == (5, 1, 0)
    assert row["output"] == sum(usage["output"] for usage in every)
