"""The command line: parse, run one command, turn every failure into one line and a status.

0: done. 1: it failed, or it found something wrong. 2: wrong usage. 130: interrupted. 141: nobody reads the output.
Modules of commands are imported only when they run, so that `--help` stays quick.
"""

import os
import sys
from collections.abc import Sequence

from interlock.cli.parser import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status."""
    if sys.stdout is None:  # it was closed: nobody reads
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        args = parse(argv)
        status = _run(args.run, args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The interpreter flushes stdout once more as it ends, and that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(place: str, args: object) -> int:
    """Call `module:function` with the arguments."""
    from importlib import import_module

    from interlock.cli.output import complain
    from interlock.errors import ConfigError, InterlockError

    module, _, function = place.partition(":")
    try:
        status: int = getattr(import_module(f"interlock.cli.{module}"), function)(args)
        return status
    except ConfigError as error:
        complain(*error.problems[:-1], f"{error.problems[-1]} [{error.code}]")
        return 1
    except InterlockError as error:
        wrong = error.code == "invalid_request"
        place = f" ({error.field})" if wrong and error.field and error.field not in error.message else ""
        complain(f"{error.message}{place} [{error.code}]")
        return 2 if wrong else 1
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ") + f" [{_code(error)}]")
        return 1


def _code(error: OSError) -> str:
    """Of a file that was named, whichever command it is named to."""
    known = {FileNotFoundError: "not_found", FileExistsError: "conflict"}
    return known.get(type(error), "file_unusable")
