"""The SQLite log beyond the contract: several processes, kills, errors."""

import asyncio
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from interlock.errors import InterlockError, LogUnavailable
from interlock.log import Appended, LogCorrupt
from interlock.log.sqlite import SqliteLog
from interlock.log.verify import verify
from interlock.testing.log_contract import collect, record

WRITER = """
import asyncio, sys
from pathlib import Path
from interlock.log import Appended
from interlock.log.sqlite import SqliteLog
from interlock.testing.log_contract import record

async def main(name, count):
    log, won = SqliteLog(Path(sys.argv[1])), []
    while (head := await log.head("s")) < count:
        answer = await log.append("s", [record(f"{name}-{head + 1}")], expect=head)
        if isinstance(answer, Appended):
            won.append(answer.seqs[0])
            print(answer.seqs[0], flush=True)

asyncio.run(main(sys.argv[2], int(sys.argv[3])))
"""


def writer(path: Path, name: str, count: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WRITER, path, name, str(count)], stdout=subprocess.PIPE)


def test_of_two_processes_exactly_one_wins_each_seq(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with writer(path, "a", 150) as a, writer(path, "b", 150) as b:
        won = [[int(line) for line in process.communicate()[0].split()] for process in (a, b)]
    assert (a.returncode, b.returncode) == (0, 0)
    assert sorted(won[0] + won[1]) == list(range(1, max(won[0] + won[1]) + 1))
    with closing(SqliteLog(path)) as log:
        stood = log.read_after("s", 0)
    assert {s.record.id for s in stood} == {f"a-{n}" for n in won[0]} | {f"b-{n}" for n in won[1]}
    assert len(stood) >= 150


def test_a_killed_writer_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with writer(path, "a", 10**9) as process:
        assert process.stdout
        for _ in range(50):
            process.stdout.readline()
        process.kill()
        rest = process.stdout.read().split(b"\n")
    answered = int(rest[-2]) if len(rest) > 1 else 50
    [report] = verify(tmp_path)
    assert report.head >= answered
    assert report.problems == []


def test_read_after(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
        asyncio.run(log.append("s", [record(f"r{n}") for n in range(1, 6)]))
        assert [s.seq for s in log.read_after("s", 0)] == [1, 2, 3, 4, 5]
        assert [s.seq for s in log.read_after("s", 2, limit=2)] == [3, 4]
        assert log.read_after("s", 5) == log.read_after("s", 9) == log.read_after("t", 0) == []


def test_a_forked_child_uses_its_own_connection(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, sys; from pathlib import Path; from interlock.log.sqlite import SqliteLog\n"
        "from interlock.testing.log_contract import record\n"
        "log = SqliteLog(Path(sys.argv[1])); asyncio.run(log.append('s', [record('parent')]))\n"
        "before = log._connection\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    log._append('s', [record('child')], None); os._exit(0 if log._connection is not before else 3)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0\n"
        "print([s.record.id for s in log.read_after('s', 0)])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, tmp_path / "l"], capture_output=True, check=True)
    assert done.stdout == b"['parent', 'child']\n"


def test_errors_are_ours(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable):
        SqliteLog(tmp_path / "no" / "log.sqlite")
    (tmp_path / "other").write_bytes(b"not a database, but long enough to be taken for one " * 20)
    with pytest.raises(InterlockError) as found:
        SqliteLog(tmp_path / "other")
    assert found.value.code == "log_corrupt"
    with closing(sqlite3.connect(tmp_path / "newer")) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(InterlockError, match="newer"):
        SqliteLog(tmp_path / "newer")
    log = SqliteLog(tmp_path / "log.sqlite")
    log.close()
    with pytest.raises(LogUnavailable):
        asyncio.run(log.append("s", [record("r")]))


def test_a_full_disk(tmp_path: Path) -> None:
    """The kernel refuses to let the files grow: nothing was done, and it goes on when there is room."""
    with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
        asyncio.run(log.append("s", [record("r1")]))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "log.sqlite-wal").stat().st_size, hard))
        try:
            with pytest.raises(InterlockError) as refused:
                asyncio.run(log.append("s", [record(f"big{n}", b'"%b"' % (b"x" * 9000)) for n in range(9)]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert refused.value.code == "log_unavailable"
        assert asyncio.run(log.append("s", [record("r2")])) == Appended((2,), 2)
        assert [s.record.id for s in asyncio.run(collect(log.read("s")))] == ["r1", "r2"]


def test_a_changed_record_is_named(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
        asyncio.run(log.append("s", [record(f"r{n}") for n in range(1, 6)]))
        with closing(sqlite3.connect(tmp_path / "log.sqlite")) as db:
            db.execute("UPDATE records SET payload = '2' WHERE seq = 3")
            db.commit()
        with pytest.raises(LogCorrupt) as found:
            asyncio.run(collect(log.read("s")))
        assert (found.value.stream, found.value.seq, found.value.code) == ("s", 3, "log_corrupt")
        assert [s.seq for s in log.read_after("s", 3)] == [4, 5]
