"""A worker for tests: run as a script, it hammers one page of limits.

hammer.py contend PAGE SLOT         reads `SCOPE CALLS` lines; answers each with how many of the calls were admitted
hammer.py storm PAGE SLOT LOG       calls for ever, with a log of what was opened and settled; a line each 20 calls
hammer.py instant PAGE LOG          reads `INSTANT KEY` lines; makes a call in a fork that is killed after so many
                                    instructions; answers `killed`, or `done` and its exit status
hammer.py stop PAGE SLOT            stops itself (SIGSTOP) with the lock held
"""

import fcntl
import os
import random
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from interlock.clock import SystemClock
from interlock.limits import Actual, Claim, Held, Limit, Limiter, Page
from interlock.limits import limiter as limiter_module
from interlock.limits import lock as lock_module
from interlock.limits import page as page_module

AMOUNT = 10
PRICE = 7
TEN = (
    Limit(name="ten", measure="requests", amount=AMOUNT, window="month", per=("key",)),
    Limit(name="money", measure="nanousd", amount=AMOUNT * PRICE + PRICE - 1, window="month", per=("tenant",)),
    Limit(name="at-once", measure="concurrency", amount=50),
)
PLENTY = (
    Limit(name="requests", measure="requests", amount=1 << 60, window="month"),
    Limit(name="tokens", measure="tokens", amount=1 << 60, window="month", per=("key",)),
    Limit(name="at-once", measure="concurrency", amount=1 << 60),
)
ESTIMATE = 1_000
LINE, PIPE = 500, 4_096
"""A storm waits when nobody reads on: it is ahead by so many lines as the pipe holds."""
INSTRUMENTED = {limiter_module.__file__, page_module.__file__, lock_module.__file__}


def contend(page: Page, slot: int) -> None:
    limiter = Limiter(page, slot, SystemClock(), TEN)
    print("ready", flush=True)
    for line in sys.stdin:
        scope, calls = line.split()
        some = (limiter.reserve(Claim(id=f"{n}/1", key=scope, tenant=scope, nanousd=PRICE)) for n in range(int(calls)))
        admitted = [one for one in some if isinstance(one, Held)]
        print(len(admitted), flush=True)
        for held in admitted:
            limiter.settle(held, Actual())


def storm(page: Page, slot: int, log: int) -> None:
    limiter = Limiter(page, slot, SystemClock(), PLENTY)
    fcntl.fcntl(sys.stdout, fcntl.F_SETPIPE_SZ, PIPE)
    number = 0
    while True:
        number += 1
        call = f"{slot}-{os.getpid()}-{number}/1"
        held = limiter.reserve(Claim(id=call, key=f"k{number % 3}", output_tokens=ESTIMATE))
        assert isinstance(held, Held)
        if number % 7 == 0:
            limiter.release(held)
        else:
            os.write(log, f"opened {call} {number % 3}\n".encode())
            used = random.randrange(ESTIMATE)
            os.write(log, f"settled {call} {used}\n".encode())
            limiter.settle(held, Actual(input_tokens=0, output_tokens=used))
        if number % 20 == 0:
            print(f"{number:<{LINE}}", flush=True)


def one_call(limiter: Limiter, key: str, log: int) -> None:
    """What is killed: it is settled once the log has a byte."""
    held = limiter.reserve(Claim(id="call/1", key=key, output_tokens=ESTIMATE))
    assert isinstance(held, Held)
    os.write(log, b"s")
    limiter.settle(held, Actual(input_tokens=0, output_tokens=3))


def kill_at(instant: int) -> None:
    """Have this process killed when it has executed so many instructions of the package's."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in INSTRUMENTED:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
            if count > instant:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def instants(page: Page, log: int) -> None:
    for line in sys.stdin:
        instant, key = line.split()
        child = os.fork()
        if not child:
            limiter = Limiter(page, 0, SystemClock(), PLENTY)
            kill_at(int(instant))
            one_call(limiter, key, log)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"done {os.waitstatus_to_exitcode(status)}", flush=True)


def main(mode: str, path: str, *rest: str) -> None:
    page = Page(Path(path))
    if mode == "contend":
        contend(page, int(rest[0]))
    elif mode == "storm":
        storm(page, int(rest[0]), os.open(rest[1], os.O_WRONLY | os.O_APPEND))
    elif mode == "instant":
        instants(page, os.open(rest[0], os.O_WRONLY | os.O_APPEND))
    else:
        page.lock()
        print("locked", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    main(*sys.argv[1:])
