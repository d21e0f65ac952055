import os
from collections.abc import Iterator

import pytest

from interop.simnet import netns


@pytest.fixture(scope="session")
def hosts() -> Iterator[tuple[netns.Host, netns.Host]]:
    """The client's and the server's host. If they can't be made, that fails in CI and skips elsewhere."""
    reason = netns.missing()
    if reason:
        assert os.environ.get("CI") != "true", f"{reason}: in CI the contract has to be checked"
        pytest.skip(f"{reason}: THE INTEROP CONTRACT IS NOT CHECKED")
    with netns.hosts() as both:
        yield both
