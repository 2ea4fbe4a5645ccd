"""Attempts to leave a sandbox: none succeeds under bubblewrap or gVisor, and most of them do as a plain process.

The plain process shows that an attempt and its detection work; what would harm the machine is not run there. It is run
as root with root's workspace: the strongest agent there could be. docs/escapes.md holds the table.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.hands.attempts import Attempt, escapes
from tests.runtime.hands.attempts_files import FILES
from tests.runtime.hands.attempts_kernel import AMOUNTS, EGRESS, KERNEL, NETWORK, PROCESSES
from tests.runtime.hands.world import World

from interlock.clock import SystemClock
from interlock.runtime.hands import Hands
from interlock.runtime.hands.bubblewrap import Bubblewrap
from interlock.runtime.hands.egress import Egress
from interlock.runtime.hands.gvisor import Gvisor
from interlock.runtime.hands.process import Process
from interlock.testing.loops import run_on

ATTEMPTS: tuple[Attempt, ...] = (*FILES, *PROCESSES, *NETWORK, *EGRESS, *KERNEL, *AMOUNTS)
PROVEN_MIN = 55
"""How many attempts have to succeed as a plain process."""
PAGE = Path(__file__).parents[3] / "docs/escapes.md"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that others may enter."""
    made = Path(tempfile.mkdtemp(prefix="interlock-escapes-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module", params=["bubblewrap", "gvisor"])
def contained(request: pytest.FixtureRequest, place: Path) -> Iterator[tuple[Hands, World]]:
    """An adapter, and what is around it."""
    assert os.geteuid() == 0, "as root each workspace has a user of its own: these tests need it"
    world = World(place / request.param, own_users=None)
    kind = Bubblewrap if request.param == "bubblewrap" else Gvisor
    egress = Egress(world.data / "egress")
    hands: Hands = kind(world.workspaces, SystemClock(), egress=egress)
    assert run_on("uvloop", hands.missing) == []
    yield hands, world
    world.close()


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_nothing_leaves(contained: tuple[Hands, World], attempt: Attempt) -> None:
    hands, world = contained

    assert run_on("uvloop", lambda: escapes(attempt, hands, world)) == ""


def test_as_a_plain_process_most_do(place: Path) -> None:
    world = World(place / "process", own_users=False)
    hands: Hands = Process(world.workspaces, SystemClock())
    got = dict[str, str]()

    async def main() -> None:
        for attempt in ATTEMPTS:
            if not attempt.unsafe:
                got[attempt.name] = await escapes(attempt, hands, world)

    try:
        run_on("uvloop", main)
    finally:
        world.close()
    print("\n".join(f"{name:36} {found}" for name, found in got.items()))
    unproven = [name for name, found in got.items() if not found]
    assert len(got) - len(unproven) >= PROVEN_MIN, f"not shown to be able to fail: {unproven}"


def test_names_are_used_once_and_stand_in_the_table() -> None:
    names = [attempt.name for attempt in ATTEMPTS]
    assert len(set(names)) == len(names) >= 45
    page = PAGE.read_text()
    assert [name for name in names if f"| {name} |" not in page] == []
