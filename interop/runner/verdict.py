"""From a finished run to a verdict: the case's checks, whose failure it is, and the goodput."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from endpoint.wire.version import PacketType
from interop.capture import Complaint
from interop.checks import Check, Run
from interop.dissect.model import Side
from interop.results import CellResult, CheckResult, Owner, Status
from interop.runner.plan import Cell
from interop.testcases import Group

_MOST_COMPLAINTS: Final = 5


def judge(cell: Cell, run: Run, result: CellResult) -> CellResult:
    """The result with its checks and verdict."""
    case = cell.case
    if case.needs_keys and not run.left.key_log.exists():
        return replace(result, explanation="neither side left a key log")
    strict = case.strict_checks()
    complaints = {check: check(run) for check in case.all_checks()}
    found = [_result(check, said, strict=check in strict) for check, said in complaints.items()]
    failed = [check for check in found if not check.passed and not check.strict]
    decisive = (each for check, said in complaints.items() if check not in strict for each in said)
    return replace(
        result,
        status=Status.FAILED if failed else Status.SUCCEEDED,
        owner=_owner(decisive) if failed else None,
        checks=(*result.checks, *found),
        explanation="; ".join(f"{check.name}: {check.message}" for check in failed),
        goodput_mbps=_goodput(cell, run) if case.group is Group.MEASUREMENT and not failed else None,
    )


def _result(check: Check, complaints: list[Complaint], *, strict: bool) -> CheckResult:
    message = "; ".join(complaints[:_MOST_COMPLAINTS])
    packet = next((complaint.packet for complaint in complaints if complaint.packet), None)
    name = check.__qualname__.partition(".")[0].replace("_", " ")
    return CheckResult(name=name, passed=not complaints, strict=strict, message=message, packet=packet)


def _owner(complaints: Iterable[Complaint]) -> Owner:
    """Whose fault all complaints are that know it, if that is one side's."""
    sides = {complaint.side for complaint in complaints if complaint.side is not None}
    return Owner(sides.pop().value) if len(sides) == 1 else Owner.UNKNOWN


def _goodput(cell: Cell, run: Run) -> float | None:
    """Mbit/s between the first and the last 1-RTT packet of the server, left."""
    times = [seen.datagram.time for seen in run.left.packets_of(PacketType.ONE_RTT, Side.SERVER)]
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return round(8e3 * sum(cell.case.sizes) / (times[-1] - times[0]), 3)
