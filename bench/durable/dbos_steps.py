"""Steps that do nothing but last, in DBOS on SQLite: `dbos_steps.py DIRECTORY STEPS SESSIONS EACH`."""

import json
import sys
import time

from dbos import DBOS

directory, steps, sessions, each = sys.argv[1], *map(int, sys.argv[2:])
DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{directory}/dbos.sqlite", "log_level": "ERROR"})


@DBOS.step()  # type: ignore[untyped-decorator,unused-ignore]  # its venv has its types
def nothing(n: int) -> int:
    return n


@DBOS.workflow()  # type: ignore[untyped-decorator,unused-ignore]  # the same
def work(count: int) -> int:
    return sum(nothing(n) for n in range(count))


DBOS.launch()
work(5)
begun = time.perf_counter()
work(steps)
sequential = steps / (time.perf_counter() - begun)
begun = time.perf_counter()
handles = [DBOS.start_workflow(work, each) for _ in range(sessions)]
for handle in handles:
    handle.get_result()
concurrent = sessions * each / (time.perf_counter() - begun)
print(json.dumps({"sequential": sequential, "concurrent": concurrent}))
DBOS.destroy()
