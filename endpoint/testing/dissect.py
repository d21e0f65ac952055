"""Reads what a simulated network has captured: 1-RTT packets, with the secrets of the key log."""

from collections.abc import Iterator
from dataclasses import dataclass

from endpoint.batch import TAG_LENGTH
from endpoint.crypto.aead import CIPHER_SUITES
from endpoint.crypto.keys import PacketKeys
from endpoint.crypto.packet_protection import open_payload, unprotect_header
from endpoint.level import Level
from endpoint.testing.link import Captured
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frames import Frame, PathChallenge, PathResponse
from endpoint.wire.header import LONG_HEADER_FORM
from endpoint.wire.version import QUIC_V1, VERSIONS

# What endpoints of this distribution agree on unless told otherwise.
_SUITE = CIPHER_SUITES[0x1301]


@dataclass(frozen=True, slots=True)
class Dissected:
    """A 1-RTT packet that is alone in its datagram."""

    captured: Captured
    dcid: bytes
    pn: int
    frames: list[Frame]

    @property
    def challenges(self) -> list[bytes]:
        """Data of its PATH_CHALLENGE frames."""
        return [frame.data for frame in self.frames if isinstance(frame, PathChallenge)]

    @property
    def responses(self) -> list[bytes]:
        """Data of its PATH_RESPONSE frames."""
        return [frame.data for frame in self.frames if isinstance(frame, PathResponse)]


class KeyLog:
    """Give `add` to an endpoint as its key log; then `dissect` opens packets of the first key phase."""

    def __init__(self, cid_length: int = 8) -> None:
        self._cid_length = cid_length
        self._secrets: dict[str, bytes] = {}

    def add(self, line: str) -> None:
        """A line in the NSS format."""
        label, _, secret = line.split()
        self._secrets[label] = bytes.fromhex(secret)

    def dissect(self, captured: list[Captured]) -> Iterator[Dissected]:
        """The 1-RTT packets of one connection, in the order they were sent."""
        keys: dict[bool, PacketKeys] = {}
        expected = {True: 0, False: 0}
        for item in captured:
            if item.data[0] & LONG_HEADER_FORM:
                continue
            side = item.from_client
            if side not in keys:
                secret = self._secrets["CLIENT_TRAFFIC_SECRET_0" if side else "SERVER_TRAFFIC_SECRET_0"]
                keys[side] = PacketKeys(_SUITE, secret, VERSIONS[QUIC_V1])
            view = memoryview(bytearray(item.data))
            pn_offset, end = 1 + self._cid_length, len(view)
            dcid = bytes(view[1:pn_offset])
            header = unprotect_header(keys[side], view, 0, pn_offset, end, expected[side])
            assert header is not None
            _, pn, pn_length = header
            start = pn_offset + pn_length
            assert open_payload(keys[side], view, 0, start, end, pn), f"packet {pn} does not open"
            expected[side] = max(expected[side], pn + 1)
            frames = list(iter_frames(view, start, end - TAG_LENGTH, Level.ONE_RTT))
            yield Dissected(item, dcid, pn, frames)
