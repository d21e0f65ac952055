"""The stream of handshake bytes at one level."""

import pytest

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.transport.crypto_stream import MAX_CRYPTO_BUFFER, CryptoStream


def test_order_is_restored() -> None:
    stream = CryptoStream()
    assert stream.receive(5, b"world") == b""
    assert stream.receive(0, b"hel") == b"hel"
    assert stream.receive(0, b"hello") == b"loworld"
    assert stream.receive(0, b"hello") == b""
    assert stream.receive(8, b"ld!") == b"!"


def test_room_moves_with_what_is_read() -> None:
    stream = CryptoStream()
    assert stream.receive(0, bytes(MAX_CRYPTO_BUFFER)) == bytes(MAX_CRYPTO_BUFFER)
    assert stream.receive(2 * MAX_CRYPTO_BUFFER - 1, b"x") == b""
    with pytest.raises(TransportError) as caught:
        stream.receive(2 * MAX_CRYPTO_BUFFER, b"x")
    assert caught.value.code == TransportErrorCode.CRYPTO_BUFFER_EXCEEDED


def test_sending_is_not_flow_controlled() -> None:
    stream = CryptoStream()
    assert stream.send.write(bytes(200_000), fin=False) == 200_000
    assert stream.send.next_range(1200, 1200) == (0, 1200, False)
