"""Checksums of datagrams, by which the traces of both ends, or of any point between, find the same one.

quic-14, "Handling Packet Coalescing": CRC32C of the UDP payload.
"""

import warnings

with warnings.catch_warnings():
    # Where there is no wheel with its C part it warns, and takes a thousand times as long.
    warnings.simplefilter("ignore", RuntimeWarning)
    import google_crc32c

_FAST = google_crc32c.implementation == "c"


def checksums(payload: memoryview, size: int) -> list[int]:
    """Of each datagram in `payload`, of `size` bytes but for the last; none where that takes too long."""
    if not _FAST:
        return []
    data = bytes(payload)
    return [google_crc32c.value(data[start : start + size]) for start in range(0, len(data), size)]
