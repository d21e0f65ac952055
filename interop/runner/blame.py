"""Whose failure a failure is, where the cell alone does not tell: what the two do with others tells."""

from collections.abc import Iterable
from dataclasses import replace

from interop.results import CellResult, MatrixResult, Owner, Status


def attribute(result: MatrixResult) -> MatrixResult:
    """The result with an owner for each failure that the other pairs decide."""
    return replace(result, cells=tuple(_attribute(cell, result.cells) for cell in result.cells))


def _attribute(cell: CellResult, cells: tuple[CellResult, ...]) -> CellResult:
    if cell.status is not Status.FAILED or cell.owner is not Owner.UNKNOWN:
        return cell
    if cell.server == cell.client:
        return cell
    # A pair of one implementation with itself says less than one with a stranger, but it says something.
    server_can = _succeeds(other for other in cells if _same(other, cell) and other.server == cell.server)
    client_can = _succeeds(other for other in cells if _same(other, cell) and other.client == cell.client)
    if server_can and not client_can:
        return replace(cell, owner=Owner.CLIENT)
    if client_can and not server_can:
        return replace(cell, owner=Owner.SERVER)
    return cell


def _same(other: CellResult, cell: CellResult) -> bool:
    """The same case in another pair."""
    return other.test == cell.test and (other.server, other.client) != (cell.server, cell.client)


def _succeeds(cells: Iterable[CellResult]) -> bool:
    return any(cell.status is Status.SUCCEEDED for cell in cells)
