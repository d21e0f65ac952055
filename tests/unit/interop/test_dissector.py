"""Captures of simulated connections: everything opens, and what can't be opened says why."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from endpoint.admission import always_retry
from endpoint.config import Config
from endpoint.crypto.initial import initial_keys
from endpoint.crypto.retry import retry_integrity_tag
from endpoint.events import SessionReceived
from endpoint.level import Level
from endpoint.testing.apps import Download
from endpoint.testing.certificates import Chain
from endpoint.testing.link import CLIENT_ADDRESS, RUNNER, SERVER_ADDRESS, Captured
from endpoint.testing.link import Datagram as UdpDatagram
from endpoint.testing.packets import build_packet
from endpoint.testing.pair import Pair, seeded_bytes
from endpoint.testing.scenario import Scenario
from endpoint.tls.messages import ClientHello, HandshakeType
from endpoint.tls.session import Session
from endpoint.wire.frames import Crypto, NewConnectionId, Stream
from endpoint.wire.header import encode_retry
from endpoint.wire.version import QUIC_V1, QUIC_V2, VERSIONS, PacketType
from interop.dissect.container import CapturedFrame
from interop.dissect.dissector import Dissector, dissect
from interop.dissect.keylog import KeyLog
from interop.dissect.model import Datagram, Packet, Side
from interop.simnet import packets
from interop.simnet.pcap import PcapWriter

LINKTYPE_RAW = 101
NEW_ADDRESS = (CLIENT_ADDRESS[0], 700)


class Recorder:
    """Runs a download and keeps what was sent, and the secrets."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.lines: list[str] = []
        scenario.keylog = self.lines.append

    @property
    def key_log(self) -> KeyLog:
        return KeyLog.parse("\n".join(self.lines))

    def download(self, size: int = 20_000) -> Pair:
        pair, _ = self.scenario.download(Download(sizes=[size]), deadline=20.0)
        return pair

    def dissect(self, captured: Sequence[Captured], key_log: KeyLog | None = None) -> list[Datagram]:
        dissector = Dissector(self.key_log if key_log is None else key_log)
        found = []
        for number, each in enumerate(captured, 1):
            data = packets.encode(UdpDatagram(each.data, each.source, each.destination))
            found.append(dissector.add(CapturedFrame(number, int(each.time * 1e9), LINKTYPE_RAW, data)))
        assert None not in found
        return [datagram for datagram in found if datagram is not None]


@pytest.fixture
def recorder(chain: Chain, valid_from: dt.datetime, seed: int) -> Recorder:
    return Recorder(Scenario(chain=chain, wall_time=valid_from.timestamp() + 3600, seed=seed))


def all_packets(datagrams: Sequence[Datagram]) -> list[Packet]:
    return [packet for datagram in datagrams for packet in datagram.packets]


def complaints(datagrams: Sequence[Datagram]) -> list[str]:
    return [text for packet in all_packets(datagrams) if (text := packet.problem or packet.malformed)]


def stream_bytes(datagrams: Sequence[Datagram]) -> int:
    """How far the server's data on stream 0 goes."""
    ends = [
        frame.offset + len(frame.data)
        for packet in all_packets(datagrams)
        if packet.sender is Side.SERVER
        for frame in packet.find(Stream)
    ]
    return max(ends)


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (Config(), Config()),
        (Config(versions=(QUIC_V2,), initial_version=QUIC_V2), Config(versions=(QUIC_V2,))),
        (Config(versions=(QUIC_V1, QUIC_V2)), Config(versions=(QUIC_V2, QUIC_V1))),
        (Config(connection_id_length=0), Config()),
        (Config(connection_id_length=20), Config(connection_id_length=1)),
        (Config(key_update_after=5), Config()),
    ],
    ids=["plain", "v2", "v1 to v2", "no client ID", "long and short", "updates"],
)
def test_everything_opens(recorder: Recorder, client: Config, server: Config) -> None:
    recorder.scenario.client_config, recorder.scenario.server_config = client, server
    datagrams = recorder.dissect(recorder.download().network.captured)
    assert complaints(datagrams) == []
    assert stream_bytes(datagrams) == 20_000
    (number,) = {packet.connection.number for packet in all_packets(datagrams) if packet.connection}
    assert number == 0


def test_messages_and_parameters(recorder: Recorder) -> None:
    datagrams = recorder.dissect(recorder.download().network.captured)
    messages = [message.type for packet in all_packets(datagrams) for message in packet.messages]
    assert messages[:6] == [
        HandshakeType.CLIENT_HELLO,
        HandshakeType.SERVER_HELLO,
        HandshakeType.ENCRYPTED_EXTENSIONS,
        HandshakeType.CERTIFICATE,
        HandshakeType.CERTIFICATE_VERIFY,
        HandshakeType.FINISHED,
    ]
    connection = datagrams[0].packets[0].connection
    assert connection is not None
    assert connection.parameters.keys() == set(Side)
    assert connection.parameters[Side.SERVER].original_destination_connection_id == connection.original_dcid
    assert connection.cipher_suite == 0x1301


