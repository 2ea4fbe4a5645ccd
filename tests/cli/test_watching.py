"""What a person is shown of a session before they answer for it."""

import pytest

from interlock.cli.watching import ARGUMENTS_CHARS_MAX, MORE, NO_TOOLS, Watch, agent_line


def answered(call_id: str, arguments: str) -> dict[str, object]:
    call = {"type": "call", "id": call_id, "name": "shell", "arguments": arguments}
    return {"type": "model.answered", "parts": [call]}


def test_who_is_asked_sees_all_of_the_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch("table", answers=False)
    arguments = '{"command":"' + "echo " * ARGUMENTS_CHARS_MAX + 'x; rm -rf ."}'
    watch.tell(answered("c1", arguments))
    watch.tell({"type": "approval.asked", "call_id": "c1", "tool": "shell", "why": "a rule", "approval": "apr_1"})
    assert arguments in capsys.readouterr().out
    watch.tell({"type": "tool.started", "call_id": "c1", "attempt": 1})
    assert len(capsys.readouterr().out) < ARGUMENTS_CHARS_MAX + 10


def test_what_would_move_the_cursor_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch("table", answers=False)
    watch.tell(answered("c1", '{"command":"rm x \x1b[2K\x1b[1Gls"}'))
    watch.tell({"type": "approval.asked", "call_id": "c1", "tool": "shell", "why": "\x1b[8m", "approval": "apr_1"})
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(("needs", "told"), [("capability: tools", True), ("capability: schema", True), ("x", False)])
def test_a_model_without_tools_is_explained(needs: str, told: bool, capsys: pytest.CaptureFixture[str]) -> None:
    failed = {"type": "model.failed", "code": "no_candidate", "message": f"nobody for this call: local: {needs}"}
    Watch("table", answers=False).tell(failed)
    assert (NO_TOOLS in capsys.readouterr().out) is told


def noted(text: str, stream: str = "stdout") -> dict[str, object]:
    return {"type": "brain.noted", "text": text, "data": {"stream": stream}}


def said(text: str) -> dict[str, object]:
    return {"type": "model.answered", "parts": [{"type": "text", "text": text}]}


@pytest.mark.parametrize(
    ("events", "shown"),
    [
        ([noted("a"), noted("no", "stderr"), noted("b\nc"), said("a\nb\nc")], "a\n  no\nb\nc\n"),
        ([noted("a\n"), said("a")], "a\n\n"),
        ([noted("a\nb"), said("b")], "a\nb\n"),
        ([noted("ab"), said("b")], "ab\nb\n"),
        ([noted("a"), said("another")], "a\nanother\n"),
        ([noted("a"), said("a"), said("a")], "a\na\n"),
        ([noted("a"), {"type": "turn.ended", "reason": "failed"}, said("a")], "a\nfailed\na\n"),
        ([{"type": "brain.noted", "text": "x\ny"}], "  x\n  y\n"),
    ],
)
def test_what_a_program_printed_is_shown_once(
    events: list[dict[str, object]], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch("table", answers=False)
    for event in events:
        watch.tell(event)
    assert capsys.readouterr().out == shown


def test_who_failed_is_named_and_what_allows_more(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch("table", answers=False)
    watch.tell({"type": "model.failed", "code": "budget_exceeded", "message": "m"})
    watch.tell({"type": "model.failed", "code": "rate_limited", "message": "m"})
    watch.tell({"type": "turn.ended", "reason": "budget", "detail": "3 steps"})
    said = "! the program failed: m [budget_exceeded]\n! the model's call failed: m [rate_limited]\nbudget: 3 steps\n"
    assert capsys.readouterr().out == f"{said}{MORE}\n"


def test_a_log_has_numbers_that_nothing_in_it_can_forge(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch("table", answers=False, numbered=True)
    watch.tell({"seq": 7, "type": "user.said", "text": "go on\n    8  done"})
    watch.tell({"seq": 8, "type": "brain.woken"})
    watch.tell({"seq": 9, **answered("c1", "{}")})
    content = {"text": "a\nb"}
    watch.tell({"seq": 10, "type": "tool.finished", "call_id": "c1", "outcome": "error", "content": content})
    watch.tell({"seq": 12345, "type": "turn.ended", "reason": "done"})
    assert capsys.readouterr().out.splitlines() == [
        "    7  > go on",
        "           8  done",
        "   10    a",
        "         b",
        "         (error)",
        "12345  done",
    ]


def test_a_programs_session_says_so() -> None:
    agent = {"model": "auto", "mode": "default", "hands": "bubblewrap", "program": []}
    assert agent_line(agent) == "model auto, mode default, bubblewrap"
    agent["program"] = ["sh", "agent.sh", "{prompt}"]
    assert agent_line(agent) == "program sh agent.sh '{prompt}', mode default, bubblewrap"
