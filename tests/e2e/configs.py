"""Configuration files for these tests, and journals read back."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from interlock.ledger import Opened, Settled
from interlock.log.reader import JournalReader


def scripted(
    path: Path, port: int, *, tier: str = "main", base_url: str = "", deployment: str = "", more: str = ""
) -> Path:
    """Write a configuration with one deployment, `scripted`, at a port of this machine.

    Args:
        deployment: more lines of the deployment.
        more: more sections.
    """
    path.write_text(
        f'default_tier = "{tier}"\n\n'
        f'[deployments.scripted]\nprovider = "scripted"\nbase_url = "{base_url or f"http://127.0.0.1:{port}/v1"}"\n'
        'model = "model-0"\nformats = ["chat", "responses", "messages"]\n'
        f'price = {{ input = "1", output = "2" }}\n{deployment}\n'
        f'[tiers]\n{tier} = ["scripted"]\n\n{more}'
    )
    return path


class Journals:
    """Every record of a data directory's usage streams."""

    def __init__(self, root: Path) -> None:
        self.opened: dict[str, Opened] = {}
        """By attempt, `request_id/n`."""
        self.opened_twice: list[str] = []
        self.settled: dict[str, list[Settled]] = {}
        reader = JournalReader(root)
        for stream in sorted(path.name for path in (root / "usage").iterdir()):
            for stored in reader.scan(f"usage/{stream}"):
                self._take(stored.record.type, stored.record.payload)

    def _take(self, type: str, payload: bytes) -> None:
        if type == "usage.opened":
            opened = msgspec.json.decode(payload, type=Opened)
            attempt = f"{opened.request_id}/{opened.attempt}"
            if attempt in self.opened:
                self.opened_twice.append(attempt)
            self.opened[attempt] = opened
        elif type == "usage.settled":
            settled = msgspec.json.decode(payload, type=Settled)
            self.settled.setdefault(f"{settled.request_id}/{settled.attempt}", []).append(settled)

    @property
    def open(self) -> list[str]:
        """Attempts that nothing settled."""
        return [attempt for attempt in self.opened if attempt not in self.settled]

    def check(self) -> None:
        """Every attempt was opened once and settled once, and nothing else was settled."""
        assert self.opened_twice == []
        assert self.open == [], "opened, never settled"
        assert [a for a, found in self.settled.items() if len(found) > 1] == [], "settled more than once"
        assert [a for a in self.settled if a not in self.opened] == [], "settled, never opened"


def three_formats(path: Path, port: int, *, tiers: Mapping[str, list[str]] | None = None, more: str = "") -> Path:
    """Write a configuration with three deployments at a port: `to-chat`, `to-responses` and `to-messages`.

    Each speaks one format, and is of the family that speaks it at home. Other tiers and sections may be added.
    """
    models = {"chat": "gpt-5.2", "responses": "gpt-5.2", "messages": "claude-opus-4-5"}
    lines = ['default_tier = "all"', "", "[tiers]", f"all = {[f'to-{format}' for format in models]}"]
    lines += [f"{name} = {deployments}" for name, deployments in (tiers or {}).items()]
    for format, model in models.items():
        lines += ["", f"[deployments.to-{format}]", 'provider = "scripted"', f'formats = ["{format}"]']
        lines += [f'model = "{model}"', f'base_url = "http://127.0.0.1:{port}/v1"']
        lines += ['capabilities = ["tools", "images", "reasoning", "schema"]']
        lines += ['price = { input = "5", cache_read = "0.5", cache_write = "6.25", output = "25" }']
    path.write_text("\n".join([*lines, "", more]))
    return path
