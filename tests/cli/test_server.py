"""What `status` says of a server that is not as it should be."""

from pathlib import Path

import msgspec
from tests.cli.conftest import Run
from tests.e2e.server import until

from interlock.testing.control_process import ControlProcess


def test_an_erasure_that_cannot_be_ended_is_a_problem(run: Run, tmp_path: Path) -> None:
    process = ControlProcess(tmp_path / "data").start()
    asked = {"subjects": ["nobody"], "reason": "case 1"}
    until(lambda: process.ask("GET", "/v1/status").json()["events_ready"], "events are taken")
    id = process.ask("POST", "/v1/erasures", asked, port=process.api_port).json()["id"]
    place = f"/v1/erasures/{id}"
    until(lambda: process.ask("GET", place, port=process.api_port).json()["state"] == "done", "it is done")
    process.stop()
    kept = tmp_path / "data" / "erasures" / f"{id}.json"
    kept.write_bytes(msgspec.json.encode(msgspec.json.decode(kept.read_bytes()) | {"state": "running"}))
    kept.with_suffix(".new").mkdir()  # what it would be written to
    process = ControlProcess(tmp_path / "data").start()
    try:
        until(lambda: process.ask("GET", "/v1/status").json()["erasing_problem"], "it is tried")
        done = run("status", env={"INTERLOCK_URL": process.url, "INTERLOCK_KEY": process.admin})
    finally:
        process.stop()
    assert done.returncode == 1
    assert f"what was asked to be erased is not yet: erasure {id} waits: " in done.stdout
