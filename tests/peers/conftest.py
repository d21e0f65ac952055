"""Fixtures for the tests against other stacks."""

import datetime as dt

import pytest

from endpoint.testing.certificates import Chain, make_chain


@pytest.fixture(scope="session")
def other_chain(valid_from: dt.datetime) -> Chain:
    """A chain under a root of its own."""
    return make_chain(valid_from)
