import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from loop_fakes import (
    FakeConnection,
    Recorder,
    batch,
    run,
    running,
    until,
)

from endpoint.events import ConnectionClosed, Event, HandshakeConfirmed
from endpoint.io.loop import EVENT_LIMIT, MANY_EVENTS, READ_LIMIT, SEND_LIMIT


def test_batches_are_read_then_acknowledged_once_per_drained_socket() -> None:
    async def scenario() -> None:
        async with running() as setup:
            setup.udp.batches.extend([batch(1), batch(2), batch(3)])
            setup.connections[0].to_send = 1
            setup.udp.wake()
            await until(lambda: setup.udp.sent == 1)
            assert setup.log == ["a receives 1", "a receives 2", "a receives 3", "a drained", "a sends"]

    run(scenario)


def test_reading_makes_room_for_sending_and_goes_on() -> None:
    async def scenario() -> None:
        async with running() as setup:
            setup.udp.batches.extend(batch() for _ in range(READ_LIMIT + 1))
            setup.connections[0].to_send = 1
            setup.udp.wake()
            await until(lambda: len(setup.log) == READ_LIMIT + 1 + 3)
            assert setup.log.index("a sends") == READ_LIMIT + 1
            assert setup.log[-2:] == ["a receives 100", "a drained"]

    run(scenario)


def test_connections_take_turns() -> None:
    async def scenario() -> None:
        async with running("a", "b") as setup:
            for connection in setup.connections:
                connection.to_send = SEND_LIMIT + 2
            setup.touch(0, 1)
            await until(lambda: setup.udp.sent == 2 * (SEND_LIMIT + 2))
            turns = ["a"] * SEND_LIMIT + ["b"] * SEND_LIMIT + ["a"] * 2 + ["b"] * 2
            assert [line[0] for line in setup.log] == turns

    run(scenario)


def test_a_long_transfer_does_not_starve_reading() -> None:
    async def scenario() -> None:
        async with running("a", "b") as setup:
            setup.connections[0].to_send = 10_000
            setup.touch(0)
            await asyncio.sleep(0)
            setup.front.order.rotate(-1)
            setup.udp.batches.append(batch())
            setup.udp.wake()
            await until(lambda: "b receives 100" in setup.log or "a receives 100" in setup.log)
            assert setup.connections[0].to_send > 5_000

    run(scenario)


def test_a_full_socket_is_retried_when_it_is_writable() -> None:
    async def scenario() -> None:
        async with running("a", "b") as setup:
            setup.udp.blocked = 2
            for connection in setup.connections:
                connection.to_send = 2
            setup.touch(0, 1)
            await until(lambda: setup.udp.sent == 4)
            assert setup.udp.blocked == 0
            assert sorted(setup.log) == ["a sends", "a sends", "b sends", "b sends"]

    run(scenario)


def test_stateless_answers_are_sent() -> None:
    async def scenario() -> None:
        async with running() as setup:
            setup.front.stateless = 3
            setup.udp.batches.append(batch())
            setup.udp.wake()
            await until(lambda: setup.udp.sent == 3)

    run(scenario)


def test_a_deadline_fires_and_not_before_its_time() -> None:
    async def scenario() -> None:
        async with running() as setup:
            due = setup.driver.now + 0.02
            setup.connections[0].deadline = due
            setup.touch()
            await until(lambda: bool(setup.connections[0].timeouts))
            assert due - 1e-6 <= setup.connections[0].timeouts[0] < due + 0.5

    run(scenario)


def test_a_deadline_that_moves_later_is_looked_up_again() -> None:
    async def scenario() -> None:
        async with running() as setup:
            connection = setup.connections[0]
            connection.deadline = setup.driver.now + 0.01
            setup.touch()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            later = connection.deadline = setup.driver.now + 0.05
            await until(lambda: bool(connection.timeouts))
            assert connection.timeouts[0] >= later - 1e-6

    run(scenario)


def test_a_deadline_that_moves_earlier_is_kept() -> None:
    async def scenario() -> None:
        async with running() as setup:
            connection = setup.connections[0]
            connection.deadline = setup.driver.now + 60
            setup.touch()
            await asyncio.sleep(0.001)
            connection.deadline = setup.driver.now + 0.01
            setup.touch()
            await until(lambda: bool(connection.timeouts))

    run(scenario)


