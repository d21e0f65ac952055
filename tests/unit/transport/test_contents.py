"""An ACK or a loss finds its way to everything in the packet."""

import pytest

from endpoint.batch import ECN_NOT_ECT
from endpoint.recovery.ack_tracker import AckTracker
from endpoint.transport.contents import AckContent, ControlContent, PacketContent


def test_packet_tells_each_part() -> None:
    told: list[str] = []
    parts = [
        ControlContent(
            name, lambda frame: told.append(f"acked {frame}"), lambda frame: told.append(f"lost {frame}")
        )
        for name in ("a", "b")
    ]
    content = PacketContent([*parts])
    content.on_acked()
    content.on_lost()
    assert told == ["acked a", "acked b", "lost a", "lost b"]


def test_a_frame_is_sent_again_once_for_each_time_it_was_sent() -> None:
    """A PTO repeats it, and then the packet turns out to be lost."""
    told: list[str] = []
    content = ControlContent("frame", lambda _: told.append("acked"), lambda _: told.append("lost"))
    content.on_lost()
    content.on_lost()
    assert told == ["lost"]
    content.on_acked()
    assert told == ["lost", "acked"]


def test_acknowledged_ack_shortens_the_next() -> None:
    acks = AckTracker(immediate=False, max_ack_delay=0.025)
    for pn in (0, 1, 5):
        acks.on_received(pn, pn, True, 0.0, ECN_NOT_ECT)
    content = AckContent(acks, acks.on_ack_sent(0.0, ack_eliciting=True))
    content.on_lost()
    assert acks.ack_ranges(10) == [(5, 5), (0, 1)]
    content.on_acked()
    assert acks.ack_ranges(10) == [(5, 5)]


def test_single_packets_are_never_split() -> None:
    acks = AckTracker(immediate=False, max_ack_delay=0.025)
    control = ControlContent("frame", lambda _: None, lambda _: None)
    for content in (PacketContent([control]), AckContent(acks, 0), control):
        with pytest.raises(AssertionError):
            content.split(1)
