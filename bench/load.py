"""The load: builds the C tools, starts the mock upstream, sends one kind of call through a target, reads CPU clocks.

The tools are bench/tools/*.c, because a load generator that costs more than the proxy measures itself.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.machine import LOAD_CORE, BenchError, cpu_ns, free_port, started, wait_for
from bench.peers import HERE, INSTALLED, Target

EVENTS = 64
"""Tokens of a streamed answer; the role, the stop, the usage and [DONE] come on top, each its own write."""
WRITES = EVENTS + 4
SPACING_NS = 1_000_000
MARKER = "lorem7"
SENTENCE = "Read the signals before the route is set, and write down what was decided and why. "


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of load. `units` is what CPU time is divided by: per call, or per relayed event."""

    name: str
    connections: int
    requests: int
    stream: bool = False
    seconds_max: int = 120

    @property
    def units(self) -> int:
        """Relayed events, or 1 for a whole answer."""
        return WRITES if self.stream else 1


KINDS = (
    Kind(name="whole", connections=64, requests=30_000),
    Kind(name="single", connections=1, requests=5_000),
    Kind(name="stream", connections=16, requests=600, stream=True),
)


class Said(msgspec.Struct, frozen=True):
    """What the load generator prints."""

    done: int
    errors: int
    missing: int
    reconnects: int
    reads: int
    elapsed_ns: int
    p50_ns: int
    p99_ns: int
    first_error: str


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement. Times in ns; CPU time is per unit (a call, or a relayed event)."""

    worker_cpu_ns: float
    all_cpu_ns: float
    p50_ns: int
    p99_ns: int
    rate_per_s: float
    """Calls a second."""
    reads_per_unit: float
    """How many reads the client needed for an event; near 1: events were relayed one by one."""


def build_tools() -> Path:
    """Compile the tools; the directory they are in. Raises: BenchError: no C compiler, or it refused."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("the load generator needs a C compiler (Debian: gcc libc6-dev)")
    INSTALLED.mkdir(exist_ok=True)
    for name in ("upstream", "load"):
        command: list[str | Path] = [
            compiler,
            "-O2",
            "-Wall",
            "-Wextra",
            "-o",
            INSTALLED / name,
            HERE / "tools" / f"{name}.c",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{name}.c does not compile: {done.stderr[-500:]}")
    return INSTALLED


@contextlib.contextmanager
def upstream(directory: Path) -> Iterator[int]:
    """The mock upstream on the load's core; yields its port."""
    port, log = free_port(), directory / "upstream.log"
    command: list[str | Path] = [INSTALLED / "upstream", str(port), str(EVENTS), str(SPACING_NS)]
    with started(command, core=LOAD_CORE, log=log) as process:
        wait_for("the mock upstream", lambda: "ready" in log.read_text(), process, log, 5)
        yield port


def request_bytes(target: Target, kind: Kind) -> bytes:
    """One raw chat call with a body of 1.5 KB."""
    body = {
        "model": target.model,
        "stream": kind.stream,
        "messages": [
            {"role": "system", "content": "You are a careful engineer."},
            {"role": "user", "content": (SENTENCE * 20)[:1300]},
        ],
        "temperature": 0.2,
    }
    if kind.stream:
        body["stream_options"] = {"include_usage": True}
    content = msgspec.json.encode(body)
    headers = {"host": f"127.0.0.1:{target.port}", "content-type": "application/json", **target.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{head}content-length: {len(content)}\r\n\r\n".encode() + content


def send(target: Target, kind: Kind, requests: int) -> Said:
    """Drive `requests` calls through the target. Raises: BenchError: any answer was wrong or missing."""
    arguments: list[int | str] = [
        target.port,
        kind.connections,
        requests,
        kind.seconds_max,
        MARKER,
        EVENTS if kind.stream else 1,
    ]
    command = ["taskset", "-c", str(LOAD_CORE), str(INSTALLED / "load"), *map(str, arguments)]
    end = "[DONE]" if kind.stream else "total_tokens"
    done = subprocess.run([*command, end], input=request_bytes(target, kind), capture_output=True)
    if not done.stdout:
        raise BenchError(f"the load generator failed: {done.stderr.decode()[-200:]}")
    said = msgspec.json.decode(done.stdout, type=Said)
    if said.errors or said.missing:
        raise BenchError(f"{said.errors} wrong and {said.missing} missing of {requests}: {said.first_error}")
    return said


def measure(target: Target, kind: Kind, requests: int) -> Sample:
    """Warm up with a tenth, then measure."""
    send(target, kind, max(requests // 10, kind.connections))
    worker_ns, all_ns = cpu_ns(target.worker_pids), cpu_ns(target.all_pids)
    said = send(target, kind, requests)
    units = requests * kind.units
    return Sample(
        worker_cpu_ns=(cpu_ns(target.worker_pids) - worker_ns) / units,
        all_cpu_ns=(cpu_ns(target.all_pids) - all_ns) / units,
        p50_ns=said.p50_ns,
        p99_ns=said.p99_ns,
        rate_per_s=requests * 1e9 / said.elapsed_ns,
        reads_per_unit=said.reads / units,
    )
