from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from image.runner import Container, Pair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        client = stack.enter_context(Container(tmp_path / "client", "client"))
        server = stack.enter_context(Container(tmp_path / "server", "server"))
        yield Pair(client, server)
