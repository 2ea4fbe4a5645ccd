"""The index against a dict: over restarts, merges and everything in between."""

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least

from interlock.errors import TransientError
from interlock.intake import runs
from interlock.intake.decide import Known
from interlock.intake.index import Index
from interlock.intake.runs import Run, columns_of, merged, ordered, write_run

CHAIN = b"\x07" * 32


def keys(chance: random.Random, count: int, *, crowded: bool = False) -> list[bytes]:
    """`crowded`: many with one high half, which a hash gives once in a lifetime."""
    high = [chance.randbytes(8) for _ in range(3 if crowded else count)]
    return list({chance.choice(high) + chance.randbytes(8) for _ in range(count)})


def fill(index: Index, model: dict[bytes, Known], new: list[bytes], seq: int, chance: random.Random) -> None:
    known = {key: Known(chance.randbytes(16), seq) for key in new if key not in model}
    model.update(known)
    index.add(known, seq, CHAIN)


@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_as_a_dict(tmp_path: Path, seed: int, crowded: bool) -> None:
    chance = random.Random(seed)
    model: dict[bytes, Known] = {}
    through: dict[bytes, Known] = {}
    index = Index(tmp_path, held_max=50)
    for seq in range(1, 60):
        before = index.through[0]
        fill(index, model, keys(chance, chance.randrange(1, 40), crowded=crowded), seq, chance)
        if index.through[0] != before:
            through = dict(model)
        asked = [*chance.sample(list(model), min(len(model), 20)), *keys(chance, 20, crowded=crowded)]
        assert index.find(asked) == {key: model[key] for key in asked if key in model}
        assert index.count == len(model)
        if chance.random() < 0.1:  # killed: what was held is gone, what the runs hold is said
            index.close()
            index = Index(tmp_path, held_max=50)
            assert index.through == ((max(k.seq for k in through.values()), CHAIN.hex()) if through else (0, ""))
            model = dict(through)
    index.close()
    assert 0 < len(list(tmp_path.glob("*.run"))) < 16
    assert Index(tmp_path).find(list(through)) == through


def test_merging_leaves_few_runs_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "CHUNK", 100)
    chance, model = random.Random(1), dict[bytes, Known]()
    index = Index(tmp_path, held_max=64)
    for seq in range(1, 257):
        fill(index, model, keys(chance, 64), seq, chance)
        while index._merging and index._merging.is_alive():
            index._merging.join()
    assert len(index._runs) <= 12
    assert index.find(list(model)) == model
    index.close()


@settings(max_examples=at_least(30))
@given(
    st.integers(0, 1 << 30), st.lists(st.integers(1, 300), min_size=1, max_size=5), st.sampled_from([7, 50, 1 << 20])
)
def test_merged_runs_are_all_their_keys_in_order(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sizes: list[int], chunk: int
) -> None:
    chance, root = random.Random(seed), tmp_path_factory.mktemp("runs")
    every = sorted(keys(chance, sum(sizes), crowded=bool(seed % 2)))
    shares = [every[n :: len(sizes)] for n in range(len(sizes))]
    made = [_run(root / f"{n}.run", share) for n, share in enumerate(shares) if share]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "CHUNK", chunk)
        write_run(root / "all.run", merged(made), len(every))
    whole = Run(root / "all.run").columns
    assert [
        (int(h) << 64 | int(low)).to_bytes(16, "big") for h, low in zip(whole.high, whole.low, strict=True)
    ] == every


def test_keys_at_both_ends_are_merged(tmp_path: Path) -> None:
    ends = [b"\x00" * 16, b"\xff" * 16, b"\xff" * 8 + b"\x00" * 8]
    every = _run(tmp_path / "1.run", ends)
    write_run(tmp_path / "2.run", merged([every]), 3)
    high = np.array([0, (1 << 64) - 1], dtype=np.uint64)
    places, known = Run(tmp_path / "2.run").find(high, np.array([0, (1 << 64) - 1], dtype=np.uint64))
    assert (places.tolist(), len(known.seq)) == ([0, 1], 2)


def test_an_absent_key_rarely_gets_past_the_filter(tmp_path: Path) -> None:
    chance = random.Random(2)
    run = _run(tmp_path / "1.run", keys(chance, 20_000))
    asked = columns_of(*_known(keys(chance, 20_000)))
    word, bits = runs._bloom(asked.high, asked.low, len(run._filter))
    assert np.count_nonzero((run._filter[word] & bits) == bits) < 200
    assert len(run.find(asked.high, asked.low)[0]) == 0


