from collections.abc import Iterator
from pathlib import Path

import pytest
from image.runner import Pair, containers


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with containers(tmp_path) as both:
        yield both
