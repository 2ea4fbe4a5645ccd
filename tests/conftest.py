"""Fixtures that every directory of tests may use."""

import functools
from collections.abc import Callable

import pytest

from interlock.testing.loops import LOOPS, run_on


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[..., object]:
    """`run(main)`: the result of the coroutine function `main`, once on asyncio's debug loop and once on uvloop."""
    return functools.partial(run_on, request.param)
