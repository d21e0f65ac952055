"""Lines of the NSS key log format, which Wireshark reads to decrypt a capture."""


def key_log_line(label: str, client_random: bytes, secret: bytes) -> str:
    """One line without its line end. `label` as in `TrafficSecret.label`."""
    return f"{label} {client_random.hex()} {secret.hex()}"
