"""The checks on rebinding and migration."""

import pytest
from unit.interop.recorded import CLIENT, SERVER, datagram, from_server, long, run, short

from interop.capture import Datagram, PacketType
from interop.path_checks import challenged_paths, changed_address, fresh_connection_ids

NEW_PORT = (CLIENT[0], 700)
NEW_HOST = ("193.167.0.7", 800)
CHALLENGE = {"quic.path_challenge.data": "c0"}
RESPONSE = {"quic.path_response.data": "c0"}
PREFERRED = (SERVER[0], 444)

STEADY = [from_server(short()), from_server(short())]


def to(destination: tuple[str, int], **fields: str) -> Datagram:
    return from_server(short(fields), destination=destination)


def test_a_challenge_and_its_answer() -> None:
    right = [*STEADY, to(NEW_PORT, **CHALLENGE), to(CLIENT), to(NEW_PORT)]
    left = [datagram(short()), datagram(short(RESPONSE))]
    assert challenged_paths(run(left, right)) == []
    assert changed_address(run(left, right)) == [f"the server saw the client only at {{'{CLIENT[0]}'}}"]


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
            [*STEADY, to(NEW_PORT), to(NEW_PORT, **CHALLENGE)],
            "no PATH_CHALLENGE",
        ),
        # It is coalesced behind another packet.
        (
            [datagram(short(RESPONSE))],
            [*STEADY, from_server(long(PacketType.HANDSHAKE), short(CHALLENGE), destination=NEW_PORT)],
            "no PATH_CHALLENGE",
        ),
        ([datagram(short())], [*STEADY, to(NEW_PORT, **CHALLENGE)], "c0 is not answered"),
        # Only the first answer of a packet counts.
        (
            [datagram(short({"quic.path_response.data": "c1;c0"}))],
            [*STEADY, to(NEW_PORT, **CHALLENGE)],
            "c0 is not answered",
        ),
    ],
)
def test_complains(left: list[Datagram], right: list[Datagram], text: str) -> None:
    assert text in " / ".join(challenged_paths(run(left, right)))


def test_connection_ids() -> None:
    first = datagram(long(PacketType.INITIAL, {"quic.dcid": "aa"}))
    later = datagram(short({"quic.dcid": "bb"}))
    assert fresh_connection_ids(run([first, later])) == []
    good = datagram(short({"quic.dcid": "cc"}), destination=PREFERRED)
    assert fresh_connection_ids(run([first, later, good, good])) == []
    bad = datagram(short({"quic.dcid": "aa"}), destination=PREFERRED)
    assert "has an old ID, aa" in fresh_connection_ids(run([first, later, bad]))[0]
