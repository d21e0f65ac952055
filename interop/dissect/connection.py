"""One connection of a capture: its keys, packet numbers, handshake and connection IDs, both directions."""

from typing import Final, Protocol

from endpoint.crypto.initial import initial_keys
from endpoint.crypto.keys import PacketKeys
from endpoint.errors import TransportError
from endpoint.level import Level
from endpoint.tls.keylog import KEY_LOG_LABELS
from endpoint.tls.messages import RANDOM_LENGTH, ClientHello, HandshakeType, ServerHello
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frames import Crypto, NewConnectionId
from endpoint.wire.transport_params import TransportParameters
from endpoint.wire.version import VERSIONS, PacketType
from interop.dissect.handshake import READ_ERRORS, HandshakeStream
from interop.dissect.keylog import KeyLog
from interop.dissect.keys import DirectionKeys, Opened, candidates
from interop.dissect.model import Message, Packet, Side

# Behind legacy_version in a ClientHello.
_RANDOM: Final = slice(2, 2 + RANDOM_LENGTH)
_NO_CLIENT_HELLO: Final = "the ClientHello is not in the capture, so its secrets can't be found"
_NOT_AUTHENTIC: Final = "does not open: damaged, or protected with other keys"


class Routes(Protocol):
    """Where a connection says which packets are its own."""

    def add_cid(self, cid: bytes, connection: "Connection", owner: Side) -> None:
        """Packets with this Destination Connection ID go to `owner`. It may be empty."""

    def add_token(self, token: bytes, connection: "Connection", owner: Side) -> None:
        """A stateless reset of `owner` ends with this (RFC 9000 §10.3)."""


