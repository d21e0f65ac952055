"""Retry on the client's side (RFC 9000 §17.2.5, RFC 9001 §5.8)."""

from endpoint.crypto.initial import initial_keys
from endpoint.crypto.retry import retry_tag_is_valid
from endpoint.level import Level
from endpoint.transport.parts import Parts
from endpoint.wire.header import LongHeader

# A token is in every Initial packet, and must leave room there for the handshake: of 1200 bytes, a tenth.
MAX_TOKEN_LENGTH = 1024


def accept_retry(parts: Parts, header: LongHeader, packet: bytes) -> bool:
    """Begin again with the token and the connection ID of a Retry; False if it has to be dropped.

    Packet numbers go on (§17.2.5.3), and what was sent is sent again.
    """
    if (
        not parts.is_client
        or parts.peer_source_cid is not None  # §17.2.5.2: only the first answer may be a Retry,
        or parts.retry_source_cid is not None  # and only one
        or header.version != parts.version.version
        or header.dcid not in parts.local_cids
        or header.scid == parts.original_destination_cid
        or len(header.token) > MAX_TOKEN_LENGTH
        or not retry_tag_is_valid(parts.version, parts.original_destination_cid, packet)
    ):
        return False
    parts.token = header.token
    parts.retry_source_cid = header.scid
    parts.initial_destination_cid = header.scid
    parts.peer_cids.replace_initial(header.scid)
    initial = parts.spaces[Level.INITIAL]
    initial.write_keys, read_keys = initial_keys(parts.version, header.scid, is_client=True)
    parts.initial_read_keys = {header.version: read_keys}
    for run in parts.recovery.on_retry():
        if run.content is not None:
            run.content.on_lost()
    return True
