"""Programs of straight-line system calls, put together as ELF executables in memory: x86-64, no compiler, no loader.

What stands between a fork and somebody else's program (joining a control group, becoming another user, Landlock) must
be done by the process itself. A Python start for that is 6 to 10 ms, twice a command; a program of these starts in
0.3 ms. It has no loops and no jumps but one kind: a call that must work and did not says so and ends the process.
"""

import os
import struct
from collections.abc import Sequence

from interlock.runtime.hands.syscalls import NUMBERS

_CODE, _DATA = 0x400000, 0x800000
_REGISTERS = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8", b"\x49\xb9")
"""`mov REG, imm64` for rdi, rsi, rdx, r10, r8, r9: where the kernel looks for arguments (x86-64 psABI, A.2.1)."""
_TO = (b"\x48\x8b\x3f", b"\x48\x8b\x36", b"\x48\x8b\x12", b"\x4d\x8b\x12", b"\x4d\x8b\x00", b"\x4d\x8b\x09")
"""`mov REG, [REG]` for the same."""

EXIT_BROKEN = 125
"""A call that must work did not."""


class At(int):
    """An address whose 64 bits are the argument, instead of the address itself."""


class Program:
    """One program under construction: `data` gives addresses, `call` adds an instruction, `image` is the file."""

    def __init__(self) -> None:
        self._code = bytearray()
        self._data = bytearray()

    def data(self, content: bytes) -> int:
        """The address at which these bytes will stand, writable and aligned for anything."""
        self._data += bytes(-len(self._data) % 8)
        address = _DATA + len(self._data)
        self._data += content
        return address

    def text(self, value: str) -> int:
        """The same of a C string."""
        return self.data(os.fsencode(value) + b"\0")

    def array(self, values: Sequence[str]) -> int:
        """The same of a null-ended array of C strings, as argv and envp are."""
        pointers = [self.text(value) for value in values]
        return self.data(struct.pack(f"<{len(pointers) + 1}Q", *pointers, 0))

    def call(self, name: str | int, *args: int, must: str = "", exits: int = EXIT_BROKEN) -> None:
        """A system call.

        Args:
            name: of `syscalls.NUMBERS`, or a number.
            must: what to say on standard error, before it ends with `exits`, if the kernel refuses; empty: go on.
        """
        for position, value in enumerate(args):
            self._code += _REGISTERS[position] + struct.pack("<Q", int(value) & (1 << 64) - 1)
            if isinstance(value, At):
                self._code += _TO[position]
        self._code += (
            b"\xb8" + struct.pack("<I", NUMBERS[name] if isinstance(name, str) else name) + b"\x0f\x05"
        )  # mov eax, nr; syscall
        if must:
            self._unless(b"\x48\x85\xc0\x79", must, exits)  # test rax, rax; jns

    def expect(self, value: int, must: str) -> None:
        """End the process unless the last call gave exactly that (below 2**31)."""
        self._unless(b"\x48\x3d" + struct.pack("<i", value) + b"\x74", must, EXIT_BROKEN)  # cmp rax, imm32; je

    def keep(self, address: int, *, wide: bool = True) -> None:
        """Write the last call's result to an address: 64 bits, or 32 of them."""
        self._code += (b"\x48\xa3" if wide else b"\xa3") + struct.pack("<Q", address)  # mov moffs64, rax or eax

    def copy(self, source: int, target: int) -> None:
        """Move the 32 bits at one address to another."""
        self._code += b"\xa1" + struct.pack("<Q", source) + b"\xa3" + struct.pack("<Q", target)  # mov eax, moffs64

    def fail(self, says: str, exits: int) -> None:
        """Say something on standard error and end."""
        message = os.fsencode(says) + b"\n"
        self.call("write", 2, self.data(message), len(message))
        self.call("exit_group", exits)

    def _unless(self, test_and_jump: bytes, says: str, exits: int) -> None:
        before, self._code = self._code, bytearray()
        self.fail(says, exits)
        ending, self._code = self._code, before
        self._code += test_and_jump + struct.pack("<b", len(ending)) + ending

    def image(self) -> bytes:
        """The executable: a header, code that cannot be written, data that cannot be executed."""
        header, at = 64 + 2 * 56, _page(64 + 2 * 56 + len(self._code))
        elf = b"\x7fELF\x02\x01\x01" + bytes(9)
        elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _CODE + header, 64, 0, 0, 64, 56, 2, 64, 0, 0)
        code, data = header + len(self._code), len(self._data)
        elf += struct.pack("<IIQQQQQQ", 1, 5, 0, _CODE, _CODE, code, code, 4096)
        elf += struct.pack("<IIQQQQQQ", 1, 6, at, _DATA, _DATA, data, data, 4096)
        return (elf + self._code).ljust(at, b"\0") + self._data

    def memfd(self, name: str) -> int:
        """A descriptor of the executable, to be passed on and executed as /proc/self/fd/N."""
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
        os.write(descriptor, self.image())
        return descriptor


def _page(offset: int) -> int:
    return -(-offset // 4096) * 4096
