"""The semantic checks: a valid trace has no findings, a defect has its own and no other."""

from collections.abc import Callable
from pathlib import Path

import pytest
from qlog_breaks import KEYS, Break
from qlog_defects import STORIES
from qlog_samples import sequence
from qlog_traces import Story, ack, client, server, stream

from qlog.checks import ALL, observers
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
