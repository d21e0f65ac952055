"""Paths as a tracer is told: which there are, how trying them out goes, when the connection moves."""

from typing import Any

from endpoint.trace import Tracer
from endpoint.transport.parts import Parts
from endpoint.transport.paths import Path


class PathObserver:
    """Compares what is known with what was told. The path of the handshake is qlog's tuple ""."""

    __slots__ = ("_active", "_migrating", "_parts", "_state", "_told", "_tracer", "_validating")

    def __init__(self, parts: Parts, tracer: Tracer) -> None:
        self._parts = parts
        self._tracer = tracer
        self._active = parts.path.id
        self._told: dict[int, Path] = {}
        # Paths that are being validated, and whether the active one was moved to and is not settled yet.
        self._validating: set[int] = set()
        self._migrating = False
        self._state = ""

    def update(self, now: float) -> None:
        """Tell what is new."""
        paths = self._parts.paths.known
        if not self._told and len(paths) == 1 and paths[0].validation is None:
            return
        known = {path.id: path for path in paths}
        for path in paths:
            if path.id not in self._told:
                self._told[path.id] = path
                if path.id:
                    self._tracer.event(now, "tuple_assigned", _described(path))
            self._follow(path, now)
        self._follow_active(now)
        for path_id in [path_id for path_id in self._told if path_id not in known]:
            self._forget(self._told.pop(path_id), now)

    def _follow(self, path: Path, now: float) -> None:
        """The validation of one path (RFC 9000 §8.2)."""
        validating = path.validation is not None
        if validating and path.id not in self._validating:
            self._validating.add(path.id)
            self._tell("probing_started", path, now)
        elif not validating and path.id in self._validating:
            self._validating.discard(path.id)
            self._tell("probing_successful" if path.reachable else "probing_abandoned", path, now)

    def _follow_active(self, now: float) -> None:
        """The path that carries the connection (RFC 9000 §9)."""
        active = self._parts.path
        if active.id != self._active:
            if self._migrating:
                self._tell("migration_abandoned", self._told[self._active], now)
            self._active = active.id
            self._migrating = True
            self._tell("migration_started", active, now)
        # A server follows first and validates then (§9.3).
        if self._migrating and active.reachable and active.id not in self._validating:
            self._migrating = False
            self._tell("migration_complete", active, now)

    def _forget(self, path: Path, now: float) -> None:
        if path.id in self._validating:
            self._validating.discard(path.id)
            self._tell("probing_abandoned", path, now)
        self._tracer.event(now, "tuple_assigned", {"tuple_id": _tuple_id(path)})

    def _tell(self, state: str, path: Path, now: float) -> None:
        data: dict[str, Any] = {"old": self._state} if self._state else {}
        self._tracer.event(now, "migration_state_updated", data | {"new": state} | _described(path))
        self._state = state


def _described(path: Path) -> dict[str, Any]:
    return {
        "tuple_id": _tuple_id(path),
        "tuple_remote": {"address": path.peer},
        "tuple_local": {"address": path.local},
    }


def _tuple_id(path: Path) -> str:
    return str(path.id) if path.id else ""
