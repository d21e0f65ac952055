from pathlib import Path

import pytest

from interop.simnet import pcap
from interop.simnet.pcap import PcapWriter


def test_bytes_of_a_file(tmp_path: Path) -> None:
    """Block by block after draft-ietf-opsawg-pcapng, in network order."""
    file = tmp_path / "trace.pcapng"
    with PcapWriter(file, "eth0") as writer:
        writer.write(b"\x45packet", 2.5)
    assert file.read_bytes() == bytes.fromhex(
        "0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c"
        "00000001 00000028 0065 0000 0000ffff 0002 0004 65746830 0009 0001 09000000 0000 0000 00000028"
        "00000006 00000028 00000000 00000000 9502f900 00000007 00000007 457061636b657400 00000028"
    )


def test_a_flood_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcap, "MOST_PACKETS", 2)
    sizes = []
    for count in (2, 5):
        with PcapWriter(tmp_path / "trace.pcapng") as writer:
            for _ in range(count):
                writer.write(b"\x45packet", 2.5)
        sizes.append((tmp_path / "trace.pcapng").stat().st_size)
    assert sizes[0] == sizes[1]
