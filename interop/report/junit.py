"""The matrix as JUnit XML, which every CI system shows."""

import datetime as dt
import xml.etree.ElementTree as ET

from interop.results import CellResult, MatrixResult, Status


def junit(result: MatrixResult) -> bytes:
    """A suite for each pair, a case for each cell. What was known to fail counts as skipped."""
    root = ET.Element("testsuites", name="interop", time=f"{result.ended - result.started:.3f}")
    for server in result.servers:
        for client in result.clients:
            cells = [cell for cell in result.cells if (cell.server, cell.client) == (server, client)]
            if cells:
                root.append(_suite(f"{server} <- {client}", cells, result.started))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _suite(name: str, cells: list[CellResult], started: float) -> ET.Element:
    suite = ET.Element(
        "testsuite",
        name=name,
        tests=str(len(cells)),
        failures=str(sum(cell.unexpected for cell in cells)),
        errors="0",
        skipped=str(sum(_skip_reason(cell) != "" for cell in cells)),
        time=f"{sum(cell.seconds for cell in cells):.3f}",
        timestamp=dt.datetime.fromtimestamp(started, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    )
    for cell in cells:
        suite.append(_case(name, cell))
    return suite


def _case(suite: str, cell: CellResult) -> ET.Element:
    name = cell.test if cell.repeat == 1 else f"{cell.test} #{cell.repeat}"
    case = ET.Element("testcase", classname=f"interop.{suite}", name=name, time=f"{cell.seconds:.3f}")
    reason = _skip_reason(cell)
    if reason:
        ET.SubElement(case, "skipped", message=_clean(reason))
    elif cell.status is Status.FAILED:
        failure = ET.SubElement(
            case, "failure", message=_clean(cell.explanation), type=cell.owner or "unknown"
        )
        complaints = [f"{check.name}: {check.message}" for check in cell.checks if not check.passed]
        log = f", log {cell.log_dir}" if cell.log_dir else ""
        failure.text = _clean("\n".join([*complaints, f"seed {cell.seed}{log}"]))
    return case


def _skip_reason(cell: CellResult) -> str:
    if cell.status is Status.UNSUPPORTED:
        return cell.explanation or "unsupported"
    return f"known failure: {cell.known}" if cell.status is Status.FAILED and cell.known else ""


def _clean(text: str) -> str:
    """XML 1.0 §2.2 has no control characters but these."""
    return "".join(char for char in text if char in "\t\n\r" or char >= " ")
