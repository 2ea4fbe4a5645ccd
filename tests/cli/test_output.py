"""Documents for programs: as they are in a pipe, and not obeyed by a terminal."""

import sys

import pytest

from interlock.cli.output import say_csv, say_whole

HOSTILE = "\x1b]0;owned\x07\u202etxt"


@pytest.mark.parametrize("watched", [True, False])
def test_what_clients_named_is_not_obeyed_by_a_terminal(
    watched: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: watched)
    say_csv(("model", "cost"), [{"model": HOSTILE, "cost": 1}])
    say_whole(f"{HOSTILE}\r\n")
    shown = "\\x1b]0;owned\\x07\\u202etxt"
    wanted = f"model,cost\n{shown},1\n{shown}\n" if watched else f"model,cost\n{HOSTILE},1\n{HOSTILE}\r\n"
    assert capsys.readouterr().out == wanted
