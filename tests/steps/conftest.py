"""The faces a step is asked through."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.steps.asking import FACES, Face


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """A loop that outlives each call."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    """Each of the faces."""
    return Face(request.param, runner)
