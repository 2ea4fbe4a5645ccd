"""Programs of system calls, run by the kernel."""

import os
import struct
import subprocess

from interlock.runtime.hands.elf import EXIT_BROKEN, At, Program
from interlock.runtime.hands.prelude import candidates


def run(program: Program) -> "subprocess.CompletedProcess[bytes]":
    """To the end."""
    descriptor = program.memfd("test")
    try:
        path = f"/proc/self/fd/{descriptor}"
        return subprocess.run(["test"], executable=path, pass_fds=[descriptor], capture_output=True, timeout=10)
    finally:
        os.close(descriptor)


def test_a_result_is_kept_and_given_on() -> None:
    program = Program()
    where = program.data(bytes(8))
    program.call("openat", -100, program.text("/proc/self/status"), 0, 0, must="no status")
    program.keep(where)
    program.call("ioctl", At(where), 0x541B, where + 4)  # FIONREAD: refused by this file, and the argument was one
    told = program.data(b"?" * 4)
    program.copy(where, told)
    program.call("write", 1, told, 4)
    program.call("exit_group", 7)
    ran = run(program)
    assert (ran.returncode, ran.stderr) == (7, b"")
    assert struct.unpack("<i", ran.stdout)[0] > 2


def test_what_must_work_and_does_not_ends_it() -> None:
    program = Program()
    program.call("chdir", program.text("/no/such/place"), must="cannot go there")
    program.call("exit_group", 0)
    assert (run(program).returncode, run(program).stderr) == (EXIT_BROKEN, b"cannot go there\n")
    program = Program()
    program.call("chdir", program.text("/no/such/place"))
    program.call("chdir", program.text("/"), must="cannot go there")
    program.call("getppid")
    program.expect(os.getpid(), "another parent")
    program.call("exit_group", 3)
    assert run(program).returncode == 3
    program = Program()
    program.call("getppid")
    program.expect(1 << 30, "another parent")
    assert run(program).stderr == b"another parent\n"


def test_arguments_and_environment_are_the_programs_own() -> None:
    program = Program()
    words = ["printenv", "A", "B"]
    program.call("execve", program.text("/usr/bin/printenv"), program.array(words), program.array(["A=é", "B="]))
    program.fail("not found", 127)
    ran = run(program)
    assert (ran.returncode, ran.stdout.decode()) == (0, "é\n\n")


def test_its_code_cannot_be_written() -> None:
    program = Program()
    program.call("openat", -100, program.text("/dev/zero"), 0, 0)
    program.keep(0x400000)
    program.call("exit_group", 0)
    assert run(program).returncode == -11


def test_where_a_program_is_looked_for() -> None:
    assert candidates("a/b", "/x") == ["a/b"]
    assert candidates("sh", "/x::/y") == ["/x/sh", "./sh", "/y/sh"]
    assert len(candidates("sh", ":" * 1000)) == 64
