"""The semantic checks: a valid trace has no findings, a defect has its own and no other."""

import gc
import tracemalloc
from collections import deque
from collections.abc import Callable, Sized
from pathlib import Path

import pytest
from qlog_breaks import KEYS, Break
from qlog_defects import STORIES
from qlog_samples import sequence
from qlog_traces import PADDING, PING, Story, ack, client, frame, server, stream

from qlog.checks import ALL, observers
from qlog.checks.suite import Suite
from qlog.validate import Report, validate_file

CASES = [
    pytest.param(make, check, message, change, id=f"{check}-{make.__name__}-{index}")
    for make, defects in STORIES
    for check, ways in defects.items()
    for index, (message, change) in enumerate(ways)
]


def report_of(story: Story, folder: Path) -> Report:
    path = folder / "trace.sqlog"
    path.write_bytes(sequence(story.header, story.events))
    return validate_file(path, observers())


@pytest.mark.parametrize("make", [client, server])
def test_valid_traces_have_no_findings(make: Callable[[], Story], tmp_path: Path) -> None:
    assert report_of(make(), tmp_path).findings == []


@pytest.mark.parametrize(("make", "check", "message", "change"), CASES)
def test_a_defect_is_found_by_its_check_alone(
    make: Callable[[], Story], check: str, message: str, change: Break, tmp_path: Path
) -> None:
    story = make()
    change(story)
    findings = report_of(story, tmp_path).findings
    assert [(one.rule, message in one.message) for one in findings] == [(check, True)], findings
    assert findings[0].count == 1


def test_every_check_has_a_defect() -> None:
    assert {check for _, defects in STORIES for check in defects} == {check.id for check in ALL}


def test_checks_are_complete() -> None:
    assert len({check.id for check in ALL}) == len(ALL)
    for check in ALL:
        assert check.title
        assert check.reference
        assert check.severity in {"error", "warning", "info"}
        assert len(check.explanation()) > 20


def test_who_follows_a_key_update_follows_it_past_late_packets(tmp_path: Path) -> None:
    story = client()
    for number in (7, 8):
        story.packet("1RTT", number, sent=False)["frames"] = [ack([0, 3], [5, 10])]
    story.received(300.3, "1RTT", 10, PING, header={"key_phase": 2})
    story.received(300.4, "1RTT", 9, PING, **KEYS)
    story.sent(300.5, "1RTT", 14, ack([9, 10]), header={"key_phase": 2})
    story.packet("1RTT", 20)["header"]["key_phase"] = 2
    assert report_of(story, tmp_path).findings == []


@pytest.mark.parametrize(("latest", "found"), [(22.0, False), (40.0, True)])
def test_a_loss_by_time_goes_by_the_metrics_of_its_step(latest: float, found: bool, tmp_path: Path) -> None:
    """The RTT was longer before, and is again when the loss is judged."""
    story = client()
    story.metrics(300.0, smoothed_rtt=21.0, latest_rtt=40.0)
    for number in (14, 15):
        story.sent(300.5, "1RTT", number, stream(12, 10 * number, 10), **KEYS)
    story.received(326.5, "1RTT", 9, ack([0, 3], [5, 13], [15]), **KEYS)
    lost = {"packet_type": "1RTT", "packet_number": 14}
    story.add(326.5, "quic:packet_lost", header=lost, trigger="time_threshold")
    story.metrics(326.5, smoothed_rtt=21.5, latest_rtt=latest)
    story.metrics(327.5, smoothed_rtt=21.6, latest_rtt=40.0)
    rules = {one.rule for one in report_of(story, tmp_path).findings}
    assert ("R02" in rules) is found


@pytest.mark.parametrize(("gap", "found"), [(9.9, False), (10.1, True)])
def test_packets_of_a_datagram_may_be_logged_some_ms_apart(gap: float, found: bool, tmp_path: Path) -> None:
    story = Story("client")
    crypto = frame("crypto", offset=0, length=300)
    story.sent(0.0, "initial", 0, crypto, PADDING, length=1200)
    story.received(20.0, "initial", 0, ack([0]), crypto, length=1200)
    story.sent(30.0, "initial", 1, ack([0]), length=600)
    story.sent(30.0 + gap, "handshake", 0, crypto, length=600)
    rules = {one.rule for one in report_of(story, tmp_path).findings}
    assert ("P09" in rules) is found


