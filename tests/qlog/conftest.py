"""The scenario whose traces are tested."""

import datetime as dt
from pathlib import Path

import pytest
from qlog_emitted import Traced

from endpoint.testing.certificates import Chain
from endpoint.testing.scenario import Scenario


@pytest.fixture
def traced(chain: Chain, valid_from: dt.datetime, seed: int, tmp_path: Path) -> Traced:
    scenario = Scenario(chain=chain, wall_time=valid_from.timestamp() + 3600, seed=seed)
    return Traced(scenario, tmp_path / "traces")
