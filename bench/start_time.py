"""How long `interlock serve` takes to answer, and to have a ready model. `python -m bench.start_time`."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.machine import PROXY_CORE, BenchError, answers, started, wait_for
from bench.peers import serve_command
from bench.report import Promise, verdicts

ROUNDS = 3
ANSWER_S_MAX, READY_S_MAX = 1.0, 60.0


def once(directory: Path) -> tuple[float, float]:
    """Seconds to 200 on /healthz, and to 200 on /readyz, with the built-in default."""
    serve, log = serve_command(directory, config=None), directory / "serve.log"
    begin_ns = time.monotonic_ns()
    with started(serve.command, core=PROXY_CORE, log=log, env=serve.env) as process:

        def seconds_until(path: str, within_s: float) -> float:
            wait_for(path, url_answers(f"http://127.0.0.1:{serve.port}{path}"), process, log, within_s)
            return (time.monotonic_ns() - begin_ns) / 1e9

        return seconds_until("/healthz", 10), seconds_until("/readyz", READY_S_MAX)


def url_answers(url: str) -> Callable[[], bool]:
    """A condition for `wait_for`."""
    return lambda: answers(url)


def targets() -> list[Promise]:
    """The median of three starts, the model fetched before. Raises: BenchError: it does not start."""
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name:
        directory = Path(name)
        serve = serve_command(directory, config=None)
        fetch = [serve.command[0], "local", "fetch", "--data", str(serve.data)]
        done = subprocess.run(fetch, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise BenchError(f"`interlock local fetch`: {done.stderr.strip()[-300:]}")
        starts = [once(directory) for _ in range(ROUNDS)]
    return [
        Promise(
            what="seconds from start to the data port's first answer",
            value=median(s[0] for s in starts),
            limit=ANSWER_S_MAX,
        ),
        Promise(what="seconds from start to a ready model", value=median(s[1] for s in starts), limit=READY_S_MAX),
    ]


if __name__ == "__main__":
    try:
        print(verdicts(targets()))
    except BenchError as error:
        sys.exit(str(error))
