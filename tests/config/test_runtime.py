"""[runtime]: defaults, every key, and mistakes that are named."""

from pathlib import Path

import pytest

from interlock.config import parse
from interlock.errors import ConfigError
from interlock.runtime.settings import RuntimeSettings

HEAD = 'default_tier = "t"\ntiers.t = ["m"]\n[deployments.m]\nprovider = "openai"\n[runtime]\n'
REFERENCE = (Path(__file__).parents[2] / "docs/configuration.md").read_text()


def read(text: str) -> RuntimeSettings:
    return parse(HEAD + text, file="f", folder=Path("/nowhere"), env={}).config.runtime


def test_nothing_said_is_the_documented_default() -> None:
    assert read("") == RuntimeSettings()
    page = REFERENCE.partition("## `[runtime]`")[2].partition("\n## ")[0]
    for row in (
        "| `enabled` | `true` |",
        '| `hands` | `["bubblewrap", "gvisor"]` |',
        "| `read` | `[]` |",
        '| `sync` | `"process"` |',
        "| `brains` | `64` |",
        "| `idle_days` | `14` |",
    ):
        assert row in page
    assert RuntimeSettings().enabled and RuntimeSettings().hands == ("bubblewrap", "gvisor")
    assert (RuntimeSettings().sync, RuntimeSettings().brains, RuntimeSettings().idle_days) == ("process", 64, 14)


def test_every_key() -> None:
    text = 'enabled = false\nhands = "process"\nread = ["/usr/share"]\nsync = "power"\nbrains = 1\nidle_days = 3650'
    expected = RuntimeSettings(
        enabled=False, hands=("process",), read=("/usr/share",), sync="power", brains=1, idle_days=3650
    )
    assert read(text) == expected


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('hands = ["docker"]', 'found "docker"; expected bubblewrap, gvisor or process'),
        ("hands = []", "an array of 1 to 3 strings"),
        ('read = "share"', 'found "share"; expected the absolute path of a directory'),
        ('read = "/"', "not / itself"),
        ('read = "/nowhere/at/all"', "that is there"),
        ('read = "/proc/self"', "nor below /dev, /proc"),
        ('sync = "disk"', 'expected one of "process", "power"'),
        ("brains = 0", "an integer from 1 to 1024"),
        ("idle_days = 0", "an integer from 1 to 3650"),
        ("brain = 3", 'did you mean "brains"?'),
    ],
)
def test_a_mistake_is_named(line: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(line)
    assert told in raised.value.problems[0]


def test_what_would_show_the_data_directory_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/usr/share")
    for data in (Path("/usr/share/interlock"), Path("/usr/share"), Path("/usr"), link / "interlock", link):
        with pytest.raises(ConfigError) as raised:
            parse(f'{HEAD}read = ["/etc", "/usr/share"]', file="f", folder=tmp_path, env={}, data=data)
        wrong = f"f:6: runtime.read[1]: would show the data directory {data}, with its keys, to sandboxes"
        assert raised.value.problems == [wrong]
    parse(f'{HEAD}read = ["/etc", "/usr/share"]', file="f", folder=tmp_path, env={}, data=tmp_path)