@pytest.mark.parametrize("version", [QUIC_V1, QUIC_V2])
def test_retry(recorder: Recorder, version: int) -> None:
    recorder.scenario.admission = always_retry
    recorder.scenario.client_config = Config(versions=(version,), initial_version=version)
    recorder.scenario.server_config = Config(versions=(version,))
    captured = recorder.download().network.captured
    datagrams = recorder.dissect(captured)
    assert complaints(datagrams) == []
    retry = datagrams[1].packets[0]
    assert (retry.kind, retry.sender) == (PacketType.RETRY, Side.SERVER)
    assert datagrams[2].packets[0].token == retry.token
    # With a wrong tag it is void, and the keys that follow from it are not known.
    damaged = bytes((*captured[1].data[:-1], captured[1].data[-1] ^ 1))
    datagrams = recorder.dissect([captured[0], replace(captured[1], data=damaged), *captured[2:]])
    assert datagrams[1].packets[0].problem == "the integrity tag is wrong"


def test_a_retry_for_each_initial(recorder: Recorder) -> None:
    """A ClientHello of two Initials gets two; the client goes by the first one (RFC 9000 §17.2.5.2)."""
    recorder.scenario.admission = always_retry
    captured = recorder.download().network.captured
    first = recorder.dissect(captured)[0].packets[0]
    assert first.scid is not None
    start = encode_retry(VERSIONS[QUIC_V1], first.scid, b"other ID", b"token", 0)
    other = start + retry_integrity_tag(VERSIONS[QUIC_V1], first.dcid, start)
    datagrams = recorder.dissect([*captured[:2], replace(captured[1], data=other), *captured[2:]])
    assert datagrams[2].packets[0].scid == b"other ID"
    assert complaints(datagrams) == []


def test_another_client_hello_after_a_retry(recorder: Recorder) -> None:
    """Not allowed, but done; the secrets are those of the last one."""
    recorder.scenario.admission = always_retry
    captured = recorder.download().network.captured
    first, retry = (each.packets[0] for each in recorder.dissect(captured)[:2])
    content = first.messages[0].content
    assert isinstance(content, ClientHello)
    other = replace(content, random=b"r" * 32)
    assert retry.scid is not None
    keys, _ = initial_keys(VERSIONS[QUIC_V1], retry.scid, is_client=True)
    data = build_packet(
        Level.INITIAL,
        keys,
        [Crypto(0, other.encode())],
        dcid=retry.scid,
        scid=first.scid or b"",
        pn=1,
        token=retry.token,
        fill_to=1200,
    )
    datagrams = recorder.dissect([*captured[:2], replace(captured[2], data=data)])
    assert complaints(datagrams) == []
    packet = datagrams[2].packets[0]
    assert [message.content for message in packet.messages] == [other]
    assert packet.connection is not None
    assert packet.connection.client_random == b"r" * 32
    # The same one again is no new message.
    again = recorder.dissect(captured)[2].packets[0]
    assert (again.messages, again.repeats_crypto) == ([], True)


def test_early_data_before_the_initial(recorder: Recorder) -> None:
    """0-RTT waits for the ClientHello, whichever of the two comes first."""
    recorder.scenario.make_resumable()
    first = recorder.download()
    tickets = [event.session for event in first.client.events if isinstance(event, SessionReceived)]
    recorder.scenario.session = Session.from_bytes(tickets[0])
    recorder.scenario.seed += 100
    pair = recorder.scenario.pair()
    connection = pair.client.connection
    connection.write(connection.open_stream(), bytes(3000), fin=True)
    assert pair.run(lambda: connection.handshake_confirmed, deadline=5.0)
    captured = pair.network.captured
    early = next(
        index
        for index, datagram in enumerate(recorder.dissect(captured))
        if datagram.packets[0].kind is PacketType.ZERO_RTT
    )
    datagrams = recorder.dissect([*captured[early : early + 1], *captured[:early], *captured[early + 1 :]])
    assert complaints(datagrams) == []
    assert any(packet.kind is PacketType.ZERO_RTT and packet.frames for packet in all_packets(datagrams))


def test_a_lost_server_hello(recorder: Recorder) -> None:
    """What comes after it opens all the same: the suite is found by trying."""
    captured = recorder.download().network.captured
    first = next(index for index, each in enumerate(captured) if not each.from_client)
    datagrams = recorder.dissect([*captured[:first], *captured[first + 1 :]])
    assert complaints(datagrams) == []
    assert stream_bytes(datagrams) == 20_000


