"""`python -m tests.fuzz TARGET --seconds N`: fuzz one target by coverage, from the kept corpus on.

The engine is atheris (libFuzzer for Python), which is not among the test dependencies: `pip install atheris`. What
reached new code is kept with `--keep`; an input that fails a property is printed, and put into `--corpus`.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import corpus

INPUT_BYTES_MAX = 4096


def main() -> int:
    """Fuzz, and say how it ended: 0 if no property failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="where inputs are kept while it runs; default: a temporary place")
    parser.add_argument("--keep", action="store_true", help="put what was found into tests/fuzz/corpus")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.corpus or Path(temporary) / "work"
        work.mkdir(parents=True, exist_ok=True)
        corpus.unpack(asked.target, work)
        words = Path(temporary) / "words"
        words.write_text(corpus.dictionary(asked.target))
        bounds = [f"-max_total_time={asked.seconds}", f"-max_len={INPUT_BYTES_MAX}", "-timeout=20"]
        places = [f"-dict={words}", f"-artifact_prefix={work}/", str(work)]
        engine = [sys.executable, "-m", "tests.fuzz.engine", asked.target, *bounds, *places]
        status = subprocess.run(engine, check=False).returncode
        if asked.keep and status == 0:
            print(f"kept: {corpus.pack(asked.target, work)} inputs")
    return status


if __name__ == "__main__":
    sys.exit(main())
