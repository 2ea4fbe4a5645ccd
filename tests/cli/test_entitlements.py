"""What `interlock entitlements` shows of a plan that says more than a line has room for."""

from types import SimpleNamespace
from typing import Any

import pytest

from interlock.cli import entitlements


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **more: Any) -> str:
    one = {"tenant": "acme", "plan": "gold", "version": 1, "since": "s", "models": None, "features": {}, "limits": []}
    found = {"entitlements": [one | more], "more": 0}
    monkeypatch.setattr(entitlements, "call", lambda *_, **__: found)
    assert entitlements.show(SimpleNamespace(tenant=None, format="table")) == 0
    return capsys.readouterr().out


def test_a_line_has_room_for_some(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    models = [f"model-{number}-" + "x" * 20 for number in range(256)]
    features = {"off": False} | {f"feature-{number}": "y" * 200 for number in range(64)}
    said = shown(monkeypatch, capsys, models=models, features=features)
    assert f"gold        1  s      {models[0]} {models[1]} … and 254 more  feature-0=yyy" in said
    assert said.rstrip().endswith("y … and 63 more") and max(map(len, said.splitlines())) < 250


@pytest.mark.parametrize(
    ("models", "word"),
    [(None, "all"), ([], "none"), (["a", "b*"], "a b*"), (["z" * 60, "b"], "z" * 60 + " … and 1 more")],
)
def test_few_are_all_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], models: list[str] | None, word: str
) -> None:
    said = shown(monkeypatch, capsys, models=models, features={"sso": True, "off": False, "help": "mail"})
    assert f"  {word}  " in said and said.rstrip().endswith("sso, help=mail")