def test_without_secrets(recorder: Recorder) -> None:
    datagrams = recorder.dissect(recorder.download().network.captured, KeyLog())
    told = complaints(datagrams)
    assert any(text.startswith("the key log has no SERVER_HANDSHAKE_TRAFFIC_SECRET for") for text in told)
    assert any(text.startswith("the key log has no CLIENT_TRAFFIC_SECRET_0 for") for text in told)
    initials = [packet for packet in all_packets(datagrams) if packet.kind is PacketType.INITIAL]
    assert all(packet.is_open for packet in initials)


def test_without_the_beginning(recorder: Recorder) -> None:
    captured = recorder.download().network.captured
    datagrams = recorder.dissect(captured[-5:])
    assert set(complaints(datagrams)) == {"belongs to no connection of the capture"}


def test_damage(recorder: Recorder) -> None:
    """A damaged packet is one that does not open, and does no harm to others."""
    captured = list(recorder.download().network.captured)
    victim = len(captured) - 3
    data = captured[victim].data
    captured[victim] = replace(captured[victim], data=bytes((*data[:-1], data[-1] ^ 1)))
    datagrams = recorder.dissect(captured)
    assert complaints(datagrams) == ["does not open: damaged, or protected with other keys"]
    assert datagrams[victim].packets[-1].problem is not None


def test_rebinding(recorder: Recorder) -> None:
    recorder.scenario.rebindings = ((0.2, NEW_ADDRESS),)
    datagrams = recorder.dissect(recorder.download(500_000).network.captured)
    assert complaints(datagrams) == []
    assert NEW_ADDRESS in {datagram.source for datagram in datagrams}


def test_stateless_reset(recorder: Recorder, seed: int) -> None:
    captured = recorder.download().network.captured
    (token, *_) = [
        frame.stateless_reset_token
        for packet in all_packets(recorder.dissect(captured))
        if packet.sender is Side.SERVER
        for frame in packet.find(NewConnectionId)
    ]
    data = b"\x40" + seeded_bytes(seed)(30) + token
    reset = Captured(99.0, False, data, SERVER_ADDRESS, CLIENT_ADDRESS)
    packet = recorder.dissect([*captured, reset])[-1].packets[0]
    assert (packet.is_stateless_reset, packet.sender, packet.problem) == (True, Side.SERVER, None)


def test_zeros_behind_a_packet(recorder: Recorder) -> None:
    captured = list(recorder.download().network.captured)
    captured[0] = replace(captured[0], data=captured[0].data + bytes(7))
    datagrams = recorder.dissect(captured)
    assert (datagrams[0].padding, len(datagrams[0].packets)) == (7, 1)
    assert complaints(datagrams) == []


def test_a_file(recorder: Recorder, tmp_path: Path) -> None:
    """Through a file it is the same; a file that is cut short gives what it has, and the error."""
    captured = recorder.download().network.captured
    file = tmp_path / "trace_node_left.pcap"
    with PcapWriter(file) as writer:
        for each in captured:
            writer.write(packets.encode(UdpDatagram(each.data, each.source, each.destination)), each.time)
    datagrams, error = dissect(file, recorder.key_log)
    assert error is None
    assert [datagram.size for datagram in datagrams] == [len(each.data) for each in captured]
    assert complaints(datagrams) == []
    assert len(dissect(file, recorder.key_log, most=3)[0]) == 3
    file.write_bytes(file.read_bytes()[:-5])
    datagrams, error = dissect(file, recorder.key_log)
    assert len(datagrams) == len(captured) - 1
    assert "cut short" in str(error)


def test_other_traffic_is_left_out() -> None:
    question = bytes.fromhex("abcd01000001000000000000") + b"\x03www\0"
    dns = UdpDatagram(question, ("10.0.0.1", 5000), ("10.0.0.2", 53))
    frame = CapturedFrame(1, 0, LINKTYPE_RAW, packets.encode(dns))
    assert Dissector(KeyLog()).add(frame) is None


def test_damaged_checksum() -> None:
    data = bytearray(packets.encode(UdpDatagram(bytes(50), CLIENT_ADDRESS, SERVER_ADDRESS)))
    right = Dissector(KeyLog()).add(CapturedFrame(1, 0, LINKTYPE_RAW, bytes(data)))
    data[-1] ^= 1
    wrong = Dissector(KeyLog()).add(CapturedFrame(1, 0, LINKTYPE_RAW, bytes(data)))
    assert right is not None
    assert wrong is not None
    assert (right.checksum_is_right, wrong.checksum_is_right) == (True, False)


def test_loss_has_no_say(recorder: Recorder) -> None:
    recorder.scenario.up = replace(RUNNER, loss=0.1)
    assert complaints(recorder.dissect(recorder.download(100_000).network.captured)) == []
