"""A backup taken while events come in: what was answered before it began is in it, and the copy goes on as it."""

import asyncio
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.control.conftest import TOML
from tests.control.test_app import issued
from tests.control.test_events import event, ready, send
from tests.e2e.server import until
from tests.log.journals import STREAM, journal_dir, problems, write

from interlock.clock import SystemClock
from interlock.datadir import DataDir
from interlock.errors import LocalError
from interlock.log.journal import Journal
from interlock.log.redaction import REDACTED, redact
from interlock.log.sqlite import SqliteLog
from interlock.log.verify import verify
from interlock.runtime.sessions.blobs import FileBlobs
from interlock.runtime.sessions.ports import Standing
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.testing.control_process import ControlProcess
from interlock.testing.sessions_contract import begin, step
from interlock.wiring.backup import MANIFEST, back_up, restore


def backed_up(data: Path) -> bytes:
    to = io.BytesIO()
    back_up(data, to, SystemClock())
    return to.getvalue()


@pytest.fixture
def control(tmp_path: Path) -> Any:
    config = tmp_path / "interlock.toml"
    config.write_text(TOML)
    process = ControlProcess(tmp_path / "data", config).start()
    yield process
    process.stop()


def test_a_backup_under_load(control: ControlProcess, tmp_path: Path) -> None:
    ready(control)
    key = str(issued(control, scopes=["events:write"])["secret"])
    answered: list[int] = []
    stop = threading.Event()

    def load() -> None:
        number = 0
        while not stop.is_set():
            batch = [event(f"load-{number}-{n}") for n in range(50)]
            assert send(control, key, batch).json()["counts"] == {"counted": 50}
            answered.append(number)
            number += 1

    thread = threading.Thread(target=load)
    thread.start()
    until(lambda: len(answered) > 5, "events come in")
    before = list(answered)
    copy = backed_up(control.data_dir)
    until(lambda: len(answered) > len(before) + 2, "events come in after it")
    stop.set()
    thread.join()
    restore(io.BytesIO(copy), tmp_path / "copy")
    reports = {report.stream: report for report in verify(tmp_path / "copy")}
    assert {"events/0", "identity", "config"} <= reports.keys()
    assert not [problem for report in reports.values() for problem in report.problems]
    config = tmp_path / "interlock.toml"
    again = ControlProcess(tmp_path / "copy", config).start()
    try:
        ready(again)
        for number in before:  # known there, with the same key
            batch = [event(f"load-{number}-{n}") for n in range(50)]
            assert send(again, key, batch).json()["counts"] == {"duplicate": 50}
        assert send(again, key, [event("new")]).json()["counts"] == {"counted": 1}
    finally:
        assert again.stop() == 0, again.stderr


def spoilt(copy: bytes, change: Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(copy)) as old, tarfile.open(fileobj=made, mode="w") as new:
        for info in old:
            file = old.extractfile(info)
            assert file is not None
            if changed := change(info, file.read()):
                changed[0].size = len(changed[1])
                new.addfile(changed[0], io.BytesIO(changed[1]))
    return made.getvalue()


def renamed(name: str) -> Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]:
    def change(info: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if info.name == "admin.key":
            info.name = name
        return info, content

    return change


def linked(info: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    if info.name == "admin.key":
        info.type, info.linkname, content = tarfile.SYMTYPE, "/etc/passwd", b""
    return info, content


def test_sessions_are_backed_up_as_they_are_at_one_moment(tmp_path: Path) -> None:
    places = DataDir(tmp_path / "data")
    places.create()

    async def main() -> None:
        with closing(SqliteLog(places.log)):
            pass
        store, blobs = SqliteStore(places.sessions, SystemClock()), FileBlobs(places.blobs)
        await begin(store)
        name = await blobs.put(b"large")
        await store.append("ses_1", step(1), Standing(status="runnable"), expect=1)  # in the WAL, which is not copied
        restore(io.BytesIO(await asyncio.to_thread(backed_up, places.root)), tmp_path / "back", lambda name, size: None)
        copy = SqliteStore(DataDir(tmp_path / "back").sessions, SystemClock())
        assert await copy.events("ses_1") == await store.events("ses_1")
        assert await FileBlobs(DataDir(tmp_path / "back").blobs).get(name) == b"large"
        await store.close()
        await copy.close()

    asyncio.run(main())
    assert [report.problems for report in verify(tmp_path / "back")] == [[]]


def test_what_is_no_whole_backup_makes_nothing(control: ControlProcess, tmp_path: Path) -> None:
    copy = backed_up(control.data_dir)
    wrong = {
        "broke off": copy[: len(copy) // 2],
        "text": b"hello",
        "empty": b"",
        "out": spoilt(copy, renamed("../../evil")),
        "absolute": spoilt(copy, renamed(str(tmp_path / "evil"))),
        "other": spoilt(copy, renamed("other.key")),
        "link": spoilt(copy, linked),
        "changed": spoilt(
            copy, lambda info, content: (info, content[:-1] + b"x" if info.name == "admin.key" else content)
        ),
        "lacking": spoilt(copy, lambda info, content: None if info.name == "admin.key" else (info, content)),
        "no list": spoilt(copy, lambda info, content: None if info.name == MANIFEST else (info, content)),
        "list": spoilt(copy, lambda info, content: (info, b"{}" if info.name == MANIFEST else content)),
    }
    for name, content in wrong.items():
        with pytest.raises(LocalError) as caught:
            restore(io.BytesIO(content), tmp_path / "copy")
        assert caught.value.field == "file", name
        left = [path.name for path in tmp_path.iterdir() if "copy" in path.name or "evil" in path.name]
        assert left == [] and not (tmp_path.parent / "evil").exists(), name
    restore(io.BytesIO(copy), tmp_path / "copy")
    assert (tmp_path / "copy" / "admin.key").stat().st_mode & 0o777 == 0o600


def test_a_directory_that_is_used_is_left_alone(control: ControlProcess, tmp_path: Path) -> None:
    copy = backed_up(control.data_dir)
    for place in (control.data_dir, tmp_path / "interlock.toml"):
        with pytest.raises(LocalError) as caught:
            restore(io.BytesIO(copy), place)
        assert caught.value.field == "data"
    with pytest.raises(LocalError):
        back_up(tmp_path / "nothing", io.BytesIO(), SystemClock())
    (tmp_path / "empty").mkdir()
    restore(io.BytesIO(copy), tmp_path / "empty")
    assert (tmp_path / "empty" / "log.sqlite").exists()


@pytest.mark.parametrize("kind", [".seg", ".seal"])
def test_a_segment_that_is_redacted_meanwhile(tmp_path: Path, kind: str) -> None:
    """Of the file and its seal, one may be copied before and one after."""
    data, new = tmp_path / "data", b'{"text":"gone"}'
    DataDir(data).create()
    write(data, 12, segment_bytes=2000)
    SqliteLog(DataDir(data).log).close()
    digest = hashlib.sha256(new).hexdigest()
    with closing(Journal.open(journal_dir(data), STREAM, clock=SystemClock())) as journal:
        journal.stage("r", REDACTED, 1, msgspec.json.encode({"records": [(2, digest)]}))
        journal.flush()

    def redacted(name: str, size: int) -> None:
        if name.endswith(f"00000001{kind}"):
            redact(journal_dir(data), STREAM, 1, {2: digest}, lambda payload: None if payload == new else new)

    copy = io.BytesIO()
    back_up(data, copy, SystemClock(), redacted)
    copy.seek(0)
    restore(copy, tmp_path / "again")
    assert problems(data) == problems(tmp_path / "again") == []
