"""`interlock doctor`, on this machine."""

from typing import Any

import msgspec
import pytest

from interlock.cli import main


def test_people_see_what_can_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "bubblewrap  namespace  usable" in said and "landlock" in said
    assert "tool servers that are programs run in bubblewrap: yes" in said


def test_scripts_see_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--format", "json"]) == 0
    report: dict[str, Any] = msgspec.json.decode(capsys.readouterr().out)
    kinds = {kind["name"]: kind for kind in report["kinds"]}
    assert kinds["bubblewrap"]["usable"] and kinds["bubblewrap"]["command_ms"] > 0
    assert kinds["gvisor"]["usable"] and kinds["gvisor"]["strength"] == "kernel"
    assert {fact["name"] for fact in report["machine"]} > {"seccomp", "/dev/kvm"}


def test_where_nothing_contains_anything_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "bubblewrap  namespace  cannot be had" in said and "apt-get install bubblewrap" in said
    assert "tool servers that are programs run in bubblewrap: not here" in said
    assert "gvisor      kernel     cannot be had" in said and "deploy/gvisor.sh" in said
