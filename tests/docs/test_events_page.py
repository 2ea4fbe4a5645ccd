"""The sessions in docs/events.md and docs/meters.md, typed as they stand against a real server on other ports."""

import os
import re
import sys
from pathlib import Path

import pytest
from tests.docs.session import Terminal, same_shape, steps
from tests.e2e.configs import scripted
from tests.e2e.server import Server, until
from tests.e2e.upstream import upstream

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "outbox.py"
PAGES = {"events.md": 12, "meters.md": 6}
"""And how many commands there are."""
_JSON_NUMBER = re.compile(r'(?<="seq":)\d+|(?<=record )\d+')


@pytest.mark.parametrize("page", PAGES)
def test_the_session(tmp_path: Path, page: str) -> None:
    with upstream(tmp_path / "upstream") as provider:
        server = Server(tmp_path / "data", config=scripted(tmp_path / "interlock.toml", provider.port)).start()
        kept = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
        where = {"INTERLOCK_URL": f"http://127.0.0.1:{server.control_port}", "INTERLOCK_KEY": server.admin}
        where["INTERLOCK_EVENTS_URL"] = f"http://127.0.0.1:{server.api_port}"
        terminal = Terminal(tmp_path, kept | where)
        try:
            until(lambda: server.control("/v1/status")["events_ready"], "events are taken")
            typed = steps((ROOT / "docs" / page).read_text())
            assert len(typed) == PAGES[page]
            export = f"export INTERLOCK_EVENTS_URL=http://127.0.0.1:{server.api_port} INTERLOCK_EVENTS_KEY=$METER_KEY"
            for step in typed:
                printed, status = terminal.type(step.command.replace(":8081/", f":{server.api_port}/"))
                assert status == int(step.shown[-1:] != [] and "[period_closed]" in step.shown[-1]), printed
                shown, found = ([_JSON_NUMBER.sub("N", line) for line in lines] for lines in (step.shown, printed))
                assert same_shape(shown, found), (step.command, printed)
            if page != "events.md":
                return
            assert terminal.type(export) == ([], 0)
            for _ in range(2):  # the second time they are duplicates
                assert terminal.type(f"python {EXAMPLE}") == (["all answered"], 0)
        finally:
            terminal.close()
            server.kill()


def test_the_example_is_the_one_shown() -> None:
    shown = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "events.md").read_text(), re.MULTILINE | re.DOTALL)
    assert shown and all(block in EXAMPLE.read_text() for block in shown)
