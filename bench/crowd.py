"""Thousands of slow streams at once through one worker, nginx first: `python -m bench.crowd`.

Each event says when it was due (tools/upstream.c), so what is compared is how late it reaches the client, the
upstream's own lateness included on both sides. One turn each, some 25 s: the tail is that of 320,000 events.
"""

import contextlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.load import EVENTS, KINDS, WRITES, build_tools, request_bytes, upstream
from bench.machine import LOAD_CORE, BenchError, cpu_ns, pss_bytes
from bench.peers import INSTALLED, PEERS, Peer, Target
from bench.report import Promise, verdicts

STREAMS = 5_000
SPACING_NS = 250_000_000
RAMP_MS = 5_000
SECONDS_MAX = 60
FILES = 3 * STREAMS
"""Descriptors a process may need: two a stream in a proxy, and some."""
LATER_MS_MAX, PSS_MIB_MAX = 50.0, 250.0
MEMORY_EVERY_S = 1.0


class Said(msgspec.Struct, frozen=True):
    """What tools/crowd.c prints. Lateness of events, in ns."""

    streams: int
    wrong: int
    """Streams that did not come whole."""
    open_max: int
    """Streams that were open at once."""
    events: int
    lost: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    first_error: str


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """One peer's turn."""

    name: str
    said: Said
    cpu_ns_an_event: float
    pss_bytes_max: int
    """Of the processes that the streams pass through, the largest seen while they ran."""


def run(names: Sequence[str] = ("nginx", "interlock")) -> list[Crowd]:
    """One turn each. Raises: BenchError: a peer does not start, or too few descriptors are allowed."""
    allow_files()
    return [turn(peer) for peer in PEERS if peer.name in names]


def allow_files() -> None:
    """Raise the limit of open descriptors as far as needed, here and so for every child."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        raise BenchError(f"{FILES} open descriptors are needed, {hard} are allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))


def turn(peer: Peer) -> Crowd:
    """Start a peer and an upstream of its own, send the crowd through, watch the memory meanwhile."""
    with (
        tempfile.TemporaryDirectory(prefix="interlock-bench-") as name,
        upstream(Path(name), SPACING_NS) as upstream_port,
        peer.start(Path(name), upstream_port) as target,
        generator(target) as process,
    ):
        before_ns, pss = cpu_ns(target.worker_pids), 0
        while process.poll() is None:
            pss = max(pss, sum(pss_bytes(pid) for pid in target.worker_pids))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(MEMORY_EVERY_S)
        used_ns = cpu_ns(target.worker_pids) - before_ns
        assert process.stdout is not None
        output = process.stdout.read()
    if not output:
        raise BenchError(f"{peer.name}: the crowd's generator failed, exit {process.returncode}")
    said = msgspec.json.decode(output, type=Said)
    sent = max(said.events * WRITES["chat"] // EVENTS, 1)
    return Crowd(name=peer.name, said=said, cpu_ns_an_event=used_ns / sent, pss_bytes_max=pss)


@contextlib.contextmanager
def generator(target: Target) -> Iterator[subprocess.Popen[bytes]]:
    """tools/crowd.c on the load's core."""
    kind = next(kind for kind in KINDS if kind.name == "stream")
    numbers = [target.port, STREAMS, EVENTS, RAMP_MS, SECONDS_MAX]
    command = ["taskset", "-c", str(LOAD_CORE), str(INSTALLED / "crowd"), *map(str, numbers), "[DONE]"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None
        process.stdin.write(request_bytes(target, kind))
        process.stdin.close()
        yield process
    finally:
        process.kill()
        process.wait()


def table(crowds: Sequence[Crowd]) -> str:
    """The Markdown table."""
    lines = [
        f"| {STREAMS:,} streams | at once | wrong | events | lost | late p50 ms | p99 | p99.9 | CPU µs/event | MiB |",
        "| --- |" + " ---: |" * 9,
    ]
    for crowd in crowds:
        said = crowd.said
        late = " | ".join(f"{ns / 1e6:.1f}" for ns in (said.p50_ns, said.p99_ns, said.p999_ns))
        lines.append(
            f"| {crowd.name} | {said.open_max:,} | {said.wrong} | {said.events:,} | {said.lost} | {late} "
            f"| {crowd.cpu_ns_an_event / 1e3:.1f} | {crowd.pss_bytes_max / (1 << 20):.0f} |"
        )
        lines += [f"\n{crowd.name}: first wrong stream: {said.first_error}"] if said.wrong else []
    return "\n".join(lines)


def promises(crowds: Sequence[Crowd]) -> list[Promise]:
    """Interlock's targets, as far as they were measured."""
    by_name = {crowd.name: crowd for crowd in crowds}
    own, nginx = by_name.get("interlock"), by_name.get("nginx")
    if own is None:
        return []
    found = [
        Promise(what=f"streams of {STREAMS:,} that did not come whole", value=own.said.wrong, limit=0),
        Promise(
            what=f"PSS in MiB of a worker, {STREAMS:,} streams", value=own.pss_bytes_max / 2**20, limit=PSS_MIB_MAX
        ),
    ]
    if nginx is not None:
        later_ms = (own.said.p999_ns - nginx.said.p999_ns) / 1e6
        found.append(Promise(what="ms later than nginx's, p99.9 of an event", value=later_ms, limit=LATER_MS_MAX))
    return found


if __name__ == "__main__":
    try:
        build_tools()
        crowds = run()
        print(f"{table(crowds)}\n\n{verdicts(promises(crowds))}")
    except BenchError as error:
        sys.exit(str(error))
