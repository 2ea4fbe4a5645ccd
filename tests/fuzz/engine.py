"""The process that libFuzzer takes over: instruments the package, then feeds it inputs until its time is over."""

import importlib
import sys


def main() -> None:
    """`TARGET [libFuzzer's options] [directories]`; does not return."""
    atheris = importlib.import_module("atheris")  # not a dependency of the tests
    with atheris.instrument_imports(include=["interlock"]):
        targets = importlib.import_module("tests.fuzz.targets")
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
