"""The load: builds the C tools, starts the mock upstream, sends one kind of call through a target, reads CPU clocks.

The tools are bench/tools/*.c, because a load generator that costs more than the proxy measures itself.
"""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.machine import LOAD_CORE, BenchError, cpu_ns, free_port, started, wait_for
from bench.peers import HERE, INSTALLED, Target

EVENTS = 64
"""Tokens of a streamed answer; the role, the stop, the usage and [DONE] come on top, each its own write."""
WRITES = {"chat": EVENTS + 4, "messages": EVENTS + 5}
"""Events of a stream, by the upstream's format."""
SPACING_NS = 1_000_000
MARKER = "lorem7"
SENTENCE = "Read the signals before the route is set, and write down what was decided and why. "


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of load. `units` is what CPU time is divided by: per call, or per event that the upstream sent."""

    name: str
    connections: int
    requests: int
    stream: bool = False
    prompt_bytes: int = 1_300
    client: str = "chat"
    """What the client speaks."""
    upstream: str = "chat"
    """What the upstream speaks; another than the client's: only Interlock is asked, by the deployment's name."""
    seconds_max: int = 120
    fresh: bool = False
    """Each call begins a conversation of its own."""

    @property
    def units(self) -> int:
        """Events of the upstream, or 1 for a whole answer."""
        return WRITES[self.upstream] if self.stream else 1

    @property
    def translated(self) -> bool:
        """Whether the client speaks another format than the upstream."""
        return self.client != self.upstream


PAIRS = (("chat", "messages"), ("messages", "chat"))
KINDS = (
    Kind(name="whole", connections=64, requests=30_000),
    Kind(name="single", connections=1, requests=5_000),
    Kind(name="stream", connections=16, requests=600, stream=True),
    Kind(name="large", connections=16, requests=3_000, prompt_bytes=200_000),
    Kind(name="fresh", connections=64, requests=15_000, fresh=True),
    *(Kind(name=f"{c} to {u}", connections=64, requests=15_000, client=c, upstream=u) for c, u in PAIRS),
    *(
        Kind(name=f"{c} to {u}, streamed", connections=16, requests=400, stream=True, client=c, upstream=u)
        for c, u in PAIRS
    ),
)


ENDS = {
    ("chat", False): "total_tokens",
    ("chat", True): "[DONE]",
    ("messages", False): "stop_reason",
    ("messages", True): "message_stop",
}
"""What stands at the end of a right answer, by the client's format and whether it streams."""


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
    """How many reads the client needed for an event of the upstream; near 1: events were relayed one by one."""


def build_tools() -> Path:
    """Compile the tools; the directory they are in. Raises: BenchError: no C compiler, or it refused."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("the load generator needs a C compiler (Debian: gcc libc6-dev)")
    INSTALLED.mkdir(exist_ok=True)
    for name in ("upstream", "load", "crowd"):
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
def upstream(directory: Path, spacing_ns: int = SPACING_NS) -> Iterator[int]:
    """The mock upstream on the load's core; yields its port."""
    port, log = free_port(), directory / "upstream.log"
    command: list[str | Path] = [INSTALLED / "upstream", str(port), str(EVENTS), str(spacing_ns)]
    with started(command, core=LOAD_CORE, log=log) as process:
        wait_for("the mock upstream", lambda: "ready" in log.read_text(), process, log, 5)
        yield port


def request_bytes(target: Target, kind: Kind) -> bytes:
    """One raw call; but for `large`, with a body of 1.5 KB."""
    begins = "This is conversation 00000000. " if kind.fresh else ""
    prompt = (begins + SENTENCE * (kind.prompt_bytes // len(SENTENCE) + 1))[: kind.prompt_bytes]
    system, user = "You are a careful engineer.", {"role": "user", "content": prompt}
    body = {"model": f"mock-{kind.upstream}" if kind.translated else target.model, "stream": kind.stream}
    if kind.client == "messages":
        body |= {"system": system, "messages": [user], "max_tokens": 1024, "temperature": 0.2}
    else:
        body |= {"messages": [{"role": "system", "content": system}, user], "temperature": 0.2}
        body |= {"stream_options": {"include_usage": True}} if kind.stream else {}
    content = msgspec.json.encode(body)
    headers = {"host": f"127.0.0.1:{target.port}", "content-type": "application/json", **target.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    path = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}[kind.client]
    return f"POST {path} HTTP/1.1\r\n{head}content-length: {len(content)}\r\n\r\n".encode() + content


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
    end = ENDS[kind.client, kind.stream]
    done = subprocess.run([*command, end], input=request_bytes(target, kind), capture_output=True)
    if not done.stdout:
        raise BenchError(f"the load generator failed: {done.stderr.decode()[-200:]}")
    said = msgspec.json.decode(done.stdout, type=Said)
    if said.errors or said.missing:
        if refused := re.match(r"bad head: HTTP/1\.1 (4\d\d)", said.first_error):
            raise BenchError(f"n/a (HTTP {refused[1]})")
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
