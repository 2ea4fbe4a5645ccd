"""One real control process for the tests of a module; a fresh one where a test changes the configuration."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.server import until

from interlock.testing.control_process import ControlProcess

TOML = """
default_tier = "small"

[deployments.tiny]
provider = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "tiny-1"
family = "tiny"
formats = ["chat"]
price = { input = "1", output = "2" }

[tiers]
small = ["tiny"]

[boundaries.eu]
geographies = ["eu"]
"""


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlProcess]:
    root = tmp_path_factory.mktemp("control")
    config = root / "interlock.toml"
    config.write_text(TOML)
    process = ControlProcess(root / "data", config).start()
    until(lambda: process.ask("GET", "/v1/status").json()["events_ready"], "events are taken")
    yield process
    assert process.stop() == 0, process.stderr
    assert process.stderr == ""


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[ControlProcess]:
    config = tmp_path / "interlock.toml"
    config.write_text(TOML)
    process = ControlProcess(tmp_path / "data", config).start()
    yield process
    process.stop()
