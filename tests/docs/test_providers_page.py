"""docs/providers.md: every piece of configuration there is a whole file that is accepted, and every cloud has one."""

import re
from pathlib import Path

import pytest

from interlock.config import parse
from interlock.config.clouds import CLOUDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/providers.md").read_text()
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r'provider = "(\w+)"', block)[0])
def test_an_example_is_accepted(block: str) -> None:
    env = dict.fromkeys(re.findall(r'env = "(\w+)"', block), "secret")
    loaded = parse(block, file="interlock.toml", folder=ROOT, env=env)
    assert [warning for warning in loaded.warnings if "price" not in warning] == []


def test_every_cloud_has_an_example() -> None:
    assert {name for block in BLOCKS for name in re.findall(r'provider = "(\w+)"', block)} == set(CLOUDS)


def test_every_cloud_is_said_to_be_tested_on_recorded_shapes_only() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", PAGE, re.MULTILINE))
    assert {name for name, tested in rows.items() if tested == "**recorded shapes only**"} == set(CLOUDS)
