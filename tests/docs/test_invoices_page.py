"""The session in docs/invoices.md, typed as it stands, on a control process that holds a month of calls."""

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.docs.session import Terminal, same_shape, steps
from tests.e2e.traffic import CONFIG, Attempt, record

from interlock.datadir import DataDir
from interlock.ids import new_id
from interlock.testing.control_process import ControlProcess

PAGE = (Path(__file__).parents[2] / "docs" / "invoices.md").read_text()
REFUSED = "interlock invoices void"
_HASH = re.compile(r"\b[0-9a-f]{64}\b")


def calls() -> list[Attempt]:
    """Five of the strong model and four of the small one, in October."""
    made = []
    for n in range(9):
        at_ns = int(datetime(2026, 10, 5 + n, 9, 30, tzinfo=UTC).timestamp()) * 10**9
        strong = n < 5
        usage = {"input": 1_000_000, "output": 250_000} if strong else {"input": 2_000_000, "output": 100_000}
        made.append(
            Attempt(
                id=new_id("req", at_ns), at_ns=at_ns, tenant="acme", team="core", principal="ada", session=f"s-{n}",
                task="CORE-4", mode="plan" if strong else "edit", deployment="strong" if strong else "small",
                usage=usage, outcome="completed", source="reported", true=usage,
            )
        )  # fmt: skip
    return made


def test_the_session(tmp_path: Path) -> None:
    (tmp_path / "interlock.toml").write_text(CONFIG)
    [plan] = re.findall(r"^`gold\.toml`:\n\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "gold.toml").write_text(plan)
    control = ControlProcess(tmp_path / "data", tmp_path / "interlock.toml").start()
    policy = control.ask("GET", "/v1/config").json()["version"]
    assert control.stop() == 0
    record(DataDir(tmp_path / "data").journal, policy, calls())
    control = ControlProcess(tmp_path / "data", tmp_path / "interlock.toml").start()
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    env |= {"INTERLOCK_URL": control.url, "INTERLOCK_KEY": control.admin}
    env |= {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    terminal = Terminal(tmp_path, env)
    digest = ""
    try:
        typed = steps(PAGE)
        assert len(typed) == 15
        for step in typed:
            printed, status = terminal.type(_HASH.sub(digest, step.command))
            assert status == step.command.startswith(REFUSED), printed
            assert same_shape(step.shown, printed), (step.command, printed)
            figures = [line for line in step.shown if re.search(r"\d\.\d\d", line) and not _HASH.search(line)]
            assert [line for line in figures if line not in printed] == [], "figures of money stay as they are"
            digest = next(iter(_HASH.findall("\n".join(printed))), digest)
        for name in ("invoice.html", "credit-note.html"):
            assert (tmp_path / name).read_text().startswith("<!doctype html>")
    finally:
        terminal.close()
        assert control.stop() == 0
