"""CRC32C of datagrams."""

import pytest

from endpoint.tracing import checksums as module
from endpoint.tracing.checksums import checksums


def test_known_values() -> None:
    """RFC 3720 §B.4: 32 bytes of zeros, of ones, and rising; RFC 9868 §11.3 uses the same CRC."""
    payload = bytes(32) + b"\xff" * 32 + bytes(range(32)) + b"123456789"
    assert checksums(memoryview(payload), 32) == [0x8A9136AA, 0x62A8AB43, 0x46DD794E, 0xE3069283]


def test_a_kept_buffer() -> None:
    """Views of what is written to, of which only the beginning is payload."""
    buffer = bytearray(b"123456789" * 3)
    assert checksums(memoryview(buffer)[:18], 9) == [0xE3069283] * 2


def test_too_slow_without_the_c_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FAST", False)
    assert checksums(memoryview(b"123456789"), 9) == []
