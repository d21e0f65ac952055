"""Key logs, whole and damaged."""

from pathlib import Path

import pytest

from interop.capture import choose_key_log
from interop.dissect.keylog import KeyLog, KeyLogError

LABEL = "CLIENT_TRAFFIC_SECRET_0"
RANDOM, OTHER = "ab" * 32, "cd" * 32
SECRET, LONG = "01" * 32, "02" * 48


def test_secrets_by_connection() -> None:
    text = f"""# a comment
CLIENT_HANDSHAKE_TRAFFIC_SECRET {RANDOM} {SECRET}
SERVER_TRAFFIC_SECRET_0 {OTHER} {LONG}

EXPORTER_SECRET {RANDOM} {SECRET}
CLIENT_HANDSHAKE_TRAFFIC_SECRET {RANDOM} {SECRET}
"""
    log = KeyLog.parse(text)
    assert log.damaged == ()
    assert log.secrets == {
        bytes.fromhex(RANDOM): {"CLIENT_HANDSHAKE_TRAFFIC_SECRET": bytes.fromhex(SECRET)},
        bytes.fromhex(OTHER): {"SERVER_TRAFFIC_SECRET_0": bytes.fromhex(LONG)},
    }


@pytest.mark.parametrize(
    "line",
    [
        f"{LABEL} {RANDOM}",
        f"{LABEL} {RANDOM} 01",
        f"{LABEL} x y",
    ],
)
def test_damaged_lines(tmp_path: Path, line: str) -> None:
    good = f"SERVER_TRAFFIC_SECRET_0 {RANDOM} {SECRET}\n"
    log = KeyLog.parse(good + line)
    assert (log.damaged, len(log.secrets)) == ((2,), 1)
    file = tmp_path / "keys.log"
    file.write_text(line)
    with pytest.raises(KeyLogError, match="line 1 is not LABEL"):
        KeyLog.read(file)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(KeyLogError, match="No such file"):
        KeyLog.read(tmp_path / "none")
    file = tmp_path / "keys.log"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(KeyLogError, match="not a text"):
        KeyLog.read(file)


def test_choice(tmp_path: Path) -> None:
    """The client's, unless it lacks what every connection has."""
    client, server = tmp_path / "client", tmp_path / "server"
    assert choose_key_log(client, server) is None
    client.write_text(f"CLIENT_RANDOM {RANDOM} {SECRET}\n")
    server.write_text(f"SERVER_HANDSHAKE_TRAFFIC_SECRET {RANDOM} {SECRET}\n")
    assert choose_key_log(client, server) == server
    client.write_text(server.read_text())
    assert choose_key_log(client, server) == client