@pytest.mark.parametrize(("size", "found"), [(1200, False), (1199, True)])
def test_datagrams_tell_what_the_time_does_not(size: int, found: bool, tmp_path: Path) -> None:
    """A program that is interrupted while it fills a datagram, as aioquic on a busy machine."""
    story = Story("client")
    crypto = frame("crypto", offset=0, length=300)
    story.sent(0.0, "initial", 0, crypto, PADDING, length=1200)
    story.add(0.0, "quic:udp_datagrams_sent", raw=[{"length": 1200}])
    story.received(20.0, "initial", 0, ack([0]), crypto, length=1200)
    story.sent(30.5, "initial", 1, ack([0]), length=50)
    story.sent(42.0, "handshake", 0, crypto, length=size - 50)
    story.add(42.0, "quic:udp_datagrams_sent", raw=[{"length": size}])
    rules = {one.rule for one in report_of(story, tmp_path).findings}
    assert ("P09" in rules) is found


@pytest.mark.parametrize(("length", "found"), [(1000, False), (999, True)])
def test_bytes_in_flight_may_be_told_long_before_their_packet(
    length: int, found: bool, tmp_path: Path
) -> None:
    """aioquic logs them first, and may be interrupted then."""
    story = Story("client")
    story.sent(0.5, "initial", 0, frame("crypto", offset=0, length=300), length=1200)
    story.metrics(0.6, bytes_in_flight=2200)
    story.sent(15.5, "1RTT", 22, stream(12, 900, 900), length=length, **KEYS)
    rules = {one.rule for one in report_of(story, tmp_path).findings}
    assert ("R03" in rules) is found


def test_metrics_without_packets_are_not_kept(tmp_path: Path) -> None:
    """What waits for the next packet must not grow with the trace."""
    story = Story("client")
    story.sent(0.5, "initial", 0, frame("crypto", offset=0, length=300), length=1200)
    for number in range(5000):
        story.metrics(100.0 + number, bytes_in_flight=2200 + number)
    tracemalloc.start()
    (found,) = (one for one in report_of(story, tmp_path).findings if one.rule == "R03")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.count == 5000
    assert peak < 4_000_000


@pytest.mark.parametrize(("told", "found"), [(624, False), (1150, True)])
def test_retry_starts_recovery_anew(told: int, found: bool, tmp_path: Path) -> None:
    """RFC 9002 §6.3; aioquic still counts its first Initial."""
    story = Story("client")
    crypto = frame("crypto", offset=0, length=300)
    story.sent(0.5, "initial", 0, crypto, length=526)
    story.add(20.5, "quic:packet_received", header={"packet_type": "retry"})
    story.sent(22.5, "initial", 1, crypto, length=624)
    story.metrics(22.5, bytes_in_flight=told)
    rules = {one.rule for one in report_of(story, tmp_path).findings}
    assert ("R03" in rules) is found


@pytest.mark.parametrize(("told", "found"), [(1676, False), (1700, True)])
def test_what_leaves_with_its_keys_may_leave_last(told: int, found: bool, tmp_path: Path) -> None:
    story = Story("client")
    crypto = frame("crypto", offset=0, length=300)
    story.sent(0.5, "initial", 0, crypto, length=526)
    story.received(20.5, "handshake", 0, crypto, length=700)
    story.sent(21.5, "handshake", 0, crypto, length=89)
    story.metrics(21.5, bytes_in_flight=told)
    story.sent(21.5, "1RTT", 0, stream(0, 0, 1000), length=1061, **KEYS)
    story.metrics(21.5, bytes_in_flight=1150)
    rules = {one.rule for one in report_of(story, tmp_path).findings}
    assert ("R03" in rules) is found


def test_a_server_that_reads_1_rtt_has_given_up_its_handshake(tmp_path: Path) -> None:
    """ngtcp2's metrics show it before HANDSHAKE_DONE is logged, or when that is cut off."""
    story = Story("server")
    crypto = frame("crypto", offset=0, length=300)
    story.received(0.5, "initial", 0, crypto, PADDING, length=1200)
    story.sent(0.5, "initial", 0, ack([0]), crypto, length=400)
    story.sent(0.5, "handshake", 0, crypto, length=800)
    story.received(30.5, "handshake", 0, crypto, length=100)
    story.received(30.5, "1RTT", 0, stream(0, 0, 10), **KEYS)
    story.metrics(30.5, bytes_in_flight=0)
    story.received(60.5, "1RTT", 1, stream(0, 10, 10), **KEYS)
    story.metrics(60.5, bytes_in_flight=0)
    assert "R03" not in {one.rule for one in report_of(story, tmp_path).findings}


