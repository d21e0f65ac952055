"""The anti-amplification limit of a path, and the answers that wait on it (RFC 9000 §8)."""

from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS
from endpoint.transport.paths import MAX_PATH_RESPONSES, Path


def test_three_times_what_came() -> None:
    path = Path(CLIENT_ADDRESS, SERVER_ADDRESS, validated=False)
    assert path.budget() == 0
    path.on_received(1200)
    assert path.budget() == 3600
    path.on_sent(2504)
    assert path.budget() == 1096
    path.on_received(1)
    assert path.budget() == 1099


def test_budget_is_never_negative() -> None:
    path = Path(CLIENT_ADDRESS, SERVER_ADDRESS, validated=False)
    path.on_received(10)
    path.on_sent(100)
    assert path.budget() == 0


def test_no_limit_once_validated() -> None:
    path = Path(CLIENT_ADDRESS, None, validated=True)
    path.on_sent(1 << 40)
    assert path.budget() is None


def test_responses_are_bounded() -> None:
    """The newest questions are answered."""
    path = Path(CLIENT_ADDRESS, None, validated=True)
    questions = [number.to_bytes(8, "big") for number in range(3 * MAX_PATH_RESPONSES)]
    for question in questions:
        path.on_challenge(question)
    assert list(path.responses) == questions[-MAX_PATH_RESPONSES:]
