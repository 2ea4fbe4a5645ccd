"""OpenMeter's published client, unmodified, as a sender of events."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import openmeter
import pytest
from corehttp.exceptions import ClientAuthenticationError, HttpResponseError, ResourceExistsError
from openmeter.models import Event
from tests.control.test_app import issued
from tests.control.test_events import event, ready, send

from interlock.testing.control_process import ControlProcess

PATH = "/api/v1/events"


@pytest.fixture(scope="module")
def key(control: ControlProcess) -> str:
    ready(control)
    return str(issued(control, scopes=["events:write"])["secret"])


@pytest.fixture
def client(control: ControlProcess, key: str) -> Iterator[openmeter.Client]:
    with openmeter.Client(endpoint=f"http://127.0.0.1:{control.api_port}", token=key, retry_total=0) as client:
        yield client


def made(id: str, tokens: int = 7, specversion: str = "1.0") -> Event:
    return Event(
        id=id,
        source="app/eu",
        specversion=specversion,
        type="tokens",
        subject="customer-1",
        time=datetime(2026, 1, 5, 10, tzinfo=UTC),
        data={"tokens": tokens},
    )


def test_one_and_many_and_again(control: ControlProcess, key: str, client: openmeter.Client) -> None:
    client.events.ingest_event(made("om1"))
    client.events.ingest_events([made("om1"), made("om2"), made("om3")])
    answer = send(control, key, [event(f"om{n}", data={"tokens": 7}) for n in (1, 2, 3)])
    assert answer.json()["counts"] == {"duplicate": 3}  # the same events by either door


def test_a_changed_event_is_told(client: openmeter.Client) -> None:
    client.events.ingest_event(made("om-changed"))
    with pytest.raises(ResourceExistsError):
        client.events.ingest_event(made("om-changed", 8))


def test_the_good_half_counts_and_the_bad_half_is_named(
    control: ControlProcess, key: str, client: openmeter.Client
) -> None:
    with pytest.raises(HttpResponseError) as caught:
        client.events.ingest_events([made("om-good"), made("om-bad", specversion="0.3")])
    assert caught.value.response is not None and caught.value.response.status_code == 400
    problem = control.ask(
        "POST",
        PATH,
        msgspec.json.encode([event("om-good"), event("om-bad", specversion="0.3")]),
        key=key,
        port=control.api_port,
    )
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["detail"].startswith("1 of 2 events are counted: [1] invalid_request: specversion must ")
    assert send(control, key, [event("om-good", data={"tokens": 7})]).json()["counts"] == {"duplicate": 1}


def test_a_key_that_is_not_let_in(control: ControlProcess) -> None:
    url = f"http://127.0.0.1:{control.api_port}"
    for secret, error in (
        ("ilk_" + "x" * 43, ClientAuthenticationError),
        (issued(control)["secret"], HttpResponseError),
    ):
        with openmeter.Client(endpoint=url, token=secret, retry_total=0) as client, pytest.raises(error):
            client.events.ingest_event(made("om-x"))


@pytest.mark.parametrize(("body", "status"), [(b"{}", 400), (b"[]", 204), (b"[", 400), (b"null", 400), (b"", 400)])
def test_plain_json(control: ControlProcess, key: str, body: bytes, status: int) -> None:
    assert control.ask("POST", PATH, body, key=key, port=control.api_port).status == status


def test_a_conflict_beside_a_mistake_is_a_mistake(control: ControlProcess, key: str) -> None:
    control.ask("POST", PATH, [event("om-mixed")], key=key, port=control.api_port)
    changed = event("om-mixed", data={"tokens": 8})
    for body, status in (([changed], 409), ([changed, {}], 400)):
        assert control.ask("POST", PATH, body, key=key, port=control.api_port).status == status


def test_many_problems_are_not_all_told(control: ControlProcess, key: str) -> None:
    answer = control.ask("POST", PATH, [1] * 20, key=key, port=control.api_port)
    assert answer.status == 400 and answer.json()["detail"].endswith("; and 15 more")
