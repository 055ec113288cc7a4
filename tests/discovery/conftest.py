"""For every test of a discovery."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)
