"""[runtime]: the agents' sessions of this machine."""

from pathlib import Path
from typing import Literal, cast

from interlock.config.reading import Table
from interlock.runtime.settings import RuntimeSettings

HANDS = ("bubblewrap", "gvisor", "process")
SYNC = ("process", "power")
READ_MAX = 16
OWN = ("dev", "proc", "run", "sys", "tmp", "workspace")
"""Below / a sandbox has these of its own: what is put there is not seen."""
READ_RULE = "the absolute path of a directory that is there, not / itself, nor below " + ", ".join(
    f"/{name}" for name in OWN
)
BRAINS_MAX, DAYS_MAX = 1024, 3650


def read_runtime(table: Table) -> RuntimeSettings:
    """The section, complete."""
    default = RuntimeSettings()
    rule = "bubblewrap, gvisor or process"
    hands = table.strings("hands", rule=rule, check=HANDS.__contains__, close=HANDS, most=len(HANDS))
    sync = table.choice("sync", default.sync, SYNC)
    value = RuntimeSettings(
        enabled=table.flag("enabled", default.enabled) is not False,
        hands=hands or default.hands,
        read=table.strings("read", rule=READ_RULE, check=_is_readable, most=READ_MAX) or (),
        sync=cast(Literal["process", "power"], sync),
        brains=table.integer("brains", default.brains, 1, BRAINS_MAX, "sessions") or default.brains,
        idle_days=table.integer("idle_days", default.idle_days, 1, DAYS_MAX, "days") or default.idle_days,
    )
    table.done()
    return value


def _is_readable(text: str) -> bool:
    path = Path(text)
    try:
        return (
            path.is_absolute()
            and len(path.parts) > 1
            and path.parts[1] not in OWN
            and ".." not in path.parts
            and path.is_dir()
        )
    except (OSError, ValueError):
        return False
