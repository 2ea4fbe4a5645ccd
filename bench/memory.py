"""What Interlock's processes hold after load, as PSS, without the model. `python -m bench.memory`."""

import sys
import tempfile
from pathlib import Path

from bench.load import KINDS, build_tools, send, upstream
from bench.machine import BenchError, pss_bytes
from bench.peers import interlock
from bench.report import Promise, verdicts

WORKER_MIB_MAX, ALL_MIB_MAX = 60.0, 180.0
MIB = 1 << 20


def targets() -> list[Promise]:
    """PSS of the worker, and of all processes, after every kind of load. Raises: BenchError: it does not run."""
    with (
        tempfile.TemporaryDirectory(prefix="interlock-bench-") as name,
        upstream(Path(name)) as upstream_port,
        interlock(Path(name), upstream_port) as target,
    ):
        for kind in (kind for kind in KINDS if not kind.translated):
            send(target, kind, kind.requests)
        worker = pss_bytes(target.worker_pids[0])
        everything = sum(pss_bytes(pid) for pid in target.all_pids)
    return [
        Promise(what="PSS in MiB of a worker, after load", value=worker / MIB, limit=WORKER_MIB_MAX),
        Promise(what="PSS in MiB of all processes, without the model", value=everything / MIB, limit=ALL_MIB_MAX),
    ]


if __name__ == "__main__":
    try:
        build_tools()
        print(verdicts(targets()))
    except BenchError as error:
        sys.exit(str(error))