class Connection:
    """What is known of a connection so far. `number` counts the connections of a capture from 0."""

    def __init__(self, original_dcid: bytes, key_log: KeyLog, routes: Routes) -> None:
        self.number = -1
        self.original_dcid = original_dcid
        # One for each Initial of a first flight; the client goes by one of them (RFC 9000 §17.2.5.2).
        self.retry_scids: list[bytes] = []
        self.client_random: bytes | None = None
        self._client_hello: bytes | None = None
        self.cipher_suite: int | None = None
        self.parameters: dict[Side, TransportParameters] = {}
        self.empty_cids: set[Side] = set()
        self._key_log = key_log
        self._routes = routes
        self._keys: dict[tuple[Side, Level, int | None], DirectionKeys] = {}
        self._largest: dict[tuple[Side, Level], int] = {}
        self._streams: dict[tuple[Side, Level], HandshakeStream] = {}
        self._waiting: list[tuple[Packet, bytes, int]] = []

    def open(self, packet: Packet, data: bytes, pn_offset: int, sender: Side) -> bool:
        """Open `packet`, whose bytes are `data`, if it is one of `sender`'s.

        Otherwise the packet says why not. One that comes before its keys is opened when they are known.
        """
        opened = self._open(packet, data, pn_offset, sender)
        if opened is None:
            return False
        self._on_opened(packet, opened, sender)
        return True

    def wait(self, packet: Packet, data: bytes, pn_offset: int, sender: Side) -> None:
        """Try again once the secrets are known, if they are not."""
        packet.connection, packet.sender = self, sender
        if self.client_random is None and packet.kind is not PacketType.INITIAL:
            self._waiting.append((packet, data, pn_offset))

    def on_retry(self, scid: bytes) -> None:
        """The client goes on with Initial keys that follow from `scid` (RFC 9001 §5.2)."""
        self.retry_scids.append(scid)
        for key in [key for key in self._keys if key[1] is Level.INITIAL]:
            del self._keys[key]
        # RFC 9000 §17.2.5.3: the same message comes again; but there are clients that make a new one.
        self._streams.pop((Side.CLIENT, Level.INITIAL), None)
        self._routes.add_cid(scid, self, Side.SERVER)

    # Keys.

    def _open(self, packet: Packet, data: bytes, pn_offset: int, sender: Side) -> Opened | None:
        level = packet.level
        assert level is not None, "only protected packets are opened"
        key = (sender, level, packet.version)
        keys = self._keys.get(key)
        if keys is None:
            found = self._find_keys(packet, level, sender)
            if not found:
                packet.problem = self._why_no_keys(level, sender)
                return None
            keys = self._keys[key] = DirectionKeys(found)
        opened = keys.open(data, pn_offset, self._largest.get((sender, _space(level)), -1) + 1)
        if opened is None:
            packet.problem = _NOT_AUTHENTIC
        return opened

    def _find_keys(self, packet: Packet, level: Level, sender: Side) -> list[PacketKeys]:
        if level is Level.INITIAL:
            assert packet.version is not None, "Initial packets have long headers"
            return [
                initial_keys(VERSIONS[packet.version], dcid, is_client=sender is Side.CLIENT)[0]
                for dcid in (*self.retry_scids, self.original_dcid)
            ]
        secret = self._secrets.get(KEY_LOG_LABELS.get((level, sender is Side.CLIENT), ""))
        if secret is None:
            return []
        versions = VERSIONS.values() if packet.version is None else (VERSIONS[packet.version],)
        return candidates(secret, list(versions))

    @property
    def _secrets(self) -> dict[str, bytes]:
        if self.client_random is None:
            return {}
        return dict(self._key_log.secrets.get(self.client_random, {}))

    def _why_no_keys(self, level: Level, sender: Side) -> str:
        if self.client_random is None:
            return _NO_CLIENT_HELLO
        label = KEY_LOG_LABELS.get((level, sender is Side.CLIENT))
        if label is None:
            return f"a {sender} sends no {level.name} packets"
        return f"the key log has no {label} for the client random {self.client_random.hex()}"

    # What is in the packets.

    def _on_opened(self, packet: Packet, opened: Opened, sender: Side) -> None:
        level = packet.level
        assert level is not None, "it was opened"
        packet.connection, packet.sender, packet.problem = self, sender, None
        packet.number, packet.first_byte, packet.payload = opened.number, opened.first_byte, opened.payload
        packet.header_size, packet.key_generation = opened.header_size, opened.generation
        space = (sender, _space(level))
        self._largest[space] = max(self._largest.get(space, -1), opened.number)
        if packet.scid is not None:
            self._routes.add_cid(packet.scid, self, sender)
            self._routes.add_cid(packet.dcid, self, sender.peer)
        try:
            for frame in iter_frames(opened.payload, 0, len(opened.payload), level):
                packet.frames.append(frame)
        except TransportError as error:
            packet.malformed = str(error)
        for frame in packet.frames:
            if isinstance(frame, Crypto):
                self._on_crypto(packet, frame, sender, level)
            elif isinstance(frame, NewConnectionId):
                self._routes.add_cid(frame.connection_id, self, sender)
                self._routes.add_token(frame.stateless_reset_token, self, sender)

    def _on_crypto(self, packet: Packet, frame: Crypto, sender: Side, level: Level) -> None:
        key = (sender, level)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = HandshakeStream(from_client=sender is Side.CLIENT)
        try:
            messages, repeats = stream.add(frame)
        except TransportError as error:
            packet.malformed = str(error)
            return
        packet.repeats_crypto |= repeats
        for message in messages:
            if message.type == HandshakeType.CLIENT_HELLO:
                if message.body == self._client_hello:
                    packet.repeats_crypto = True
                    continue
                self._on_client_hello(message.body)
            try:
                message = stream.read(message)
            except READ_ERRORS as error:
                packet.malformed = str(error)
            packet.messages.append(message)
            self._on_message(message, sender)

    def _on_client_hello(self, body: bytes) -> None:
        self._client_hello = body
        if body[_RANDOM] == self.client_random:
            return  # the second one, after a HelloRetryRequest
        self.client_random = body[_RANDOM]
        waiting, self._waiting = self._waiting, []
        for packet, data, pn_offset in waiting:
            assert packet.sender is not None, "`wait` has told it"
            self.open(packet, data, pn_offset, packet.sender)

    def _on_message(self, message: Message, sender: Side) -> None:
        if isinstance(message.content, ServerHello):
            self.cipher_suite = message.content.cipher_suite
        if message.parameters is None:
            return
        if isinstance(message.content, ClientHello) and Side.CLIENT in self.parameters:
            return  # the second one, after a HelloRetryRequest
        self.parameters[sender] = message.parameters
        preferred = message.parameters.preferred_address
        if preferred is not None:
            self._routes.add_cid(preferred.connection_id, self, sender)
            self._routes.add_token(preferred.stateless_reset_token, self, sender)
        if message.parameters.stateless_reset_token is not None:
            self._routes.add_token(message.parameters.stateless_reset_token, self, sender)


def _space(level: Level) -> Level:
    """RFC 9000 §12.3: 0-RTT and 1-RTT packets share one packet number space."""
    return Level.ONE_RTT if level is Level.ZERO_RTT else level
