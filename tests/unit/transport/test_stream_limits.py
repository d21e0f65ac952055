"""Counting streams (RFC 9000 §4.6)."""

from endpoint.transport.stream_limits import MAX_STREAM_COUNT, AcceptLimit, OpenLimit


def test_open_limit() -> None:
    limit = OpenLimit()
    assert limit.blocked
    assert limit.note_blocked()
    assert not limit.note_blocked()
    assert limit.raise_limit(2)
    assert not limit.raise_limit(2)
    assert not limit.raise_limit(1)
    assert limit.limit == 2
    limit.opened = 2
    assert limit.blocked
    assert limit.note_blocked()


def test_accept_limit_rises_by_eighths() -> None:
    limit = AcceptLimit(100)
    due = []
    for _ in range(60):
        limit.closed += 1
        if limit.update_due:
            due.append((limit.closed, limit.update()))
    assert due == [(12, 112), (24, 124), (36, 136), (48, 148), (60, 160)]


def test_a_window_of_one_rises_one_by_one_and_a_window_of_none_never() -> None:
    one, none = AcceptLimit(1), AcceptLimit(0)
    one.closed = 1
    assert one.update_due
    assert one.update() == 2
    assert not none.update_due


def test_the_limit_ends_where_stream_ids_end() -> None:
    limit = AcceptLimit(MAX_STREAM_COUNT)
    limit.closed = MAX_STREAM_COUNT // 2
    assert not limit.update_due
    assert limit.update() == MAX_STREAM_COUNT
