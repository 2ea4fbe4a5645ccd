"""Fixtures that every directory of tests may use."""

import functools
import gc
from collections.abc import Callable

import hypothesis
import pytest
from tests.examples import EXAMPLES, SOAKING

from interlock.testing.loops import LOOPS, run_on

hypothesis.settings.register_profile(
    "interlock",
    deadline=None,  # it is wall time
    max_examples=EXAMPLES,
    derandomize=not SOAKING,  # what is tried is the same on every machine, and in a soak new each time
)
hypothesis.settings.load_profile("interlock")


def pytest_collection_finish() -> None:
    """The collector passes over what was imported: walking thousands of tests took as long as a blocking call does."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[..., object]:
    """`run(main)`: the result of the coroutine function `main`, once on asyncio's debug loop and once on uvloop."""
    return functools.partial(run_on, request.param)
