from pathlib import Path

from interop.simnet.pcap import PcapWriter


def test_bytes_of_a_file(tmp_path: Path) -> None:
    """Field by field after draft-ietf-opsawg-pcap, in network order."""
    file = tmp_path / "trace.pcap"
    with PcapWriter(file) as writer:
        writer.write(b"\x45packet", 2.5)
    assert file.read_bytes() == bytes.fromhex(
        "a1b2c3d4 0002 0004 00000000 00000000 0000ffff 00000065"
        "00000002 0007a120 00000007 00000007 45 7061636b6574"
    )
