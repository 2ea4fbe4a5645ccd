"""`interlock local`: fetch the model, or serve it alone, in the foreground."""

import os
import sys
from typing import Any

from interlock.cli.client import data_dir
from interlock.cli.output import say, say_json


def fetch(args: Any) -> int:
    """The path of the model on stdout."""
    from interlock import local

    root = data_dir(args)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = local.fetch(root)
    if args.format == "json":
        say_json({"path": str(path)})
    else:
        say(str(path))
    return 0


def serve(args: Any) -> int:
    """Become `python -m interlock.local`: signals and the exit status are then its own."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "interlock.local", *args.rest])  # noqa: S606 - no shell is the point
