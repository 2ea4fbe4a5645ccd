"""A session's events as a person reads them, or as JSON lines. What agents and models wrote is shown, never obeyed."""

import shlex
from typing import Any

import msgspec

from interlock.cli.output import safe
from interlock.client import Refused, Session

RESULT_LINES_MAX = 12
ARGUMENTS_CHARS_MAX = 300
NO_TOOLS = """  an agent's model needs capabilities = ["tools"] of its deployment (with constrained = true: ["schema"]);
  name one with --model, add one to interlock.toml, or run a program of yours with --program"""
MORE = "  (it is used up: `interlock sessions budget SESSION` allows more, and it goes on)"
OF_PROGRAMS = ("program_failed", "budget_exceeded")
"""Codes of a run that failed, rather than a model call."""


def agent_line(agent: dict[str, Any]) -> str:
    """Who works on it: a program names its models itself."""
    who = f"program {shlex.join(agent['program'])}" if agent.get("program") else f"model {agent['model']}"
    return f"{who}, mode {agent['mode']}, {agent['hands']}"


class Watch:
    """Where events are told: standard output; JSON is one object a line."""

    def __init__(self, format: str, *, answers: bool, numbered: bool = False) -> None:
        """
        Args:
            answers: a person is here who can be asked.
            numbered: each event's number stands before its first line, and nothing before the others'.
        """
        self._json = format == "json"
        self._numbered, self._before = numbered, ""
        self._answers = answers
        self._words = ""
        """What was shown of the model's answer as it came; it is not shown again when it is whole."""
        self._printed = ""
        """What was shown of a program's standard output: its answer is the end of it."""
        self._calls: dict[str, str] = {}
        """What the model asked for, by call, for when it begins."""

    def tell(self, event: dict[str, Any]) -> None:
        """Show one event; those that only matter to proofs are shown in JSON alone."""
        if self._json:
            print(msgspec.json.encode(event).decode(), flush=True)
            return
        self._before = f"{event['seq']:>5}  " if self._numbered else ""
        show = getattr(self, f"_{event['type'].replace('.', '_')}", None)
        if show is not None:
            show(event)

    def ask(self, session: Session, event: dict[str, Any]) -> None:
        """Ask the person at the terminal; anything but a clear yes or no leaves the question open."""
        if event["call_id"] not in self._calls:  # the call stands before what is watched
            for one in session.show()["approvals"]:
                if one["approval"] == event["approval"]:
                    self._say(f"  {one['tool']} {one['arguments']}")
        try:
            word = input("  allow it? [y/n, Enter: later] ").strip().lower()
        except EOFError:
            word = ""
        if word not in ("y", "yes", "n", "no"):
            self.hint(session.id)
            return
        answer = session.approve if word[0] == "y" else session.deny
        try:
            answer(event["approval"], event["arguments_sha256"])
        except Refused as error:  # somebody else was faster, or it expired
            self._say(f"  {error.message}")

    def hint(self, session: str) -> None:
        """How to answer from elsewhere."""
        if not self._json:
            self._say(f"  it waits: interlock approve {session}, or interlock deny {session}")

    def _say(self, line: str) -> None:
        inner = " " * len(self._before)
        print(self._before + safe(line.expandtabs()).replace("\n", f"\n{inner}"), flush=True)
        self._before = inner

    def _session_created(self, event: dict[str, Any]) -> None:
        self._say(agent_line(event["agent"]))

    def _user_said(self, event: dict[str, Any]) -> None:
        self._say(f"> {event['text']}")

    def _delta(self, event: dict[str, Any]) -> None:
        if event.get("of") == "text":
            self._words += event["text"]
            print(safe(event["text"]), end="", flush=True)

    def _model_answered(self, event: dict[str, Any]) -> None:
        text = "".join(part["text"] for part in event["parts"] if part["type"] == "text")
        for part in event["parts"]:
            if part["type"] == "call":
                self._calls[part["id"]] = f"{part['name']} {part['arguments']}"
        if self._words:
            print(flush=True)
            shown, self._words = self._words, ""
            if shown.strip() == text.strip():
                return
        printed, self._printed = self._printed, ""
        if text and not printed.rstrip().endswith(f"\n{text.strip()}"):
            self._say(text)

    def _model_failed(self, event: dict[str, Any]) -> None:
        self._words = ""
        again = "; it tries again" if event.get("retry_at_ns") else ""
        what = "the program" if event["code"] in OF_PROGRAMS else "the model's call"
        self._say(f"! {what} failed: {event['message']} [{event['code']}]{again}")
        if event["code"] == "no_candidate" and ("tools" in event["message"] or "schema" in event["message"]):
            self._say(NO_TOOLS)

    def _approval_asked(self, event: dict[str, Any]) -> None:
        # All of it, however long: a person answers for exactly these arguments.
        call = self._calls.get(event["call_id"], event["tool"])
        self._say(f"? asks for {call}")
        self._say(f"  because: {event.get('why', '')}; approval {event['approval']}")

    def _approval_answered(self, event: dict[str, Any]) -> None:
        self._say(f"  {'approved' if event['approved'] else 'denied'} by {event['by']}")

    def _approval_expired(self, event: dict[str, Any]) -> None:
        self._say("  nobody answered in time")

    def _tool_started(self, event: dict[str, Any]) -> None:
        again = f" (attempt {event['attempt']})" if event["attempt"] > 1 else ""
        call = self._calls.get(event["call_id"], event["call_id"])[:ARGUMENTS_CHARS_MAX]
        self._say(f"* {call}{again}")

    def _tool_finished(self, event: dict[str, Any]) -> None:
        content = event["content"]
        text = content.get("text", content.get("head", ""))
        lines = text.rstrip("\n").splitlines()
        for line in lines[:RESULT_LINES_MAX]:
            self._say(f"  {line}")
        if len(lines) > RESULT_LINES_MAX or "sha256" in content:
            more = f"{content['bytes']:,} bytes in all" if "sha256" in content else f"{len(lines)} lines"
            self._say(f"  … ({more})")
        if event["outcome"] != "ok":
            self._say(f"  ({event['outcome']})")

    def _context_cut(self, event: dict[str, Any]) -> None:
        why = f", no summary: {event['why']}" if event.get("why") else ""
        self._say(f"  (the model is shown what comes after event {event['before_seq']}: {event['kind']}{why})")

    def _brain_noted(self, event: dict[str, Any]) -> None:
        of_program = event.get("data", {}).get("stream") == "stdout"
        if of_program:
            self._printed = (self._printed or "\n") + event["text"] + "\n"
        for line in event["text"].split("\n"):
            self._say(line if of_program else f"  {line}")

    def _turn_ended(self, event: dict[str, Any]) -> None:
        self._printed = ""
        detail = f": {event['detail']}" if event.get("detail") else ""
        self._say(f"{event['reason']}{detail}")
        if event["reason"] == "budget":
            self._say(MORE)
