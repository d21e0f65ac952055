"""Cells whose connection is to end before the files are there."""

from interop.runner.outcome import Outcome


def test_how_the_client_ends() -> None:
    """Any status will do, but not a crash; what it does not support it says as ever."""
    for status in (0, 1, 127, None):
        assert Outcome(client=status, ends_early=True).explained(60.0).problem == ""
    assert Outcome(client=-11, ends_early=True).explained(60.0).problem == "client: ended with -11"