def test_thousands_of_overtaken_deadlines_and_connections_are_dropped() -> None:
    async def scenario() -> None:
        async with running() as setup:
            for i in range(3000):
                connection = FakeConnection(str(i), setup.log)
                connection.deadline = setup.driver.now + 1000 - i / 10
                setup.driver.touch(cast("Any", connection))
                await asyncio.sleep(0)
                connection.is_closed = True
                setup.driver.touch(cast("Any", connection))
                await asyncio.sleep(0)
            await until(lambda: len(setup.front.forgotten) == 3000)
            assert setup.driver.connections == []
            assert setup.driver.pending_deadlines < 200

    run(scenario)


def test_events_reach_the_application_before_datagrams_leave() -> None:
    async def scenario() -> None:
        async with running() as setup:
            connection = setup.connections[0]
            connection.events.append(HandshakeConfirmed())

            class Answering(Recorder):
                def on_event(self, connection: Any, event: Event) -> None:
                    super().on_event(connection, event)
                    connection.to_send = 1

            setup.driver.application = application = Answering()
            setup.touch()
            await until(lambda: setup.udp.sent == 1)
            assert application.events == [("a", HandshakeConfirmed())]

    run(scenario)


def test_an_application_may_hear_of_all_events_at_once() -> None:
    async def scenario() -> None:
        async with running() as setup:
            closed = ConnectionClosed(0, 0, "", application=True, remote=True)
            setup.connections[0].events += [HandshakeConfirmed(), closed]
            told: list[list[Event]] = []

            class Gathering(Recorder):
                def on_events(self, _connection: Any, events: Sequence[Event]) -> None:
                    told.append(list(events))

            setup.driver.application = application = Gathering()
            setup.touch()
            await until(lambda: bool(told))
            setup.connections[0].is_closed = True
        assert told == [[HandshakeConfirmed(), closed]]
        assert application.events == [], "told twice"

    run(scenario)


def test_answers_to_many_events_leave_in_between() -> None:
    async def scenario() -> None:
        async with running() as setup:
            setup.connections[0].events += [HandshakeConfirmed()] * (2 * EVENT_LIMIT + 1)

            class Answering(Recorder):
                def on_events(self, connection: Any, events: Sequence[Event]) -> None:
                    setup.log.append(f"{len(events)} told")
                    connection.to_send = 1

            setup.driver.application = Answering()
            setup.touch()
            await until(lambda: setup.udp.sent == 3)
            told = f"{EVENT_LIMIT} told"
            sent = ["a drained", "a sends"]
            assert setup.log == [told, *sent, told, *sent, "1 told", *sent]

    run(scenario)


def test_what_cannot_leave_in_between_leaves_later() -> None:
    async def scenario() -> None:
        async with running() as setup:
            setup.connections[0].events += [HandshakeConfirmed()] * (2 * EVENT_LIMIT)

            class Answering(Recorder):
                def on_events(self, connection: Any, events: Sequence[Event]) -> None:
                    setup.log.append(f"{len(events)} told")
                    connection.to_send += 1

            setup.driver.application = Answering()
            setup.udp.blocked = 1
            setup.touch()
            await until(lambda: setup.udp.sent == 2)
            told = f"{EVENT_LIMIT} told"
            # The second answer waits for the first, which the socket did not take.
            assert setup.log == [told, "a drained", "a sends", told, "a drained", "a sends"]

    run(scenario)


def test_a_batch_that_brings_much_work_is_answered_before_the_next_is_read() -> None:
    async def scenario() -> None:
        async with running() as setup:
            connection = setup.connections[0]

            def receive() -> None:
                connection.events += [HandshakeConfirmed()] * MANY_EVENTS
                connection.to_send = 1

            class Gathering(Recorder):
                def on_events(self, _connection: Any, _events: Sequence[Event]) -> None:
                    """Nothing is answered but by ACKs."""

            setup.driver.application = Gathering()
            connection.on_receive = receive
            setup.udp.batches.extend([batch(1), batch(2)])
            setup.udp.wake()
            await until(lambda: setup.udp.sent == 2)
            sent = ["a drained", "a sends"]
            assert setup.log[:6] == ["a receives 1", *sent, "a receives 2", *sent]

    run(scenario)


