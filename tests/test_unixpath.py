"""Sockets that stand deeper than the kernel's names for them reach."""

import socket
from pathlib import Path

import pytest

from interlock.unixpath import short


def test_bound_and_reached_where_no_name_is_short_enough(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 120) / "door.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(OSError, match="too long"):
            server.bind(str(path))
        with short(path) as name:
            server.bind(name)
        server.listen()
        assert path.is_socket()
        with short(path) as name:
            client.connect(name)
        there, _ = server.accept()
        with there:
            client.sendall(b"x")
            assert there.recv(1) == b"x"
    opened = [entry.resolve() for entry in Path("/proc/self/fd").iterdir()]  # other tests' may be collected meanwhile
    assert path.parent not in opened, "the directory's descriptor is closed again"


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), short(tmp_path / "none" / "door.sock"):
        pass
