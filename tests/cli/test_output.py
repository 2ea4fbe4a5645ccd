"""Documents for programs: as they are in a pipe, and not obeyed by a terminal."""

import sys

import pytest

from interlock.cli import output
from interlock.cli.output import Column, say_csv, say_whole, table

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


def test_a_table_fits_the_terminal_and_is_whole_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [Column("session"), Column("tokens", right=True), Column("title")]
    rows = [["ses_" + "4f716f143ed82f14" * 2, "123,456", "What a person wrote, at some length"], ["-", "1", "-"]]
    whole = table(columns, rows)
    assert max(map(len, whole)) == 82
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for width, fits in ((120, 82), (82, 82), (80, 80), (50, 50), (10, 8 + 2 + 7 + 2 + 8), (0, 82)):
        monkeypatch.setenv("COLUMNS", str(width))
        output.tell_shortened.cache_clear()
        shown = table(columns, rows)
        assert max(map(len, shown)) == fits
        assert (shown == whole) == (fits == 82)
        assert "123,456" in shown[1] and [len(line.split("  ")) > 1 for line in shown] == [True] * 3
        assert ("--format json has it whole" in capsys.readouterr().err) == (fits < 82)
    monkeypatch.setenv("COLUMNS", "50")
    assert table(columns, rows)[1] == "ses_4f716f143ed82f144f716f143e…  123,456  What a …"
    table(columns, rows)
    assert capsys.readouterr().err.count("\n") <= 1
