"""Semantic checks: what no schema can say about the events of a trace.

Every module of this package holds one group of checks, or a part of one; ids are those of the table that
`interquic qlog checks` prints.
"""

from qlog.checks import (
    addresses,
    congestion,
    flow_control,
    http3,
    loss,
    numbers,
    packet_types,
    parameters,
    streams,
    trace,
)
from qlog.checks.base import Check
from qlog.checks.suite import Suite
from qlog.model import Observer

_MODULES = (
    trace,
    parameters,
    numbers,
    packet_types,
    addresses,
    streams,
    flow_control,
    loss,
    congestion,
    http3,
)

ALL: tuple[type[Check], ...] = tuple(
    sorted(
        (
            check
            for module in _MODULES
            for check in vars(module).values()
            if isinstance(check, type) and issubclass(check, Check) and hasattr(check, "id")
        ),
        key=lambda check: check.id,
    )
)


def observers() -> list[Observer]:
    """What runs every check, for one file."""
    return [Suite(ALL)]
