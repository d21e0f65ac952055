"""Capture a port of the loopback interface, and what Wireshark's dissector makes of it."""

import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

TOOLS = ("dumpcap", "tshark")

# Values of the field _ws.expert.severity: chat and note are remarks, warn and error are complaints.
WARN = 0x600000

_FIELDS = (
    "udp.srcport",
    "quic.version",
    "quic.long.packet_type",
    "quic.scid",
    "quic.frame_type",
    "quic.stream_data",
    "quic.decryption_failed",
    "tls.handshake.type",
    "tls.handshake.ciphersuite",
    "_ws.malformed",
    "_ws.expert.severity",
    "_ws.expert.message",
)


@dataclass(frozen=True, slots=True)
class Datagram:
    """The fields of one datagram, those of coalesced packets one after the other."""

    number: int
    fields: dict[str, tuple[str, ...]]

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self.fields[name]

    @property
    def from_port(self) -> int:
        return int(self["udp.srcport"][0])

    @property
    def complaints(self) -> list[str]:
        """Everything about this datagram that the dissector did not understand or did not like."""
        found = [
            f"{name}: {self[name]}" for name in ("_ws.malformed", "quic.decryption_failed") if self[name]
        ]
        if not self["quic.frame_type"]:
            found.append("no frame was decrypted")
        if any(int(severity) >= WARN for severity in self["_ws.expert.severity"]):
            found.append(f"expert: {self['_ws.expert.message']}")
        return [f"datagram {self.number}: {text}" for text in found]


class Capture:
    """A context manager that captures UDP `port` on the loopback interface to `file`."""

    def __init__(self, file: Path, port: int) -> None:
        self._file = file
        self._port = port
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        command = [
            "dumpcap",
            "-q",
            "-i",
            "lo",
            "-B",
            "64",
            "-f",
            f"udp port {self._port}",
            "-w",
            str(self._file),
        ]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            said += line
            if line.startswith("File:"):
                return self
        self._process.wait(10)
        self._process.stderr.close()
        raise RuntimeError(f"dumpcap does not capture: {said}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        time.sleep(0.5)  # dumpcap reads packets in intervals of a quarter of a second
        self._process.send_signal(signal.SIGINT)
        _, summary = self._process.communicate(timeout=10)
        counts = re.search(r"received/dropped on interface .*: (\d+)/(\d+)", summary)
        assert counts is not None, summary
        assert int(counts[2]) == 0, "the capture is incomplete"

    def dissect(self, key_log: Path) -> list[Datagram]:
        """Every captured datagram, decrypted with the secrets in `key_log`."""
        command = ["tshark", "-r", str(self._file), "-d", f"udp.port=={self._port},quic", "-T", "fields"]
        command += ["-o", f"tls.keylog_file:{key_log}", "-E", "separator=|", "-E", "aggregator=;"]
        for field in _FIELDS:
            command += ["-e", field]
        answer = subprocess.run(command, capture_output=True, check=True, text=True)
        return [
            Datagram(number, dict(zip(_FIELDS, map(_values, line.split("|")), strict=True)))
            for number, line in enumerate(answer.stdout.splitlines(), 1)
        ]


def _values(column: str) -> tuple[str, ...]:
    return tuple(column.split(";")) if column else ()
