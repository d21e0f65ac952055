"""The CRYPTO streams of a connection, put in order and cut into handshake messages."""

from collections.abc import Callable, Mapping

from endpoint.errors import AlertError, TransportError
from endpoint.tls.extensions import ExtensionType
from endpoint.tls.messages import (
    HANDSHAKE_HEADER_LENGTH,
    ClientHello,
    EncryptedExtensions,
    HandshakeType,
    ServerHello,
)
from endpoint.transport.crypto_stream import CryptoStream
from endpoint.wire.frames import Crypto
from endpoint.wire.transport_params import TransportParameters, decode_transport_parameters
from endpoint.wire.varint import read_varint
from interop.dissect.model import Message
from qlog.ranges import Ranges

_PARSERS: Mapping[int, Callable[[bytes], ClientHello | ServerHello | EncryptedExtensions]] = {
    HandshakeType.CLIENT_HELLO: ClientHello.parse,
    HandshakeType.SERVER_HELLO: ServerHello.parse,
    HandshakeType.ENCRYPTED_EXTENSIONS: EncryptedExtensions.parse,
}


class HandshakeStream:
    """One direction of the handshake at one encryption level."""

    def __init__(self, *, from_client: bool) -> None:
        self._from_client = from_client
        self._stream = CryptoStream()
        self._seen = Ranges()
        self._buffer = b""

    def add(self, frame: Crypto) -> tuple[list[Message], bool]:
        """The messages that a frame completes, and whether it repeats bytes that came before.

        Raises AlertError or TransportError for what can't be read; the rest of the stream still can.
        """
        before = self._seen.total
        self._seen.add(frame.offset, frame.offset + len(frame.data) - 1)
        repeats = self._seen.total - before < len(frame.data)
        self._buffer += self._stream.receive(frame.offset, frame.data)
        messages = []
        while len(self._buffer) >= HANDSHAKE_HEADER_LENGTH:
            end = HANDSHAKE_HEADER_LENGTH + int.from_bytes(self._buffer[1:HANDSHAKE_HEADER_LENGTH], "big")
            if end > len(self._buffer):
                break
            message, self._buffer = self._buffer[:end], self._buffer[end:]
            messages.append(Message(message[0], message[HANDSHAKE_HEADER_LENGTH:]))
        return messages, repeats

    def read(self, message: Message) -> Message:
        """The message with its content, where it is of a type that matters here. Raises as `add`."""
        parse = _PARSERS.get(message.type)
        if parse is None:
            return message
        content = parse(message.body)
        return Message(message.type, message.body, content, self._parameters(content.extensions))

    def _parameters(self, extensions: Mapping[int, bytes]) -> TransportParameters | None:
        encoded = extensions.get(ExtensionType.QUIC_TRANSPORT_PARAMETERS)
        if encoded is None:
            return None
        return decode_transport_parameters(encoded, from_client=self._from_client)


def parameter_ids(extensions: Mapping[int, bytes]) -> set[int]:
    """Which transport parameters were sent: one that is at its default may have been, too.

    The extension has been decoded before.
    """
    encoded = extensions.get(ExtensionType.QUIC_TRANSPORT_PARAMETERS, b"")
    found, pos = set(), 0
    while pos < len(encoded):
        identifier, pos = read_varint(encoded, pos, len(encoded))
        length, pos = read_varint(encoded, pos, len(encoded))
        found.add(identifier)
        pos += length
    return found


READ_ERRORS = (AlertError, TransportError)
"""What the functions above raise."""
