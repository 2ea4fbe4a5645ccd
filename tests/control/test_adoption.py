"""Configurations over the life of a control process: adopted, refused, watched, reloaded."""

import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from interlock.log.sqlite import SqliteLog
from interlock.testing.control_process import ControlProcess

BAD = 'default_tier = "nowhere"\ncolour = 1\n'


def until(condition: Callable[[], bool], tries: int = 400) -> None:
    """Ask until it is so, each time a round trip to the process."""
    for _ in range(tries):
        if condition():
            return
    raise AssertionError("it did not come to be")


def policies(process: ControlProcess) -> int:
    with closing(SqliteLog(process.data_dir / "log.sqlite")) as log:
        return len(log.read_after("config", 0))


def text(process: ControlProcess) -> str:
    assert process.config is not None
    return process.config.read_text()


def put(process: ControlProcess, content: str) -> None:
    assert process.config is not None
    fresh = process.config.with_suffix(".new")
    fresh.write_text(content)
    fresh.replace(process.config)


def test_the_same_policy_is_recorded_once(configured: ControlProcess) -> None:
    before = configured.ask("GET", "/v1/config").json()
    assert configured.ask("POST", "/v1/config/reload").json() == before
    put(configured, "# a remark\n" + text(configured))
    assert configured.ask("POST", "/v1/config/reload").json()["version"] == before["version"]
    configured.stop()
    configured.start()
    assert policies(configured) == 1


def test_a_bad_file_never_replaces_the_good_one(configured: ControlProcess) -> None:
    before = configured.ask("GET", "/v1/config").json()
    put(configured, BAD)
    answer = configured.ask("POST", "/v1/config/reload")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "config_invalid")
    assert "colour" in answer.json()["error"]["message"]
    after = configured.ask("GET", "/v1/config").json()
    assert after["policy"] == before["policy"]
    assert any("colour" in problem for problem in after["rejected"]["problems"])
    configured.stop(signal.SIGKILL)
    configured.start()
    assert configured.ask("GET", "/v1/config").json()["policy"] == before["policy"]
    assert policies(configured) == 1


def test_a_good_file_is_adopted_without_being_asked_for(configured: ControlProcess) -> None:
    before = configured.ask("GET", "/v1/config").json()
    put(configured, BAD)
    until(lambda: configured.ask("GET", "/v1/config").json()["rejected"] is not None, 4000)
    put(configured, GOOD_AGAIN)
    until(lambda: configured.ask("GET", "/v1/config").json()["version"] != before["version"], 4000)
    found = configured.ask("GET", "/v1/config").json()
    assert (found["rejected"], found["seq"]) == (None, 2)


GOOD_AGAIN = """
default_tier = "large"
[deployments.tiny]
provider = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "tiny-2"
family = "tiny"
formats = ["chat"]
price = "free"
[tiers]
large = ["tiny"]
"""


def test_sighup_reloads(configured: ControlProcess) -> None:
    put(configured, GOOD_AGAIN)
    configured.process.send_signal(signal.SIGHUP)
    until(lambda: configured.ask("GET", "/v1/config").json()["seq"] == 2, 4000)


def test_a_first_start_with_a_bad_file_says_every_mistake(tmp_path: Path) -> None:
    config = tmp_path / "interlock.toml"
    config.write_text(BAD)
    process = ControlProcess(tmp_path / "data", config)
    with pytest.raises(RuntimeError, match=r"colour[\s\S]*") as caught:
        process.start()
    assert "Traceback" not in str(caught.value)
    assert process.process.returncode == 1


def test_check_adopts_nothing(configured: ControlProcess) -> None:
    answer = configured.ask("POST", "/v1/config/check", GOOD_AGAIN.encode())
    assert answer.status == 200 and answer.json()["version"].startswith("sha256:")
    assert configured.ask("POST", "/v1/config/check", BAD.encode()).json()["error"]["code"] == "config_invalid"
    assert configured.ask("POST", "/v1/config/check", b"\xff").json()["error"]["field"] == "body"
    assert policies(configured) == 1
