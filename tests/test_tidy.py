"""Every habit in tidy.py holds in the repository, and each one's check finds a violation planted for it."""

from pathlib import Path

import pytest
from tests import tidy

from interlock.errors import CODES

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("check", tidy.CHECKS, ids=lambda check: check.__name__)
def test_the_repository_keeps(check: tidy.Check) -> None:
    found = check(ROOT)
    assert not found, f"{check.__doc__}\n" + "\n".join(found)


def at(*halves: str) -> str:
    """A forbidden word, put together so that this file does not hold it."""
    return "".join(halves)


ADR = "".join(f"## {section}\n\nText.\n\n" for section in tidy.ADR_SECTIONS)
ROWS = "\n".join(tidy.error_row(code) for code in CODES)
LONG = "def f() -> None:\n" + "    pass\n" * 70

PLANTED = [
    (tidy.module_length, "src/interlock/a.py", "x = 1\n" * 401, "x = 1\n" * 400),
    (tidy.function_length, "bench/a.py", LONG, LONG.replace("    pass\n", "", 1)),
    (tidy.docstrings, "tests/test_a.py", "x = 1\n", '"""What."""\nx = 1\ndef f() -> None: ...\n'),
    (tidy.docstrings, "src/interlock/a.py", '"""W."""\nclass A: ...\n', '"""W."""\nclass _A: ...\n'),
    (tidy.docstrings, "src/interlock/a.py", '"""W."""\nasync def f(): ...\n', '"""W."""\nasync def f():\n    "D."\n'),
    (tidy.silencers, "src/interlock/a.py", "import a  # noqa: F401\n", "import a  # noqa: F401 - for its names\n"),
    (tidy.silencers, "src/interlock/a.py", "import a  # noqa\n", "A = '# noqa'\n"),
    (tidy.silencers, "src/interlock/a.py", "import a  # noqa because\n", ""),
    (tidy.silencers, "tests/a.py", "a()  # type: ignore[arg-type]\n", "a()  # type: ignore[arg-type]  # on purpose\n"),
    (tidy.silencers, "tests/a.py", "a()  # type: ignore  # why\n", ""),
    (tidy.silencers, "src/interlock/a.py", "a()  # pragma: no cover\n", "a()  # pragma: no cover - only on Windows\n"),
    (tidy.forbidden_words, "docs/a.md", at("from py", "pi.org\n"), "from the package index\n"),
    (tidy.forbidden_words, "Makefile", at("pip --index", "-url x\n"), "pip -c constraints.txt\n"),
    (tidy.forbidden_words, ".ci/run", at("cd /wor", "k/main\n"), at("cd src/wor", "k/main\n")),
    (tidy.forbidden_words, "docs/a.md", at("see /ro", "ot/.config\n"), "see /rooted, ~/.config\n"),
    (tidy.forbidden_words, "src/interlock/a.py", at("# TO", "DO: all\n"), "# to do it all\n"),
    (tidy.sleeps, "tests/a.py", "import time\ntime.sleep(1)\n", "import asyncio\nasyncio.sleep(0)\n"),
    (tidy.sleeps, "tests/a.py", "from time import sleep\n", "from time import monotonic\n"),
    (tidy.skips, "tests/a.py", "@pytest.mark.skip\ndef f(): ...\n", "@pytest.mark.skip(reason='r')\ndef f(): ...\n"),
    (tidy.skips, "tests/a.py", "pytest.skip()\n", "pytest.skip('no KVM here')\n"),
    (tidy.errors_documented, "docs/errors.md", ROWS.split("\n", 1)[1], ROWS),
    (tidy.errors_documented, "docs/errors.md", f"{ROWS}\n| `gone` | 400 | Was. |", ROWS),
    (tidy.decisions_numbered, "docs/adr/0002-a.md", ADR.replace("## Guard", "Guard"), ADR),
    (tidy.decisions_numbered, "docs/adr/2-a.md", ADR, ""),
    (tidy.file_size, "docs/a.png", "x" * ((1 << 20) + 1), "x" * (1 << 20)),
    (tidy.tests_mirror, "tests/log/test_gone.py", "", ""),
    (tidy.licensed, "LICENSE", "Apache License", (ROOT / "LICENSE").read_text()),
    (tidy.versions_pinned, "constraints.txt", "a>=1\n", "a==1\n"),
]  # fmt: skip


def plant(root: Path, path: str, text: str) -> Path:
    """One file in an otherwise empty repository."""
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return root


@pytest.mark.parametrize(("check", "path", "bad", "good"), PLANTED)
def test_a_planted_violation_is_found(check: tidy.Check, path: str, bad: str, good: str, tmp_path: Path) -> None:
    assert len(check(plant(tmp_path, path, bad))) == 1
    if good:
        assert check(plant(tmp_path, path, good)) == []


def test_every_check_has_a_planted_violation() -> None:
    assert {check for check, *_ in PLANTED} == set(tidy.CHECKS)


def test_one_number_for_two_decisions_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "docs/adr/0001-a.md", ADR)
    assert tidy.decisions_numbered(tmp_path) == []
    assert tidy.decisions_numbered(plant(tmp_path, "docs/adr/0001-b.md", ADR)) == [
        "0001-b.md: number 0001 is 0001-a.md"
    ]


def test_a_test_finds_its_room(tmp_path: Path) -> None:
    plant(tmp_path, "src/interlock/log/journal.py", "")
    plant(tmp_path, "tests/log/test_full_disk.py", "")
    assert tidy.tests_mirror(plant(tmp_path, "tests/test_log.py", "")) == []
    assert len(tidy.tests_mirror(plant(tmp_path, "tests/test_journal.py", ""))) == 1


def test_what_tools_make_is_not_read(tmp_path: Path) -> None:
    for directory in (".venv", "bench/.peers", "src/__pycache__", "bench/results"):
        plant(tmp_path, f"{directory}/a.md", at("FIX", "ME"))
    assert tidy.forbidden_words(tmp_path) == []
