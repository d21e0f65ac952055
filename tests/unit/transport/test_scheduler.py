"""Order of sending (RFC 9218 §4, §10)."""

from dataclasses import dataclass

from endpoint.transport.scheduler import MAX_STALE, Scheduler


@dataclass
class Item:
    stream_id: int
    urgency: int = 3
    incremental: bool = True


def turns(scheduler: Scheduler[Item], count: int) -> list[int]:
    served = []
    for _ in range(count):
        item = scheduler.next()
        assert item is not None
        assert scheduler.next() is item  # asking does not end the turn
        scheduler.end_turn(item)
        served.append(item.stream_id)
    return served


def scheduler_with(*items: Item) -> Scheduler[Item]:
    scheduler: Scheduler[Item] = Scheduler()
    for item in items:
        scheduler.activate(item)
    return scheduler


def test_nothing_active() -> None:
    scheduler = scheduler_with()
    assert not scheduler
    assert scheduler.next() is None


def test_incremental_streams_take_turns_in_order_of_activation() -> None:
    scheduler = scheduler_with(Item(8), Item(0), Item(4))
    assert turns(scheduler, 7) == [8, 0, 4, 8, 0, 4, 8]


def test_activating_again_does_not_change_the_turn() -> None:
    first, second = Item(0), Item(4)
    scheduler = scheduler_with(first, second)
    assert turns(scheduler, 1) == [0]
    scheduler.activate(first)
    scheduler.activate(second)
    assert turns(scheduler, 3) == [4, 0, 4]


def test_others_are_served_one_by_one_by_stream_id() -> None:
    items = [Item(stream_id, incremental=False) for stream_id in (8, 0, 4)]
    scheduler = scheduler_with(*items)
    assert turns(scheduler, 3) == [0, 0, 0]
    scheduler.deactivate(items[1])
    assert turns(scheduler, 2) == [4, 4]
    scheduler.activate(items[1])
    assert turns(scheduler, 2) == [0, 0]


def test_lower_urgency_values_go_first() -> None:
    background, urgent = Item(0, urgency=7), Item(4, urgency=0)
    scheduler = scheduler_with(background, Item(8), urgent)
    assert turns(scheduler, 2) == [4, 4]
    scheduler.deactivate(urgent)
    assert turns(scheduler, 2) == [8, 8]


def test_both_kinds_of_one_urgency_alternate() -> None:
    scheduler = scheduler_with(Item(0, incremental=False), Item(4, incremental=False), Item(8), Item(12))
    assert turns(scheduler, 6) == [0, 8, 0, 12, 0, 8]


def test_deactivating_what_is_not_active_changes_nothing() -> None:
    item = Item(0)
    scheduler = scheduler_with(item)
    scheduler.deactivate(Item(4))
    scheduler.deactivate(Item(8, incremental=False))
    scheduler.deactivate(item)
    scheduler.deactivate(item)
    assert not scheduler


def test_streams_that_come_and_go_behind_a_long_one_leave_nothing() -> None:
    scheduler = scheduler_with(Item(0, incremental=False))
    for stream_id in range(4, 4 * MAX_STALE * 10, 4):
        item = Item(stream_id, incremental=False)
        scheduler.activate(item)
        scheduler.deactivate(item)
    assert turns(scheduler, 2) == [0, 0]
    last = Item(1 << 20, incremental=False)
    scheduler.activate(last)
    scheduler.deactivate(Item(0, incremental=False))
    assert turns(scheduler, 1) == [1 << 20]
