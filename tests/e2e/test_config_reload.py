"""A configuration with mistakes never replaces a good one; a good one is gone over to with no failed request."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.calls import call
from tests.e2e.configs import scripted
from tests.e2e.server import Server, run_cli, running, until
from tests.e2e.upstream import Upstream, upstream

FIVE = """\
default_tier = "mian"

[deployments.scripted]
provider = "scripted"
base_url = "ftp://127.0.0.1/v1"
model = "model-0"
capabilities = ["tols"]
credential = "sk-live-1234567890"

[tiers]
main = ["scripted"]

[[rules]]
name = "chores"
when = { choer = true }
tier = "main"
"""
MISTAKES = (
    ("default_tier", 'did you mean "main"?'),
    ("deployments.scripted.base_url", "http"),
    ("deployments.scripted.capabilities", 'did you mean "tools"?'),
    ("deployments.scripted.credential", "env"),
    ("rules", '"chore"'),
)


class Traffic:
    """Calls without a pause from a thread of its own; what each came to."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.tiers: list[str] = []
        self.failed: list[str] = []

    def _run(self) -> None:
        key, number = self._server.admin, 0
        while not self._stop.is_set():
            number += 1
            try:
                answer = call(self._server.port, key, f"traffic-{number}", stream=number % 2 == 0)
            except Exception as error:
                self.failed.append(repr(error))
                return
            if answer.status != 200 or not answer.complete:
                self.failed.append(f"{answer.status} {answer.body!r}")
            self.tiers.append(answer.headers.get("x-interlock-tier", ""))

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def next_tier(self) -> str:
        """Of a call that began after this one was asked."""
        count = len(self.tiers)
        until(lambda: len(self.tiers) >= count + 2 or self.failed, "traffic goes on")
        assert not self.failed, self.failed
        return self.tiers[-1]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Server, Upstream, Path]]:
    config = tmp_path / "interlock.toml"
    with upstream(tmp_path / "upstream") as provider:
        scripted(config, provider.port)
        with running(tmp_path / "data", config=config, workers=2) as server:
            yield server, provider, config


def put(config: Path, text: str) -> None:
    """Replace the file as an editor does."""
    beside = config.with_suffix(".new")
    beside.write_text(text)
    beside.replace(config)


def text(config: Path, provider: Upstream, **options: str) -> str:
    """A good configuration."""
    beside = config.with_suffix(".text")
    scripted(beside, provider.port, **options)
    return beside.read_text()


def rejected(server: Server) -> bool:
    """Whether the file in place has mistakes, as the server sees it."""
    done = server.cli("status", "--format", "json")
    return '"config_rejected": true' in done.stdout


def check_errors(said: str, config: Path) -> None:
    """One line a mistake, in the order of the file, each with its key and what would be right."""
    errors = [line for line in said.splitlines() if line.removeprefix("interlock: ").startswith(f"{config}:")]
    errors = [line for line in errors if not line.endswith(" mistakes [config_invalid]")]
    assert len(errors) == len(MISTAKES), said
    for (key, right), line in zip(MISTAKES, errors, strict=True):
        assert key in line and right in line, line


def test_five_mistakes_are_five_clear_errors(tmp_path: Path) -> None:
    (tmp_path / "interlock.toml").write_text(FIVE)
    done = run_cli("config", "check", str(tmp_path / "interlock.toml"))
    assert done.returncode == 1
    check_errors(done.stderr, tmp_path / "interlock.toml")
    assert "sk-live" not in done.stderr + done.stdout


def test_a_server_does_not_start_on_mistakes(tmp_path: Path) -> None:
    (tmp_path / "interlock.toml").write_text(FIVE)
    config, data = tmp_path / "interlock.toml", tmp_path / "data"
    done = run_cli("serve", "--data", str(data), "--config", str(config), seconds=20)
    assert done.returncode == 1
    check_errors(done.stderr, config)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("signalled", [True, False], ids=["SIGHUP", "watched"])
def test_the_old_one_goes_on_and_a_good_one_is_adopted(place: tuple[Server, Upstream, Path], signalled: bool) -> None:
    server, provider, config = place

    def told() -> None:
        if signalled:
            server.process.send_signal(signal.SIGHUP)

    with Traffic(server) as traffic:
        assert traffic.next_tier() == "main"
        put(config, FIVE)
        told()
        until(lambda: rejected(server), "the mistakes are seen")
        assert traffic.next_tier() == "main"
        put(config, text(config, provider, tier="other"))
        told()
        until(lambda: traffic.next_tier() == "other", "the good file is adopted")
        assert not rejected(server)
    assert not traffic.failed
    change = traffic.tiers.index("other")
    assert set(traffic.tiers) == {"main", "other"} and set(traffic.tiers[:change]) == {"main"}


def test_sighup_loads_a_file_that_did_not_change(place: tuple[Server, Upstream, Path], tmp_path: Path) -> None:
    """What made it wrong stood elsewhere, so the watch alone would see nothing new."""
    server, provider, config = place
    put(config, text(config, provider, tier="other", deployment='ca_bundle = "authorities.pem"'))
    until(lambda: rejected(server), "the missing file is seen")
    assert call(server.port, server.admin, "a").headers["x-interlock-tier"] == "main"
    authorities = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
    (tmp_path / "authorities.pem").write_bytes(authorities.read_bytes())
    server.process.send_signal(signal.SIGHUP)
    until(lambda: call(server.port, server.admin, "b").headers["x-interlock-tier"] == "other", "it is adopted")


def test_a_call_that_runs_ends_under_the_policy_it_began_with(place: tuple[Server, Upstream, Path]) -> None:
    server, provider, config = place
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(call(server.port, server.admin, "held-1", "messages", stream=True))
    )
    thread.start()
    provider.wait_for("held-1")
    put(config, text(config, provider, tier="other"))
    until(lambda: call(server.port, server.admin, "c").headers["x-interlock-tier"] == "other", "it is adopted")
    provider.gate.touch()
    thread.join(10)
    (answer,) = answers
    assert answer.complete and b"message_stop" in answer.body and answer.headers["x-interlock-tier"] == "main"
