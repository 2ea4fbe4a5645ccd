"""Who may ask what, of every path there is."""

from pathlib import Path

from starlette.routing import Route
from tests.control.test_app import issued
from tests.control.test_events import ready

from interlock.clock import SystemClock
from interlock.control.app import api_app
from interlock.control.service import Control
from interlock.testing.control_process import ControlProcess


def test_head_needs_what_get_needs(control: ControlProcess, tmp_path: Path) -> None:
    """Of every path of the api port: what a program may not read it may not ask the size of."""
    ready(control)
    reader = str(issued(control, tenant="reader", scopes=["usage:read"])["secret"])
    app = Control(tmp_path, None, SystemClock())
    paths = [route.path for route in api_app(app).routes if isinstance(route, Route)]
    app.close()
    refused_at: dict[str, list[str]] = {"GET": [], "HEAD": []}
    for path in dict.fromkeys(paths):
        filled = path.replace("{slug}", "m").replace("{id}", "er_1").replace("{request_id}", "req_1")
        for method, found in refused_at.items():
            if control.ask(method, filled, key=reader, port=control.api_port).status == 403:
                found.append(path)
            keyless = control.ask(method, filled, key="", port=control.api_port).status
            assert keyless == (200 if path == "/healthz" else 401)
    assert (
        refused_at["HEAD"]
        == refused_at["GET"]
        == [
            "/v1/periods",
            "/v1/erasures",
            "/v1/erasures/{id}",
            "/v1/sessions",
            "/v1/approvals",
        ]
    )
    assert control.ask("HEAD", "/v1/meters", key=reader, port=control.api_port).status == 200


def test_who_lacks_a_scope_is_told_how_keys_get_one(control: ControlProcess) -> None:
    key = str(issued(control, tenant="reader", scopes=["usage:read"])["secret"])
    answer = control.ask("GET", "/v1/sessions", key=key, port=control.api_port)
    assert answer.status == 403
    assert "interlock keys issue --scope sessions:run" in answer.json()["error"]["message"]
