"""The table of deadlines."""

from endpoint.transport.timers import Timer, Timers


def test_earliest_comes_first() -> None:
    timers = Timers()
    assert timers.next() is None
    timers.set(Timer.IDLE, 30.0)
    timers.set(Timer.HANDSHAKE, 10.0)
    assert timers.next() == 10.0
    timers.set(Timer.HANDSHAKE, None)
    assert timers.next() == timers.get(Timer.IDLE) == 30.0


def test_expired_ones_are_stopped() -> None:
    timers = Timers()
    timers.set(Timer.IDLE, 1.0)
    timers.set(Timer.CLOSE, 2.0)
    timers.set(Timer.KEEP_ALIVE, 3.0)
    assert timers.expired(0.99) == []
    assert timers.expired(2.0) == [Timer.IDLE, Timer.CLOSE]
    assert timers.expired(2.0) == []
    assert timers.next() == 3.0
    timers.clear()
    assert timers.next() is None
