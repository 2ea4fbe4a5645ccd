"""A change of content is seen once, however it was made; what is not a change of content is not seen."""

import os
from pathlib import Path

from interlock.config import Watch
from interlock.config.watch import RACY_NS


class Frozen:
    """A clock that stands at the present of the file system, and is moved by hand."""

    def __init__(self, at_ns: int) -> None:
        self.at_ns = at_ns

    def now_ns(self) -> int:
        return self.at_ns

    def monotonic_ns(self) -> int:
        return self.at_ns


def start(path: Path, content: str = "one") -> tuple[Watch, Frozen]:
    path.write_text(content)
    clock = Frozen(path.stat().st_ctime_ns + 2 * RACY_NS)  # the file is old when it is first looked at
    return Watch(path, clock), clock


def test_nothing_happens(tmp_path: Path) -> None:
    watch, _ = start(tmp_path / "f")
    assert [watch.poll() for _ in range(3)] == [False] * 3


def test_written_in_place(tmp_path: Path) -> None:
    watch, _ = start(tmp_path / "f")
    (tmp_path / "f").write_text("second")
    assert [watch.poll() for _ in range(3)] == [True, False, False]


def test_replaced_by_rename(tmp_path: Path) -> None:
    watch, _ = start(tmp_path / "f")
    (tmp_path / "g").write_text("two")
    (tmp_path / "g").replace(tmp_path / "f")
    assert [watch.poll(), watch.poll()] == [True, False]


def test_the_same_content_is_no_change(tmp_path: Path) -> None:
    watch, _ = start(tmp_path / "f")
    (tmp_path / "g").write_text("one")
    (tmp_path / "g").replace(tmp_path / "f")
    assert not watch.poll()


def test_a_link_swapped_on_the_way_as_kubernetes_does(tmp_path: Path) -> None:
    for version, content in (("v1", "one"), ("v2", "two")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "f").write_text(content)
    os.utime(tmp_path / "v2" / "f", ns=(1, 1))
    os.utime(tmp_path / "v1" / "f", ns=(1, 1))
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "f").symlink_to("..data/f")
    newest = (tmp_path / "f").stat().st_ctime_ns
    watch = Watch(tmp_path / "f", Frozen(newest + 2 * RACY_NS))
    (tmp_path / "..data_tmp").symlink_to("v2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert [watch.poll(), watch.poll()] == [True, False]


def test_gone_is_no_change_and_back_is_one_if_it_is_another(tmp_path: Path) -> None:
    watch, _ = start(tmp_path / "f")
    (tmp_path / "f").unlink()
    assert not watch.poll()
    (tmp_path / "f").write_text("one")
    assert not watch.poll()
    (tmp_path / "f").unlink()
    assert not watch.poll()
    (tmp_path / "f").write_text("two")
    assert watch.poll()


def test_a_file_that_was_not_there(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "f", Frozen(0))
    assert not watch.poll()
    (tmp_path / "f").write_text("one")
    assert [watch.poll(), watch.poll()] == [True, False]


def test_a_file_written_twice_within_one_tick_of_its_clock(tmp_path: Path) -> None:
    """Coarse file times: the second write changes no field of `stat`. While the file is young its content is read."""
    path = tmp_path / "f"
    path.write_text("one")
    coarse = CoarseWatch(path, Frozen(path.stat().st_ctime_ns + 1))
    path.write_text("two")
    assert [coarse.poll(), coarse.poll()] == [True, False]


class CoarseWatch(Watch):
    """On a file system whose times never move."""

    def _look(self) -> tuple[tuple[int, ...], bool]:
        _, racy = super()._look()
        return (1,), racy
