"""The shared page: what one process writes another finds, and what is torn is not believed."""

import multiprocessing
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from interlock.gateway import conversations as module
from interlock.gateway.affinity import Held
from interlock.gateway.conversations import ROWS, WAYS, Conversations, conversation_key

HELD = Held("d0", "f", 1, 2, 3, 1_800_000_000)


def page(path: Path | None = None) -> Conversations:
    made = Conversations(path)
    made.know(["d0", "d1", "f"])
    return made


@given(st.builds(Held, st.sampled_from(["d0", "d1", ""]), st.just("f"), *[st.integers(0, 2**32 - 1)] * 4))
def test_as_it_was_kept(held: Held) -> None:
    made, key = page(), conversation_key("t", "s", "o")
    assert made.find(key) is None
    made.keep(key, held)
    assert made.find(key) == held
    made.keep(key, HELD)
    assert made.find(key) == HELD


def test_no_tenant_s_is_another_s() -> None:
    keys = [conversation_key(*parts) for parts in (("a", "b", "c"), ("a", "bc", ""), ("ab", "", "c"), ("a", "", "bc"))]
    assert len(set(keys)) == 4


def test_figures_past_the_slot_are_clamped() -> None:
    made, key = page(), conversation_key("t", "s", "o")
    made.keep(key, Held("d0", "f", 1 << 40, 1 << 40, 1 << 40, 1))
    assert made.find(key) == Held("d0", "f", 2**32 - 1, 2**32 - 1, 2**32 - 1, 1)


def test_names_that_the_policy_has_not() -> None:
    made, key = page(), conversation_key("t", "s", "o")
    made.keep(key, Held("gone", "lost", 1, 2, 3, 4))
    assert made.find(key) == Held("", "", 1, 2, 3, 4)


def test_a_torn_slot_is_none() -> None:
    made, key = page(), conversation_key("t", "s", "o")
    made.keep(key, HELD)
    at = made._page.find(key)
    for offset in range(16, module._SUMMED + 4):
        made._page[at + offset] ^= 1
        assert made.find(key) is None
        made._page[at + offset] ^= 1
    assert made.find(key) == HELD


def test_a_full_row_loses_who_was_quiet_longest() -> None:
    made = page()
    keys = [(7).to_bytes(4, "little") + n.to_bytes(12, "little") for n in range(1, WAYS + 2)]
    for n, key in enumerate(keys):
        made.keep(key, Held("d0", "f", n, 0, 0, 100 - n if n < WAYS else 200))
    found = [made.find(key) is not None for key in keys]
    assert found == [True] * (WAYS - 1) + [False, True]


def test_the_size_is_fixed(tmp_path: Path) -> None:
    path = tmp_path / "conversations"
    made = page(path)
    for n in range(20_000):
        made.keep(conversation_key("t", str(n), ""), HELD)
    assert path.stat().st_size == ROWS * WAYS * 64


def _write(path: Path, first: int) -> None:
    made = page(path)
    for n in range(first, first + 300):
        made.keep(conversation_key("t", str(n), ""), Held("d1", "f", n, n, n, 1_800_000_000))


def test_another_process_finds_it_and_a_restart_too(tmp_path: Path) -> None:
    path = tmp_path / "conversations"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(path, first)) for first in (0, 300)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    made = page(path)
    for n in range(600):
        assert made.find(conversation_key("t", str(n), "")) == Held("d1", "f", n, n, n, 1_800_000_000)


def test_a_file_that_cannot_be_had_is_memory(tmp_path: Path) -> None:
    made = page(tmp_path / "not there" / "conversations")
    made.keep(conversation_key("t", "s", "o"), HELD)
    assert made.find(conversation_key("t", "s", "o")) == HELD


def test_all_of_its_space_is_taken_at_once(tmp_path: Path) -> None:
    """A sparse file would kill whoever writes to it when the disk is full."""
    path = tmp_path / "conversations"
    page(path)
    assert path.stat().st_blocks * 512 >= ROWS * WAYS * 64
