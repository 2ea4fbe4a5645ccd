"""The door's process, before it serves."""

import os
import resource
import subprocess
import sys

import pytest

from interlock.wiring.door import OPEN_FILES


@pytest.mark.parametrize(("hard", "wanted"), [(512, 512), (OPEN_FILES + 1, OPEN_FILES)])
def test_it_has_descriptors_for_all_connections(hard: int, wanted: int) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY:
        hard, wanted = min(hard, most), min(wanted, most)
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))
from interlock.wiring import door
door.open_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    said = subprocess.run([sys.executable, "-c", script], env=dict(os.environ), capture_output=True, check=True)
    assert said.stdout.split() == [str(wanted).encode(), str(hard).encode()]
