"""Brains with a planted bug: a module of the brain's is loaded anew with one piece of its text replaced."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType

_FRESH = ("interlock.runtime.brain", "tests.sim.brain", "tests.sim.test_brain")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module as usual, and loads it with its text changed."""

    def __init__(self, module: str, old: str, new: str) -> None:
        self._module, self._old, self._new = module, old, new
        self.used = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None and spec.origin is not None
        text = Path(spec.origin).read_text()
        assert text.count(self._old) == 1, f"{self._old!r} is {text.count(self._old)} times in {fullname}"
        self.used = True
        spec.loader = _Loader(fullname, spec.origin, text.replace(self._old, self._new))
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self.path, "exec")


@contextmanager
def planted(module: str, old: str, new: str) -> Iterator[ModuleType]:
    """`tests.sim.test_brain` over a brain whose `module` says `new` where it said `old`."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith(_FRESH)}
    finder = _Finder(f"interlock.runtime.brain.{module}", old, new)
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module("tests.sim.test_brain")
        assert finder.used
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.startswith(_FRESH)]:
            del sys.modules[name]
        sys.modules.update(kept)
        for name, fresh in kept.items():  # `import a.b` also sets `b` on `a`
            package, _, last = name.rpartition(".")
            if package in sys.modules:
                setattr(sys.modules[package], last, fresh)
