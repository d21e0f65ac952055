"""Collects findings: the same one again only counts."""

import re
from collections.abc import Iterable

from qlog.model import Finding

# Distinct findings that are kept of a file, so that a hostile one does not fill the memory.
MOST = 10_000

_INDEX = re.compile(r"/\d+(?=/|$)")


class Findings:
    """The findings of one file, in the order in which they were first met."""

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], Finding] = {}
        self.dropped = 0

    def add(self, finding: Finding) -> None:
        """Keep it, or count it with its like: the same rule, trace, event name and place but for indices."""
        place = _INDEX.sub("/*", finding.pointer)
        key = (finding.rule, finding.severity, finding.trace, finding.name, place)
        known = self._found.get(key)
        if known is not None:
            known.count += finding.count
        elif len(self._found) < MOST:
            self._found[key] = finding
        else:
            self.dropped += finding.count

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add several."""
        for finding in findings:
            self.add(finding)

    def all(self) -> list[Finding]:
        """What was kept."""
        return list(self._found.values())
