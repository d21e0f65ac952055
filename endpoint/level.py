"""Encryption levels, the keys a packet is protected with (RFC 9001 §4)."""

from enum import IntEnum


class Level(IntEnum):
    """One value per kind of keys; RFC 9001 §4.1.4 calls them encryption levels."""

    INITIAL = 0
    ZERO_RTT = 1
    HANDSHAKE = 2
    ONE_RTT = 3
