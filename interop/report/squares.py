"""The matrix as reports show it: the repetitions of a cell as one square, in rows and columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, pstdev

from interop.results import CellResult, MatrixResult, Status
from interop.testcases import ALL_CASES, Group

_WORST_FIRST = (Status.FAILED, Status.UNSUPPORTED, Status.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class Square:
    """One test case between one server and one client, with all its repetitions, of which there is one."""

    cells: tuple[CellResult, ...]

    @property
    def test(self) -> str:
        return self.cells[0].test

    @property
    def abbreviation(self) -> str:
        """The runner's letters, or the name of a case that this version doesn't know."""
        case = ALL_CASES.get(self.test)
        return case.abbreviation if case is not None else self.test

    @property
    def is_measurement(self) -> bool:
        case = ALL_CASES.get(self.test)
        return case is not None and case.group is Group.MEASUREMENT

    @property
    def passed(self) -> int:
        return sum(cell.status is Status.SUCCEEDED for cell in self.cells)

    @property
    def status(self) -> Status:
        """Failed if any repetition did."""
        found = {cell.status for cell in self.cells}
        return next(
            status for status in (Status.FAILED, Status.UNSUPPORTED, Status.SUCCEEDED) if status in found
        )

    @property
    def worst(self) -> CellResult:
        """A cell that has the status of the square."""
        return next(cell for cell in self.cells if cell.status is self.status)

    @property
    def unexpected(self) -> bool:
        return any(cell.unexpected for cell in self.cells)

    @property
    def label(self) -> str:
        """The letters, and how many repetitions passed if not all did."""
        count = len(self.cells)
        return (
            self.abbreviation if self.passed in {0, count} else f"{self.abbreviation} {self.passed}/{count}"
        )

    @property
    def goodput(self) -> str:
        """As the runner writes it; empty if nothing was measured."""
        rates = [1000 * cell.goodput_mbps for cell in self.cells if cell.goodput_mbps is not None]
        return f"{mean(rates):.0f} (± {pstdev(rates):.0f}) kbps" if rates else ""


def squares(result: MatrixResult, server: str, client: str) -> list[Square]:
    """Those of a pair, in the order of the tests."""
    found = (tuple(result.pair(server, client, test)) for test in in_order(result.tests))
    return [Square(cells) for cells in found if cells]


def all_squares(result: MatrixResult) -> Iterator[Square]:
    """Pair by pair."""
    for client in result.clients:
        for server in result.servers:
            yield from squares(result, server, client)


def in_order(tests: list[str]) -> list[str]:
    """As in the table of cases; what is not there comes last."""
    known = list(ALL_CASES)
    return sorted(tests, key=lambda test: known.index(test) if test in ALL_CASES else len(known))


def counts(result: MatrixResult) -> dict[Status, int]:
    """Cells by verdict."""
    return {status: sum(cell.status is status for cell in result.cells) for status in Status}


def failures(result: MatrixResult) -> list[CellResult]:
    """Every cell that failed, the unexpected ones first."""
    failed = [cell for cell in result.cells if cell.status is Status.FAILED]
    return sorted(failed, key=lambda cell: (not cell.unexpected, cell.key))
