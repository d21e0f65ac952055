"""Our endpoint with a defect: `python peer.py DEFECT`, with the variables of the interface."""

import runpy
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import interop
from endpoint.cli import qns
from endpoint.cli.testcases import InteropCase, find_case
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.transport import extensions, packet_filler, receive, setup
from endpoint.transport.holes import PacketNumberHoles
from endpoint.transport.key_update import KeyPhase
from endpoint.transport.parts import Parts
from endpoint.transport.retry import accept_retry
from endpoint.wire import frame_writer
from endpoint.wire.header import LongHeader
from endpoint.wire.version import QUIC_V1
from interop import roles
from interop.roles import TestRole, find_role

PROGRAM = Path(interop.__file__).with_name("peers") / "interquic" / "run.py"


def plant(module: ModuleType, name: str, value: object) -> None:
    """Replace what a module has under a name, imported or its own."""
    vars(module)[name] = value


def configured(change: Callable[[InteropCase], InteropCase]) -> Callable[[], None]:
    """A defect that is a setting."""

    def apply() -> None:
        def find(name: str, role: str) -> InteropCase | None:
            case = find_case(name, role)
            return None if case is None else change(case)

        def play(name: str, role: str) -> TestRole | None:
            played = find_role(name, role)
            return None if played is None else replace(played, case=change(played.case))

        plant(qns, "find_case", find)
        plant(roles, "find_role", play)

    return apply


def no_ecn_counts() -> None:
    append_ack = frame_writer.append_ack

    def append(
        out: bytearray, ranges: Sequence[tuple[int, int]], ack_delay: int, _ecn: object, limit: int
    ) -> object:
        return append_ack(out, ranges, ack_delay, None, limit)

    plant(packet_filler, "append_ack", append)


def wrong_response() -> None:
    append_path_response = frame_writer.append_path_response

    def append(out: bytearray, data: bytes) -> None:
        append_path_response(out, bytes(byte ^ 1 for byte in data))

    plant(packet_filler, "append_path_response", append)


def no_challenge() -> None:
    """A PING in its place: the datagram elicits an ACK, as it would with a challenge."""

    def append(out: bytearray, _data: bytes) -> None:
        frame_writer.append_ping(out)

    plant(packet_filler, "append_path_challenge", append)


def numbers_anew() -> None:
    def accept(parts: Parts, header: LongHeader, packet: bytes) -> bool:
        accepted = accept_retry(parts, header, packet)
        if accepted:
            parts.spaces[Level.INITIAL].next_pn = 0
        return accepted

    plant(receive, "accept_retry", accept)


def early_numbers_anew() -> None:
    def accept(parts: Parts, header: LongHeader, packet: bytes) -> bool:
        accepted = accept_retry(parts, header, packet)
        if accepted:
            parts.spaces[Level.ONE_RTT].next_pn = 0
        return accepted

    plant(receive, "accept_retry", accept)


def tired_of_updates() -> None:
    """It takes a second update for an error, as if its own packets had confirmed nothing."""

    class Tired(KeyPhase):
        def on_peer_updated(self, pn: int, now: float) -> None:
            if self.updates:
                raise TransportError(TransportErrorCode.KEY_UPDATE_ERROR, "too many")
            super().on_peer_updated(pn, now)

    plant(setup, "KeyPhase", Tired)


def no_holes() -> None:
    """As with a server that has never heard of optimistic acknowledgements."""

    class Unbroken(PacketNumberHoles):
        def _plan(self) -> None:
            self.due_at = 1 << 62

    plant(extensions, "PacketNumberHoles", Unbroken)


def deaf_to_resets() -> None:
    def tail_token(_data: object, _start: int, _end: int) -> None:
        return None

    plant(receive, "tail_token", tail_token)


DEFECTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "no ECN counts": no_ecn_counts,
    "wrong PATH_RESPONSE": wrong_response,
    "no PATH_CHALLENGE": no_challenge,
    "numbers anew after a Retry": numbers_anew,
    "2000 streams": configured(
        lambda case: replace(case, config=replace(case.config, initial_max_streams_bidi=2000))
    ),
    "only version 1": configured(
        lambda case: replace(case, config=replace(case.config, versions=(QUIC_V1,)))
    ),
    "any cipher suite": configured(lambda case: replace(case, cipher_suites=None)),
    "no tickets": configured(lambda case: replace(case, resume=False, early_data=False)),
    "no early data": configured(lambda case: replace(case, early_data=False)),
    "no key update": configured(
        lambda case: replace(case, config=replace(case.config, key_update_after=None))
    ),
    "no Retry": configured(lambda case: replace(case, always_retry=False)),
    "Retry for all": configured(lambda case: replace(case, always_retry=True)),
    "0-RTT numbers anew after a Retry": early_numbers_anew,
    "tired of key updates": tired_of_updates,
    "no packet number left out": no_holes,
    "another key for resets": configured(lambda case: replace(case, keep_reset_key=False)),
    "deaf to resets": deaf_to_resets,
    "patient client": configured(lambda case: replace(case, config=replace(case.config, initial_rtt=1.0))),
}

if __name__ == "__main__":
    DEFECTS[sys.argv[1]]()
    runpy.run_path(str(PROGRAM), run_name="__main__")
