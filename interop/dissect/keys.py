"""Opens the packets of one direction at one level, whose version and cipher suite need not be known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from endpoint.batch import TAG_LENGTH
from endpoint.crypto.aead import CIPHER_SUITES
from endpoint.crypto.keys import PacketKeys
from endpoint.crypto.packet_protection import open_payload, unprotect_header
from endpoint.hkdf import hash_length
from endpoint.wire.header import KEY_PHASE_BIT, LONG_HEADER_FORM
from endpoint.wire.version import VersionParameters


@dataclass(frozen=True, slots=True)
class Opened:
    """A packet without its protection. `generation` counts key updates, 0 at every level but 1-RTT."""

    first_byte: int
    number: int
    header_size: int
    payload: bytes
    keys: PacketKeys
    generation: int


class DirectionKeys:
    """Candidates for the keys of one direction; the one that opened a packet is tried first ever after.

    A capture may begin after the ServerHello, and 0-RTT has the suite of another connection: what opens is
    right, whatever else is known.
    """

    def __init__(self, candidates: Sequence[PacketKeys]) -> None:
        # Each with its generations, made as key updates are met (RFC 9001 §6.1).
        self._candidates = [[keys] for keys in candidates]
        self._generation = 0

    def open(self, packet: bytes, pn_offset: int, expected_pn: int) -> Opened | None:
        """Open one packet, which must be all of `packet`; None if no key does."""
        for at, generations in enumerate(self._candidates):
            opened = self._open(generations, packet, pn_offset, expected_pn)
            if opened is not None:
                if at:
                    self._candidates.insert(0, self._candidates.pop(at))
                return opened
        return None

    def _open(
        self, generations: list[PacketKeys], packet: bytes, pn_offset: int, expected_pn: int
    ) -> Opened | None:
        clear = bytearray(packet)
        end = len(packet)
        header = unprotect_header(generations[0], memoryview(clear), 0, pn_offset, end, expected_pn)
        if header is None:
            return None
        first_byte, number, pn_length = header
        start = pn_offset + pn_length
        if end - start < TAG_LENGTH:
            return None
        for generation in self._likely_generations(first_byte):
            while len(generations) <= generation:
                generations.append(generations[-1].next_generation())
            data = memoryview(bytearray(clear))  # a failure overwrites it
            if open_payload(generations[generation], data, 0, start, end, number):
                self._generation = max(self._generation, generation)
                payload = bytes(data[start : end - TAG_LENGTH])
                return Opened(first_byte, number, start, payload, generations[generation], generation)
        return None

    def _likely_generations(self, first_byte: int) -> Iterator[int]:
        if first_byte & LONG_HEADER_FORM:
            yield 0
            return
        phase = 1 if first_byte & KEY_PHASE_BIT else 0
        now = self._generation
        # A capture behind a lossy link may lack a whole phase, hence two ahead.
        for generation in (now, now + 1, now - 1, now + 2):
            if generation >= 0 and generation & 1 == phase:
                yield generation


def candidates(secret: bytes, versions: Sequence[VersionParameters]) -> list[PacketKeys]:
    """The keys that `secret` may stand for: every suite with a hash of its length, in every version."""
    return [
        PacketKeys(suite, secret, version)
        for version in versions
        for suite in CIPHER_SUITES.values()
        if hash_length(suite.hash_name) == len(secret)
    ]