@pytest.mark.parametrize("damage", ["cut", "header", "longer", "empty"])
def test_a_damaged_run_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "1.run"
    _run(path, keys(random.Random(3), 100))
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-8], "header": b"x" + whole[1:], "longer": whole + b"\0" * 8, "empty": b""}[damage])
    with pytest.raises(TransientError, match=r"1\.run") as caught:
        Run(path)
    assert caught.value.code == "view_unavailable"


def test_what_a_flush_or_a_merge_left_is_removed(tmp_path: Path) -> None:
    chance, model = random.Random(4), dict[bytes, Known]()
    index = Index(tmp_path, held_max=10)
    fill(index, model, keys(chance, 10), 1, chance)
    index.close()
    (tmp_path / "00000009.run").write_bytes((tmp_path / "00000001.run").read_bytes())
    (tmp_path / "00000010.new").write_bytes(b"half")
    again = Index(tmp_path, held_max=10)
    assert again.find(list(model)) == model
    assert [path.name for path in tmp_path.iterdir()] == ["00000001.run", "index.json"] or len(
        list(tmp_path.iterdir())
    ) == 2
    again.clear()
    assert again.find(list(model)) == {} and again.through == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


@pytest.mark.parametrize(
    "text", [b"", b"{", *(b'{"format":%d,"through_seq":0,"chain":"","runs":[]}' % n for n in (1, 3))]
)
def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "index.json").write_bytes(text)
    with pytest.raises(TransientError, match=r"index\.json"):
        Index(tmp_path)


def test_a_disk_without_room_costs_a_run_and_nothing_else(tmp_path: Path) -> None:
    """In a process of its own: where a mapped page finds no room, the kernel ends the process."""
    program = f"""
import os, random, resource, sys
from pathlib import Path
from tests.intake.test_index import fill, keys
from interlock.intake.index import Index
index, model, chance = Index(Path({str(tmp_path)!r}), held_max=100), dict(), random.Random(6)
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY))
for seq in range(1, 40):
    fill(index, model, keys(chance, 20), seq, chance)
assert index.find(list(model)) == model and index.through == (0, ""), index.through
assert len(list(Path({str(tmp_path)!r}).iterdir())) == 0, list(Path({str(tmp_path)!r}).iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for seq in range(40, 60):
    fill(index, model, keys(chance, 20), seq, chance)
assert index.find(list(model)) == model and index.through[0] > 40
assert index.count == len(model)
index.close()
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_manifest_that_cannot_be_written_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, model = random.Random(7), dict[bytes, Known]()
    index = Index(tmp_path, held_max=10)

    def fail(path: Path) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("interlock.intake.index.sync_directory", fail)
        for seq in range(1, 30):
            fill(index, model, keys(chance, 5), seq, chance)
        assert index.find(list(model)) == model and index.count == len(model)
    index.close()


def test_a_merge_whose_manifest_may_or_may_not_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new manifest is there, and could not be synced: both it and the old one must name runs that are there."""
    chance, model = random.Random(8), dict[bytes, Known]()
    index = Index(tmp_path, held_max=10)
    index._closed = True  # no merge yet
    for seq in range(1, 5):
        fill(index, model, keys(chance, 10), seq, chance)
    if index._merging:
        index._merging.join()
    old = (tmp_path / "index.json").read_bytes()

    def fail(path: Path) -> None:
        raise OSError("not synced")

    index._closed = False
    with monkeypatch.context() as patch:
        patch.setattr("interlock.intake.index.sync_directory", fail)
        index._merge()
    assert (tmp_path / "index.json").read_bytes() != old
    assert index.find(list(model)) == model
    for content in ((tmp_path / "index.json").read_bytes(), old):
        copy = tmp_path.parent / f"{tmp_path.name}-{len(content)}"
        shutil.copytree(tmp_path, copy)
        (copy / "index.json").write_bytes(content)
        assert Index(copy).find(list(model)) == model


def _known(every: list[bytes]) -> tuple[list[bytes], list[bytes], list[int]]:
    return every, every, [1] * len(every)


def _run(path: Path, every: list[bytes]) -> Run:
    def parts() -> Iterator[runs.Columns]:
        yield ordered(columns_of(*_known(every)))

    write_run(path, parts(), len(every))
    return Run(path)
