"""Paths: the anti-amplification limit, the answers that wait, and validation (RFC 9000 §8)."""

from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS
from endpoint.transport.paths import MAX_CHALLENGES, MAX_PATH_RESPONSES, PROBE_RESERVE, Path, PathValidation


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


def test_a_later_path_keeps_something_back_for_challenges() -> None:
    path = Path(CLIENT_ADDRESS, SERVER_ADDRESS, validated=False, path_id=1)
    path.on_received(1200)
    assert path.budget() == 3600 - PROBE_RESERVE
    assert path.probe_budget() == 3600
    path.on_sent(3500)
    assert (path.budget(), path.probe_budget()) == (0, 100)


def test_challenges_are_repeated_ever_more_slowly() -> None:
    """Like Initial packets (RFC 9000 §8.2.1): after 1, 2, 4 PTO."""
    validation = PathValidation(expires_at=100.0)
    assert validation.due
    assert validation.retry_at(0.5) is None
    retries: list[float] = []
    now = 10.0
    for number in range(3):
        validation.on_sent(bytes([number]) * 8, now, full_size=True)
        assert not validation.due
        at = validation.retry_at(0.5)
        assert at is not None
        retries.append(at - now)
        now = at
        validation.due = True
    assert retries == [0.5, 1.0, 2.0]


def test_any_of_the_last_challenges_may_be_answered() -> None:
    validation = PathValidation(expires_at=100.0)
    for number in range(MAX_CHALLENGES + 1):
        validation.on_sent(bytes([number]) * 8, 0.0, full_size=number % 2 == 1)
    assert validation.answers(bytes(8)) is None
    assert validation.answers(bytes([1]) * 8) is True
    assert validation.answers(bytes([2]) * 8) is False
    assert validation.answers(b"whatever") is None


def test_only_ports_differ() -> None:
    path = Path(("192.0.2.1", 1), ("198.51.100.1", 2), validated=True)
    assert path.has_same_hosts(Path(("192.0.2.1", 3), ("198.51.100.1", 4), validated=True))
    assert not path.has_same_hosts(Path(("192.0.2.2", 1), ("198.51.100.1", 2), validated=True))
    assert not path.has_same_hosts(Path(("192.0.2.1", 1), ("198.51.100.2", 2), validated=True))
    assert not path.has_same_hosts(Path(("192.0.2.1", 1), None, validated=True))
    unknown = Path(("192.0.2.1", 1), None, validated=True)
    assert unknown.has_same_hosts(Path(("192.0.2.1", 3), None, validated=True))
