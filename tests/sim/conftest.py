"""How the scenarios make a pair."""

import datetime as dt

import pytest

from endpoint.testing.certificates import Chain
from endpoint.testing.scenario import Scenario


@pytest.fixture
def scenario(chain: Chain, valid_from: dt.datetime, seed: int) -> Scenario:
    """The defaults of every scenario: the interop runner's base network."""
    return Scenario(chain=chain, wall_time=valid_from.timestamp() + 3600, seed=seed)
