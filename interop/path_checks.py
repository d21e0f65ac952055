"""The interop runner's verdicts on rebinding and migration; see `interop.checks`."""

from collections.abc import Iterable
from typing import Final

from interop.capture import FROM_CLIENT, FROM_SERVER, Capture, Datagram
from interop.checks import Run

_ADDRESSES: Final = (
    "frame.number",
    "ip.src",
    "ipv6.src",
    "udp.srcport",
    "ip.dst",
    "ipv6.dst",
    "udp.dstport",
)


def challenged_paths(run: Run) -> list[str]:
    """rebind-port: the server's first datagram to a new address has a PATH_CHALLENGE, which is answered."""
    first = first_on_paths(run.right, FROM_SERVER)
    if len(first) < 2:
        return ["the server sent on one path only"]
    found = []
    challenges = set()
    for datagram in first[1:]:
        challenge = datagram.packets[0].first("quic.path_challenge.data")
        if challenge is None:
            found.append(
                f"right: datagram {datagram.number}, the first from {datagram.source} to "
                f"{datagram.destination}, has no PATH_CHALLENGE in its first packet"
            )
        else:
            challenges.add(challenge)
    answers = run.left.datagrams(f"{FROM_CLIENT} && quic.path_response.data")
    responses = {datagram.packets[0].first("quic.path_response.data") for datagram in answers}
    return found + [f"PATH_CHALLENGE {challenge} is not answered" for challenge in challenges - responses]


def changed_address(run: Run) -> list[str]:
    """rebind-addr: the server saw more than one IP address of the client."""
    hosts = {datagram.destination[0] for datagram in first_on_paths(run.right, FROM_SERVER)}
    return [] if len(hosts) > 1 else [f"the server saw the client only at {hosts}"]


def fresh_connection_ids(run: Run) -> list[str]:
    """connectionmigration: left, the client's first packet to a new address has a new Destination ID.

    It differs from that of the very first Initial or, later, of the migration before.
    """
    found = []
    used: str | None = None
    for datagram in first_on_paths(run.left, FROM_CLIENT):
        connection_id = datagram.packets[0].first("quic.dcid")
        if connection_id == used:
            found.append(f"left: datagram {datagram.number} to {datagram.destination} has an old ID, {used}")
        used = connection_id
    return found


def first_on_paths(capture: Capture, direction: str) -> list[Datagram]:
    """The first datagram of one side on each path, in order."""
    numbers = _first_numbers(capture.rows(direction, *_ADDRESSES))
    if not numbers:
        return []
    return capture.datagrams(" || ".join(f"frame.number=={number}" for number in numbers))


def _first_numbers(rows: Iterable[tuple[str, ...]]) -> list[str]:
    paths: dict[tuple[str, ...], str] = {}
    for number, *path in rows:
        paths.setdefault(tuple(path), number)
    return list(paths.values())