def test_closed_connections_are_forgotten_after_their_last_event() -> None:
    async def scenario() -> None:
        async with running() as setup:
            closed = ConnectionClosed(0, 0, "", application=True, remote=True)
            setup.connections[0].events.append(closed)
            setup.connections[0].is_closed = True
            setup.touch()
            await until(lambda: setup.front.forgotten == setup.connections)
            assert setup.application.events == [("a", closed)]
        assert setup.application.events == [("a", closed)], "told twice"

    run(scenario)


def test_a_failing_application_ends_its_connection_visibly_and_no_other() -> None:
    async def scenario() -> None:
        async with running("a", "b") as setup:
            first, second = setup.connections
            first.events.append(HandshakeConfirmed())
            setup.application.raises = RuntimeError("a bug")
            setup.touch(0)
            await until(lambda: "a sends" in setup.log)
            assert "a closes" in setup.log
            assert [str(fault["exception"]) for fault in setup.faults] == ["a bug"]
            setup.application.raises = None
            second.to_send = 1
            setup.touch(1)
            await until(lambda: "b sends" in setup.log)

    run(scenario)


def test_a_connection_that_fails_for_good_is_dropped_and_the_application_told() -> None:
    async def scenario() -> None:
        async with running() as setup:
            setup.connections[0].raises = ValueError("broken")
            setup.touch()
            await until(lambda: setup.front.forgotten == setup.connections)
            assert len(setup.faults) == 2
            [(name, event)] = setup.application.events
            assert name == "a"
            assert isinstance(event, ConnectionClosed)
            assert event.error_code == 1

    run(scenario)


def test_a_timer_that_fails_ends_its_connection_and_no_other() -> None:
    async def scenario() -> None:
        async with running("a", "b") as setup:
            first, second = setup.connections
            first.deadline, second.deadline = setup.driver.now + 0.01, setup.driver.now + 0.02
            first.timeout_raises = ValueError("broken")
            setup.touch(0, 1)
            await until(lambda: bool(second.timeouts))
            assert "a closes" in setup.log
            assert {str(fault["exception"]) for fault in setup.faults} == {"broken"}

    run(scenario)


def test_a_batch_that_can_not_be_processed_is_reported() -> None:
    async def scenario() -> None:
        async with running() as setup:
            setup.front.raises = KeyError("oops")
            setup.udp.batches.append(batch())
            setup.udp.wake()
            await until(lambda: bool(setup.faults))
            setup.front.raises = None
            setup.udp.batches.append(batch())
            setup.udp.wake()
            await until(lambda: "a receives 100" in setup.log)

    run(scenario)


def test_socket_errors_are_passed_to_the_front() -> None:
    async def scenario() -> None:
        async with running() as setup:
            setup.udp.last_error = OSError(111, "refused")
            setup.udp.error_count = 2
            setup.touch()
            await until(lambda: bool(setup.front.errors))
            setup.touch()
            await asyncio.sleep(0.01)
            assert setup.front.errors == [setup.udp.last_error]

    run(scenario)


def test_close_all_sends_at_once_and_stop_tells_the_applications() -> None:
    async def scenario() -> None:
        async with running("a", "b") as setup:
            setup.touch(0, 1)
            await asyncio.sleep(0.001)
            setup.driver.close_all(0, "bye")
            assert setup.udp.sent == 2
        ends = [(name, type(event)) for name, event in setup.application.events]
        assert ends == [("a", ConnectionClosed), ("b", ConnectionClosed)]
        setup.driver.stop()

    run(scenario)


@pytest.mark.parametrize("blocked", [False, True])
def test_nothing_runs_after_stop(blocked: bool) -> None:
    async def scenario() -> None:
        async with running() as setup:
            connection = setup.connections[0]
            connection.deadline = setup.driver.now + 0.005
            setup.udp.blocked = int(blocked)
            connection.to_send = 1
            setup.touch()
            await asyncio.sleep(0)
            setup.touch()
        await asyncio.sleep(0.02)
        assert connection.timeouts == []
        assert setup.faults == []

    run(scenario)
