"""The matrix in the public runner's result format, which its web page shows."""

import json
from collections.abc import Mapping
from typing import Final

from interop.report.squares import Square, in_order, squares
from interop.results import MatrixResult
from interop.testcases import ALL_CASES, Group

_QUIC_DRAFT: Final = 34
_QUIC_VERSION: Final = "0x1"


def runner_json(result: MatrixResult, urls: Mapping[str, str], log_dir: str) -> str:
    """Results and measurements are lists of pairs, client by client; in each the tests in one order."""
    tests = [ALL_CASES[test] for test in in_order(result.tests) if test in ALL_CASES]
    names = [*result.servers, *result.clients]
    document = {
        "start_time": result.started,
        "end_time": result.ended,
        "log_dir": log_dir,
        "servers": result.servers,
        "clients": result.clients,
        "urls": {name: urls.get(name, "") for name in names},
        "tests": {case.abbreviation: {"name": case.name, "desc": case.summary} for case in tests},
        "quic_draft": _QUIC_DRAFT,
        "quic_version": _QUIC_VERSION,
        "results": [],
        "measurements": [],
    }
    results: list[object] = []
    measurements: list[object] = []
    for client in result.clients:
        for server in result.servers:
            found = {square.test: square for square in squares(result, server, client)}
            results.append([
                {"abbr": case.abbreviation, "name": case.name, "result": _verdict(found.get(case.name))}
                for case in tests if case.group is not Group.MEASUREMENT
            ])  # fmt: skip
            measurements.append([
                {
                    "abbr": square.abbreviation,
                    "name": square.test,
                    "result": square.status.value,
                    "details": square.goodput,
                }
                for square in found.values() if square.is_measurement
            ])  # fmt: skip
    return json.dumps(document | {"results": results, "measurements": measurements}) + "\n"


def _verdict(square: Square | None) -> str | None:
    return None if square is None else square.status.value
