"""How the two endpoints of a cell ended."""

from dataclasses import dataclass, replace
from typing import Self

from interop.results import Owner
from interop.runner.process import UNSUPPORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the two processes ended. A status is None for one that didn't end by itself or by SIGTERM."""

    client: int | None = None
    server: int | None = None
    seconds: float = 0.0
    # What went wrong before or beside the endpoints' own ends, and with whom.
    problem: str = ""
    owner: Owner | None = None
    # When the client's ended, on the network's clock.
    client_end: float | None = None
    # The case ends the connection early: what a client makes of that is for the checks.
    ends_early: bool = False

    def explained(self, limit: float, early: int | None = None) -> Self:
        """With the problem that the statuses tell of. `early` is that of a server that did not wait."""
        if early is not None and early != UNSUPPORTED:
            return replace(self, problem=f"server: ended by itself with {early}", owner=Owner.SERVER)
        if self.ends_early and (self.client is None or self.client > 0):
            return self
        if self.client is None:
            return replace(self, problem=f"client: still runs after {limit:.0f} s", owner=Owner.UNKNOWN)
        if self.client not in {0, UNSUPPORTED}:
            return replace(self, problem=f"client: ended with {self.client}", owner=Owner.UNKNOWN)
        if self.client == 0 and self.seconds > limit:
            # The limit is for everything; the server has up to ten seconds to stop.
            problem = f"not over after {limit:.0f} s: the server stopped at {self.seconds:.1f} s"
            return replace(self, problem=problem, owner=Owner.UNKNOWN)
        return self
