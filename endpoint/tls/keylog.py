"""Lines of the NSS key log format, which Wireshark reads to decrypt a capture."""

from collections.abc import Mapping

from endpoint.level import Level

# The label of a secret by its level and whether the client sends with it.
KEY_LOG_LABELS: Mapping[tuple[Level, bool], str] = {
    (Level.ZERO_RTT, True): "CLIENT_EARLY_TRAFFIC_SECRET",
    (Level.HANDSHAKE, True): "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    (Level.HANDSHAKE, False): "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    (Level.ONE_RTT, True): "CLIENT_TRAFFIC_SECRET_0",
    (Level.ONE_RTT, False): "SERVER_TRAFFIC_SECRET_0",
}


def key_log_line(label: str, client_random: bytes, secret: bytes) -> str:
    """One line without its line end. `label` as in `TrafficSecret.label`."""
    return f"{label} {client_random.hex()} {secret.hex()}"