@pytest.mark.parametrize(("latest", "found"), [(20.0, False), (70.0, True)])
def test_a_sample_counts_however_late_it_is_told(latest: float, found: bool, tmp_path: Path) -> None:
    story = client()
    story.sent(500.5, "1RTT", 21, stream(12, 0, 10), **KEYS)
    story.received(520.5, "1RTT", 30, ack([21]), **KEYS)
    story.metrics(540.5, latest_rtt=latest)
    story.sent(540.6, "1RTT", 22, stream(12, 10, 10), **KEYS)
    story.received(600.6, "1RTT", 31, ack([22]), **KEYS)
    rules = {one.rule for one in report_of(story, tmp_path).findings}
    assert ("R09" in rules) is found


@pytest.mark.parametrize(("sent_at", "found"), [(0.5, False), (900.5, True)])
def test_the_timer_of_1_rtt_may_have_passed_long_ago(sent_at: float, found: bool, tmp_path: Path) -> None:
    """It does not run before the handshake is confirmed, and may then expire several times at once."""
    story = Story("server")
    story.received(0.5, "initial", 0, frame("crypto", offset=0, length=300), PADDING, length=1200)
    story.sent(sent_at, "1RTT", 0, stream(3, 0, 10), **KEYS)
    story.sent(996.0, "1RTT", 1, ack([0]), **KEYS)
    story.metrics(995.5, smoothed_rtt=37.0, rtt_variance=18.0, pto_count=0)
    story.metrics(1000.5, pto_count=2)
    rules = {one.rule for one in report_of(story, tmp_path).findings}
    assert ("R13" in rules) is found


@pytest.mark.parametrize(("told", "found"), [(0, True), (25, False)])
def test_a_max_ack_delay_of_0_is_none(told: int, found: bool, tmp_path: Path) -> None:
    story = client()
    story.find("quic:parameters_set", initiator="remote")["max_ack_delay"] = told
    story.sent(2000.0, "1RTT", 30, stream(12, 0, 10), **KEYS)
    story.received(2060.0, "1RTT", 30, ack([30], ack_delay=40.0), **KEYS)
    rules = {one.rule for one in report_of(story, tmp_path).findings}
    assert ("R11" in rules) is found


def items_of(root: object) -> int:
    """How much the containers hold that are reached from an object, classes and modules left aside."""
    seen, waiting, count = {id(root)}, deque([root]), 0
    while waiting:
        one = waiting.popleft()
        if isinstance(one, list | dict | set | deque):
            count += len(one) if isinstance(one, Sized) else 0
        for other in gc.get_referents(one):
            if id(other) not in seen and not isinstance(other, type) and not hasattr(other, "__code__"):
                seen.add(id(other))
                waiting.append(other)
    return count


def items_after(packets: int, folder: Path) -> int:
    """What the checks keep after a transfer in which every packet is acknowledged and some are lost first."""
    story = Story("client")
    story.sent(0.0, "initial", 0, frame("crypto", offset=0, length=300), PADDING, length=1200)
    events = story.events
    for number in range(packets):
        time = 100.5 + number
        story.events = []
        story.sent(time, "1RTT", 2 * number, stream(0, 100 * number, 100))
        story.sent(time, "1RTT", 2 * number + 1, ack([0, number]))
        if number % 50 == 0:
            lost = {"packet_type": "1RTT", "packet_number": 2 * number}
            story.add(time + 0.1, "quic:packet_lost", header=lost)
        story.received(time + 0.2, "1RTT", number, ack([0, 2 * number + 1]))
        numbers = [2 * number, 2 * number + 1]
        story.add(time + 0.2, "quic:packets_acked", packet_numbers=numbers)
        story.metrics(time + 0.2, bytes_in_flight=number % 7, latest_rtt=20.0 + number % 3)
        events += story.events
    path = folder / "long.sqlog"
    path.write_bytes(sequence(story.header, events))
    suite = Suite(ALL)
    validate_file(path, [suite])
    return items_of(suite)


def test_what_the_checks_keep_does_not_grow_with_the_trace(tmp_path: Path) -> None:
    few, many = items_after(200, tmp_path), items_after(400, tmp_path)
    # The numbers of what was lost, of which `Ranges` keeps so many and no more.
    assert many - few < 50
