"""The session in docs/costs.md, typed as it stands, on a control process that holds what the page describes."""

import os
import sys
from pathlib import Path
from typing import Any

from tests.docs.session import Terminal, same_shape, steps
from tests.e2e.server import until

from interlock.clock import SystemClock
from interlock.datadir import DataDir
from interlock.ledger import Opened, Settled
from interlock.limits import Actual, Claim, Held, Limit, Limiter, Page
from interlock.testing.control_process import ControlProcess, UsageWriter

PAGE = (Path(__file__).parents[2] / "docs" / "costs.md").read_text()
TOML = """
default_tier = "main"
quotas = [{ name = "monthly", measure = "usd", amount = "500.00", window = "month", per = ["tenant"] }]
[deployments.opus]
provider = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "opus"
price = { input = "5", output = "25" }
[tiers]
main = ["opus"]
"""
MONTHLY = Limit(name="monthly", measure="nanousd", amount=500_000_000_000, window="month", per=("tenant",))


def used(control: ControlProcess) -> None:
    """Twelve sessions of the team core, one of which went astray, and a call for which nobody is named."""
    policy = control.ask("GET", "/v1/config").json()["version"]
    Page.create(DataDir(control.data_dir).limits, slots=1)
    limiter = Limiter(Page(DataDir(control.data_dir).limits), 0, SystemClock(), [MONTHLY])
    writer = UsageWriter(control.data_dir)
    for n in range(13):
        names: dict[str, Any] = {"session": f"s-{n}", "team": "core", "mode": "code", "tool": "read_file,shell"}
        names |= {"task": "CORE-7" if n == 11 else "CORE-4"} if n < 12 else {"session": "", "team": "", "tool": ""}
        held = limiter.reserve(Claim(id=f"req_{n}/1", tenant="acme", nanousd=0))
        assert isinstance(held, Held)
        writer.write(
            Opened(
                request_id=f"req_{n}", attempt=1, tenant="acme", principal="ada", key_id="key_1", format="chat",
                stream=False, model_requested="auto", tier="main", deployment="opus", provider="openai", model="opus",
                policy=policy, input_estimate=10, estimate_rule="bytes/4", **names,
            )
        )  # fmt: skip
        usage = {"input": 4_000_000 if n == 11 else 200_000, "output": 20_000}
        writer.write(Settled(request_id=f"req_{n}", attempt=1, outcome="completed", usage=usage, source="reported"))
        limiter.settle(held, Actual(nanousd=(usage["input"] * 5 + usage["output"] * 25) * 1_000))
    writer.close()


def test_the_session(tmp_path: Path) -> None:
    (tmp_path / "interlock.toml").write_text(TOML)
    control = ControlProcess(tmp_path / "data", tmp_path / "interlock.toml").start()
    used(control)
    until(lambda: control.ask("GET", "/v1/anomalies").json()["anomalies"], "the astray session is found", 30)
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    env |= {"INTERLOCK_URL": control.url, "INTERLOCK_KEY": control.admin}
    env |= {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    terminal = Terminal(tmp_path, env)
    try:
        typed = steps(PAGE)
        assert len(typed) == 4
        for step in typed:
            printed, status = terminal.type(step.command)
            assert status == 0, printed
            assert same_shape(step.shown, printed), (step.command, printed)
            shown = [line for line in step.shown if "$" in line and "d " not in line]
            assert [line for line in shown if line not in printed] == [], "figures of money stay as they are"
    finally:
        terminal.close()
        assert control.stop() == 0
