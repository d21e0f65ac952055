"""Keys of Initial packets: no secret, anyone who sees the first packet can derive them (RFC 9001 §5.2)."""

from endpoint.crypto.aead import AES_128_GCM_SHA256
from endpoint.crypto.keys import PacketKeys
from endpoint.hkdf import hash_length, hkdf_expand_label, hkdf_extract
from endpoint.wire.version import VersionParameters


def initial_keys(
    version: VersionParameters, dcid: bytes, *, is_client: bool
) -> tuple[PacketKeys, PacketKeys]:
    """Our keys to send and to receive Initial packets with.

    `dcid` is the Destination Connection ID of the client's first Initial, or after a Retry the one that
    the Retry gave it.
    """
    suite = AES_128_GCM_SHA256
    initial_secret = hkdf_extract(suite.hash_name, version.initial_salt, dcid)
    length = hash_length(suite.hash_name)
    client, server = (
        PacketKeys(suite, hkdf_expand_label(suite.hash_name, initial_secret, label, b"", length), version)
        for label in ("client in", "server in")
    )
    return (client, server) if is_client else (server, client)
