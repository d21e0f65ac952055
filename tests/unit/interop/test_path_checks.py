"""The checks on rebinding and migration."""

import pytest
from unit.interop.recorded import CLIENT, SERVER, datagram, from_server, long, run, short

from endpoint.wire.frames import ConnectionClose, Frame, HandshakeDone, PathChallenge, PathResponse
from endpoint.wire.version import PacketType
from interop.dissect.model import Datagram, Side
from interop.path_checks import challenged_paths, changed_address, fresh_connection_ids
from interop.testcases import ALL_CASES

NEW_PORT = (CLIENT[0], 700)
NEW_HOST = ("193.167.0.7", 800)
CHALLENGE = PathChallenge(bytes(8))
RESPONSE = PathResponse(bytes(8))
PREFERRED = (SERVER[0], 444)

STEADY = [from_server(short()), from_server(short())]


def to(destination: tuple[str, int], *frames: Frame) -> Datagram:
    return from_server(short(*frames), destination=destination)


def test_a_challenge_and_its_answer() -> None:
    right = [*STEADY, to(NEW_PORT, CHALLENGE), to(CLIENT), to(NEW_PORT)]
    left = [datagram(short()), datagram(short(RESPONSE))]
    assert challenged_paths(run(left, right)) == []
    assert changed_address(run(left, right)) == [f"the server saw the client only at {CLIENT[0]}"]


def test_a_new_host() -> None:
    assert changed_address(run(right=[*STEADY, to(NEW_HOST)])) == []


@pytest.mark.parametrize(
    ("left", "right", "text"),
    [
        ([], STEADY, "one path only"),
        ([], [], "one path only"),
        # Data goes first; a later challenge does not help.
        (
            [datagram(short(RESPONSE))],
            [*STEADY, to(NEW_PORT), to(NEW_PORT, CHALLENGE)],
            "right 3 (0.000 s, packet number 0): server: the first datagram",
        ),
        # It is coalesced behind another packet.
        (
            [datagram(short(RESPONSE))],
            [*STEADY, from_server(long(PacketType.HANDSHAKE), short(CHALLENGE), destination=NEW_PORT)],
            "right 3 (0.000 s, packet number 0): server: the first datagram",
        ),
        ([datagram(short())], [*STEADY, to(NEW_PORT, CHALLENGE)], "0000 is not answered"),
        # Only the first answer of a packet counts.
        (
            [datagram(short(PathResponse(b"another8"), RESPONSE))],
            [*STEADY, to(NEW_PORT, CHALLENGE)],
            "0000 is not answered",
        ),
    ],
)
def test_complains(left: list[Datagram], right: list[Datagram], text: str) -> None:
    assert text in " / ".join(challenged_paths(run(left, right)))


def test_who_is_to_blame_for_silence() -> None:
    """The client only if the challenge has come to it."""
    right = [*STEADY, to(NEW_PORT, CHALLENGE)]
    (lost,) = challenged_paths(run([datagram(short())], right))
    (arrived,) = challenged_paths(run([datagram(short()), to(CLIENT, CHALLENGE)], right))
    assert (lost.side, arrived.side) == (None, Side.CLIENT)


def test_a_server_is_not_to_blame_for_a_handshake_or_an_end_on_a_new_path() -> None:
    """The verdict is the runner's all the same."""
    done = from_server(short(HandshakeDone()))
    close = ConnectionClose(error_code=0, frame_type=0, reason="")
    answered = [datagram(short(RESPONSE))]
    (in_handshake,) = challenged_paths(run(answered, [*STEADY, to(NEW_PORT, HandshakeDone()), to(NEW_PORT)]))
    (later,) = challenged_paths(run(answered, [*STEADY, done, to(NEW_PORT)]))
    (end,) = challenged_paths(run(answered, [*STEADY, done, to(NEW_PORT, close)]))
    assert (in_handshake.side, later.side, end.side) == (None, Side.SERVER, None)
    assert in_handshake.endswith("in its first packet: the address changed in the handshake")
    assert end.endswith("in its first packet: it closes the connection")


def test_connection_ids() -> None:
    first = datagram(long(PacketType.INITIAL, dcid=b"\xaa"))
    later = datagram(short(dcid=b"\xbb"))
    assert fresh_connection_ids(run([first, later])) == []
    good = datagram(short(dcid=b"\xcc"), destination=PREFERRED)
    assert fresh_connection_ids(run([first, later, good, good])) == []
    bad = datagram(short(dcid=b"\xaa"), destination=PREFERRED)
    assert "has an old ID, aa" in fresh_connection_ids(run([first, later, bad]))[0]


@pytest.mark.parametrize(("test", "decides"), [("rebind-port", True), ("rebind-handshake", False)])
def test_where_a_challenge_decides(test: str, decides: bool) -> None:
    """In the handshake it is asked for beyond the verdict."""
    case = ALL_CASES[test]
    assert challenged_paths in case.all_checks()
    assert (challenged_paths not in case.strict_checks()) is decides
