"""The interop runner's verdicts on rebinding and migration; see `interop.checks`."""

from endpoint.batch import Address
from endpoint.wire.frames import ConnectionClose, HandshakeDone, PathChallenge, PathResponse
from interop.capture import Capture, Complaint
from interop.checks import Run
from interop.dissect.model import Datagram, Side


def challenged_paths(run: Run) -> list[Complaint]:
    """rebind-port: the server's first datagram to a new address has a PATH_CHALLENGE, which is answered.

    The runner makes no difference, but a server is not to blame where the handshake was not over, in which
    addresses don't change (RFC 9000 §9), nor where it has nothing left to say but that it closes.
    """
    first = first_on_paths(run.right, Side.SERVER)
    if len(first) < 2:
        return [Complaint("the server sent on one path only")]
    responses = {
        response.data
        for datagram in run.left.sent_by(Side.CLIENT)
        for response in datagram.packets[0].find(PathResponse)[:1]
    }
    delivered = {
        challenge.data
        for _, packet in run.left.packets(Side.SERVER)
        for challenge in packet.find(PathChallenge)
    }
    confirmed = _handshake_done(run.right)
    found = []
    for datagram in first[1:]:
        packet = datagram.packets[0]
        challenge = next(iter(packet.find(PathChallenge)), None)
        if challenge is None:
            text = (
                f"the first datagram from {_name(datagram.source)} to {_name(datagram.destination)} "
                "has no PATH_CHALLENGE in its first packet"
            )
            excuse = _excuse(datagram, confirmed)
            found.append(
                run.right.complaint(text + excuse, datagram, packet, None if excuse else Side.SERVER)
            )
        elif challenge.data not in responses:
            text = f"PATH_CHALLENGE {challenge.data.hex()} is not answered"
            side = Side.CLIENT if challenge.data in delivered else None
            found.append(run.right.complaint(text, datagram, packet, side))
    return found


def _handshake_done(capture: Capture) -> int | None:
    """The number of the server's first datagram with a HANDSHAKE_DONE."""
    sightings = capture.packets(Side.SERVER)
    return next((seen.datagram.number for seen in sightings if seen.packet.find(HandshakeDone)), None)


def _excuse(datagram: Datagram, handshake_done: int | None) -> str:
    """Why the first datagram on a path may go without a challenge, "" if it may not."""
    if handshake_done is not None and datagram.number <= handshake_done:
        return ": the address changed in the handshake"
    if any(packet.find(ConnectionClose) for packet in datagram.packets):
        return ": it closes the connection"
    return ""


def changed_address(run: Run) -> list[Complaint]:
    """rebind-addr: the server saw more than one IP address of the client."""
    hosts = {datagram.destination[0] for datagram in first_on_paths(run.right, Side.SERVER)}
    return [] if len(hosts) > 1 else [Complaint(f"the server saw the client only at {', '.join(hosts)}")]


def fresh_connection_ids(run: Run) -> list[Complaint]:
    """connectionmigration: left, the client's first packet to a new address has a new Destination ID.

    It differs from that of the very first Initial or, later, of the migration before.
    """
    found = []
    used: bytes | None = None
    for datagram in first_on_paths(run.left, Side.CLIENT):
        packet = datagram.packets[0]
        if packet.dcid == used:
            text = f"the first datagram to {_name(datagram.destination)} has an old ID, {used.hex()}"
            found.append(run.left.complaint(text, datagram, packet, Side.CLIENT))
        used = packet.dcid
    return found


def first_on_paths(capture: Capture, side: Side) -> list[Datagram]:
    """The first datagram of one side on each path, in order."""
    paths: dict[tuple[Address, Address], Datagram] = {}
    for datagram in capture.sent_by(side):
        paths.setdefault((datagram.source, datagram.destination), datagram)
    return list(paths.values())


def _name(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
