"""From a finished run to a verdict: the case's checks, whose failure it is, and the goodput."""

import re
from dataclasses import replace
from typing import Final

from endpoint.wire.version import PacketType
from interop.checks import Check, Run
from interop.dissect.model import Side
from interop.results import CellResult, CheckResult, Owner, Status
from interop.runner.plan import Cell
from interop.testcases import Group

_MOST_COMPLAINTS: Final = 5
_SIDE: Final = re.compile(r"\b(client|server):")


def judge(cell: Cell, run: Run, result: CellResult) -> CellResult:
    """The result with its checks and verdict."""
    case = cell.case
    if case.needs_keys and not run.left.key_log.exists():
        return replace(result, explanation="neither side left a key log")
    strict = case.strict_checks()
    found = [_apply(check, run, strict=check in strict) for check in case.all_checks()]
    failed = [check for check in found if not check.passed and not check.strict]
    return replace(
        result,
        status=Status.FAILED if failed else Status.SUCCEEDED,
        owner=_owner(failed) if failed else None,
        checks=(*result.checks, *found),
        explanation="; ".join(f"{check.name}: {check.message}" for check in failed),
        goodput_mbps=_goodput(cell, run) if case.group is Group.MEASUREMENT and not failed else None,
    )


def _apply(check: Check, run: Run, *, strict: bool) -> CheckResult:
    complaints = check(run)
    message = "; ".join(complaints[:_MOST_COMPLAINTS])
    packet = next((complaint.packet for complaint in complaints if complaint.packet), None)
    name = check.__qualname__.partition(".")[0].replace("_", " ")
    return CheckResult(name=name, passed=not complaints, strict=strict, message=message, packet=packet)


def _owner(failed: list[CheckResult]) -> Owner:
    """Whom all complaints name, if they name one side only."""
    sides = {side for check in failed for side in _SIDE.findall(check.message)}
    return Owner(sides.pop()) if len(sides) == 1 else Owner.UNKNOWN


def _goodput(cell: Cell, run: Run) -> float | None:
    """Mbit/s between the first and the last 1-RTT packet of the server, left."""
    times = [seen.datagram.time for seen in run.left.packets_of(PacketType.ONE_RTT, Side.SERVER)]
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return round(8e3 * sum(cell.case.sizes) / (times[-1] - times[0]), 3)
