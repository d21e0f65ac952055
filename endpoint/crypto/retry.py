"""The Retry Integrity Tag (RFC 9001 §5.8): it shows that the sender saw our Initial, nothing more."""

import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from endpoint.batch import TAG_LENGTH
from endpoint.wire.header import retry_pseudo_packet
from endpoint.wire.version import VersionParameters


def retry_integrity_tag(version: VersionParameters, original_dcid: bytes, retry_without_tag: bytes) -> bytes:
    """The 16 bytes that end a Retry packet.

    `original_dcid` is the Destination Connection ID of the Initial that the Retry answers.
    """
    pseudo_packet = retry_pseudo_packet(original_dcid, retry_without_tag)
    return AESGCM(version.retry_key).encrypt(version.retry_nonce, b"", pseudo_packet)


def retry_tag_is_valid(version: VersionParameters, original_dcid: bytes, retry_packet: bytes) -> bool:
    """Whether a whole Retry packet ends in the right tag. A packet that doesn't is dropped."""
    tag = retry_integrity_tag(version, original_dcid, retry_packet[:-TAG_LENGTH])
    return hmac.compare_digest(tag, retry_packet[-TAG_LENGTH:])
