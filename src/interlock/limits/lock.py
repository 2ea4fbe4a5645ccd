"""A lock in shared memory that the kernel takes from a process that dies: POSIX's robust mutex, by ctypes.

Taking and giving it back costs 0.25 µs here; flock, which the kernel also gives free, 0.75 µs, and who waits for that
one can only try again. Linux only (glibc, musl).
Source: POSIX.1-2017, pthread_mutexattr_setrobust, pthread_mutex_consistent; Linux, Documentation/locking/
robust-futexes.rst.
"""

import ctypes
import errno
import mmap
import os

from interlock.errors import TransientError

BYTES = 64
"""Room for a pthread_mutex_t: 40 on x86-64, 48 on aarch64."""
WAIT_S_MAX = 2
"""A holder needs microseconds. One that a debugger stopped in between holds others up no longer than this."""
_PROCESS_SHARED = 1  # PTHREAD_PROCESS_SHARED, in glibc and musl
_ROBUST = 1  # PTHREAD_MUTEX_ROBUST

# PyDLL keeps the interpreter's lock: giving it away and taking it back costs more than the call. Only waiting gives it
# away, because the holder may be a thread of the same process.
_libc = ctypes.PyDLL(None)
trylock, unlock = _libc.pthread_mutex_trylock, _libc.pthread_mutex_unlock
"""Of `SharedLock.mutex`, for who cannot afford a call in between: 0 is taken, anything else is for `take_after`."""
_consistent = _libc.pthread_mutex_consistent
_timedlock = ctypes.CDLL(None).pthread_mutex_timedlock


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class SharedLock:
    """The mutex at one place of a mapped file."""

    def __init__(self, buffer: mmap.mmap, at: int) -> None:
        self._memory = (ctypes.c_char * BYTES).from_buffer(buffer, at)
        self.mutex = ctypes.byref(self._memory)

    def make(self) -> None:
        """Initialise it; nobody else may use it yet."""
        attributes = ctypes.create_string_buffer(BYTES)
        steps = (
            _libc.pthread_mutexattr_init(attributes),
            _libc.pthread_mutexattr_setpshared(attributes, _PROCESS_SHARED),
            _libc.pthread_mutexattr_setrobust(attributes, _ROBUST),
            _libc.pthread_mutex_init(self.mutex, attributes),
        )
        if failed := next(filter(None, steps), 0):
            raise OSError(failed, os.strerror(failed))

    def take_after(self, result: int) -> None:
        """Wait for the lock, which `trylock` did not give. What a dead holder left half done is the caller's to finish.

        Raises: TransientError: somebody kept it for seconds, which only a process that stands still does.
        """
        if result == errno.EBUSY:
            result = self._wait()
        if result == errno.EOWNERDEAD:
            result = _consistent(self.mutex)
        if result:
            raise TransientError(f"the limits' counters are locked: {os.strerror(result)}", code="limits_unavailable")

    def _wait(self) -> int:
        until = _Timespec()
        _libc.clock_gettime(0, ctypes.byref(until))  # CLOCK_REALTIME: timedlock knows no other
        until.seconds += WAIT_S_MAX
        return int(_timedlock(self.mutex, ctypes.byref(until)))

    def close(self) -> None:
        """Let go of the memory, so that the file can be unmapped."""
        del self.mutex, self._memory
