"""[anomalies]: what is said becomes settings, and every mistake is named."""

from pathlib import Path

import pytest

from interlock.config import parse
from interlock.errors import ConfigError
from interlock.ledger import Watching

HEAD = 'default_tier = "t"\ntiers.t = ["m"]\n[deployments.m]\nprovider = "openai"\n'


def read(text: str) -> Watching:
    return parse(HEAD + text, file="f", folder=Path("/nowhere"), env={}).config.anomalies


def test_nothing_said_is_the_default() -> None:
    assert read("") == read("[anomalies]\n") == Watching()


def test_all_of_it() -> None:
    said = 'enabled = false\nfactor = 5\npeers = 3\nfloor_usd = "0.000000001"\nwindow_hours = 168\n'
    assert read("[anomalies]\n" + said) == Watching(enabled=False, factor=5, peers=3, floor_nanousd=1, window_hours=168)
    assert read('[anomalies]\nfloor_usd = "0"\n').floor_nanousd == 0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("factor = 1", "from 2 to 1000"),
        ("factor = 2.5", "from 2 to 1000"),
        ("peers = 2", "from 3 to 10000"),
        ("window_hours = 169", "from 1 to 168"),
        ('floor_usd = "-1"', 'dollars, e.g. "1.00"'),
        ('floor_usd = "1e999999999"', 'dollars, e.g. "1.00"'),
        ("floor_usd = nan", 'dollars, e.g. "1.00"'),
        ('floor_usd = "0.0000000001"', 'dollars, e.g. "1.00"'),
        ('enabled = "yes"', "true or false"),
        ("floor = 1", "unknown key"),
    ],
)
def test_a_mistake_is_named(line: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read("[anomalies]\n" + line)
    [problem] = caught.value.problems
    assert why in problem and problem.startswith(f"f:6: anomalies.{line.partition(' ')[0]}")
