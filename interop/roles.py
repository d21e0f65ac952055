"""Values of TESTCASE that the public runner does not have: ends of ours for the cases of `testcases.EXTRA`.

The interop image does not have them; our peer program, `interop/peers/interquic/run.py`, does.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Final

from endpoint.cli.testcases import InteropCase, Role, find_case
from endpoint.testing.misbehaviour import optimistic_acks, retry_every_time, unhurried_key_updates


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRole:
    """What an end is set to, and how it behaves besides. `is_traced`: what it does is worth a trace."""

    __test__ = False  # what pytest asks of a class with such a name

    case: InteropCase
    behaviour: Callable[[], AbstractContextManager[None]] = nullcontext
    is_traced: bool = True


_TRANSFER: Final = find_case("transfer", Role.CLIENT)
_ZERO_RTT: Final = find_case("zerortt", Role.SERVER)
assert _TRANSFER is not None, "it is in the table"
assert _ZERO_RTT is not None, "it is in the table"

_ROLES: Final = (
    TestRole(
        case=replace(
            _TRANSFER,
            name="optimisticack",
            roles=frozenset({Role.CLIENT}),
            # A server that believes it all has nothing to send again: there is no point in waiting for long.
            config=replace(_TRANSFER.config, max_idle_timeout=3.0),
        ),
        behaviour=optimistic_acks,
        is_traced=False,
    ),
    TestRole(
        # After one packet: as soon as the next update is possible.
        case=replace(_TRANSFER, name="keyupdatestorm", config=replace(_TRANSFER.config, key_update_after=1)),
        behaviour=unhurried_key_updates,
    ),
    TestRole(
        case=replace(_TRANSFER, name="restart", roles=frozenset({Role.SERVER}), keep_reset_key=True),
    ),
    TestRole(
        case=replace(_ZERO_RTT, name="zerorttretry", roles=frozenset({Role.SERVER}), always_retry=True),
        behaviour=retry_every_time,
    ),
)


def find_role(name: str, role: str) -> TestRole | None:
    """The test role of that name, None if there is none; any strings are fine."""
    return next((each for each in _ROLES if each.case.name == name and role in each.case.roles), None)
