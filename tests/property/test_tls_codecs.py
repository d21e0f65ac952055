"""Round trips of the TLS messages, and arbitrary bytes given to their parsers."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoint.errors import TransportError
from endpoint.tls import extensions as ext
from endpoint.tls.extensions import ExtensionType
from endpoint.tls.messages import (
    HELLO_RETRY_REQUEST_RANDOM,
    Certificate,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    HandshakeType,
    NewSessionTicket,
    ServerHello,
    encode_certificate,
    encode_certificate_list,
)
from endpoint.tls.session import Session
from endpoint.tls.suites import TLS_AES_128_GCM_SHA256

uint16 = st.integers(0, 0xFFFF)
uint32 = st.integers(0, 0xFFFFFFFF)
randoms = st.binary(min_size=32, max_size=32)
bodies = st.binary(max_size=40)


def blocks(*known: ExtensionType) -> st.SearchStrategy[dict[int, bytes]]:
    """Extension blocks of unknown types and of those that are legal in the message."""
    unknown = uint16.filter(lambda number: number not in ExtensionType.__members__.values())
    types = st.one_of(unknown, st.sampled_from([int(each) for each in known])) if known else unknown
    return st.dictionaries(types, bodies, max_size=6)


client_hellos = st.builds(
    ClientHello,
    random=randoms,
    cipher_suites=st.lists(uint16, min_size=1, max_size=8).map(tuple),
    extensions=blocks(ExtensionType.KEY_SHARE, ExtensionType.COOKIE, ExtensionType.SERVER_NAME),
    legacy_version=uint16,
    legacy_session_id=st.binary(max_size=32),
    legacy_compression_methods=st.binary(min_size=1, max_size=4),
)
server_hellos = st.builds(
    ServerHello,
    random=st.one_of(randoms, st.just(HELLO_RETRY_REQUEST_RANDOM)),
    cipher_suite=uint16,
    extensions=blocks(ExtensionType.KEY_SHARE, ExtensionType.SUPPORTED_VERSIONS),
    legacy_version=uint16,
    legacy_session_id_echo=st.binary(max_size=32),
    legacy_compression_method=st.integers(0, 255),
)
messages = st.one_of(
    client_hellos,
    server_hellos,
    st.builds(EncryptedExtensions, blocks(ExtensionType.QUIC_TRANSPORT_PARAMETERS)),
    st.builds(CertificateRequest, st.binary(max_size=20), blocks(ExtensionType.SIGNATURE_ALGORITHMS)),
    st.builds(CertificateVerify, uint16, st.binary(max_size=80)),
    st.builds(
        NewSessionTicket,
        uint32,
        uint32,
        st.binary(max_size=20),
        st.binary(min_size=1, max_size=80),
        st.booleans(),
    ),
)
PARSERS: dict[int, Callable[[bytes], Any]] = {
    HandshakeType.CLIENT_HELLO: ClientHello.parse,
    HandshakeType.SERVER_HELLO: ServerHello.parse,
    HandshakeType.ENCRYPTED_EXTENSIONS: EncryptedExtensions.parse,
    HandshakeType.CERTIFICATE_REQUEST: CertificateRequest.parse,
    HandshakeType.CERTIFICATE: Certificate.parse,
    HandshakeType.CERTIFICATE_VERIFY: CertificateVerify.parse,
    HandshakeType.NEW_SESSION_TICKET: NewSessionTicket.parse,
}
EXTENSION_PARSERS: list[Callable[[bytes], object]] = [
    ext.parse_server_name,
    ext.parse_alpn,
    ext.parse_alpn_choice,
    ext.parse_supported_versions_offer,
    ext.parse_key_share,
    ext.parse_key_shares,
    ext.parse_cookie,
    ext.parse_psk_key_exchange_modes,
    ext.OfferedPsks.parse,
    lambda body: ext.parse_uint16(body, "number"),
    lambda body: ext.parse_uint16_list(body, "list"),
]


@given(messages)
def test_messages_survive_the_wire(message: Any) -> None:
    encoded = message.encode()
    assert int.from_bytes(encoded[1:4], "big") == len(encoded) - 4
    assert PARSERS[encoded[0]](encoded[4:]) == message


@given(messages, st.data())
def test_truncated_messages_are_refused(message: Any, data: st.DataObject) -> None:
    encoded = message.encode()
    length = data.draw(st.integers(0, len(encoded) - 5))
    if isinstance(message, ClientHello | ServerHello):
        # Without its extensions a hello is one of an older TLS.
        block = len(ext.encode_extensions(message.extensions))
        if length == len(encoded) - 4 - block:
            return
    with pytest.raises(TransportError):
        PARSERS[encoded[0]](encoded[4 : 4 + length])


@given(messages, st.binary(min_size=1, max_size=4))
def test_trailing_bytes_are_refused(message: Any, extra: bytes) -> None:
    encoded = message.encode()
    with pytest.raises(TransportError):
        PARSERS[encoded[0]](encoded[4:] + extra)


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=5), st.binary(max_size=20))
def test_certificates_survive_the_wire(chain: list[bytes], context: bytes) -> None:
    encoded = encode_certificate(context, encode_certificate_list(chain))
    certificate = Certificate.parse(encoded[4:])
    assert certificate.certificate_request_context == context
    assert [entry.cert_data for entry in certificate.certificate_list] == chain


@given(
    st.lists(
        st.tuples(
            st.tuples(st.binary(min_size=1, max_size=300), uint32), st.binary(min_size=32, max_size=255)
        ),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
def test_offered_psks_survive_the_wire(
    offers: list[tuple[tuple[bytes, int], bytes]], data: st.DataObject
) -> None:
    identities, binders = zip(*offers, strict=True)
    body = ext.encode_offered_psks(identities, binders)
    offered = ext.OfferedPsks.parse(body)
    assert (offered.identities, offered.binders) == (identities, binders)
    assert body[-offered.binders_length :] == ext.encode_binders(binders)
    with pytest.raises(TransportError):
        ext.OfferedPsks.parse(body[: data.draw(st.integers(0, len(body) - 1))])


sessions = st.builds(
    Session,
    ticket=st.binary(min_size=1, max_size=200),
    cipher_suite=st.just(TLS_AES_128_GCM_SHA256),
    psk=randoms,
    alpn=st.text(min_size=1, max_size=60).filter(str.isprintable),
    server_name=st.text(min_size=1, max_size=60).filter(str.isprintable),
    received=st.floats(0, 1e12),
    established=st.floats(0, 1e12),
    ticket_lifetime=st.integers(1, 604_800),
    ticket_age_add=uint32,
    early_data=st.booleans(),
    verified=st.booleans(),
    application_state=st.binary(max_size=100),
)


@given(sessions, st.binary(max_size=20), st.data())
def test_sessions_survive_a_file(session: Session, junk: bytes, data: st.DataObject) -> None:
    encoded = session.to_bytes()
    assert Session.from_bytes(encoded) == session
    at = data.draw(st.integers(0, len(encoded)))
    changed = encoded[:at] + junk + encoded[at + data.draw(st.integers(0, 3)) :]
    if changed != encoded:
        with pytest.raises(ValueError, match="damaged"):
            Session.from_bytes(changed)


@given(st.binary(max_size=120))
def test_arbitrary_bytes(data: bytes) -> None:
    for parse in (*PARSERS.values(), *EXTENSION_PARSERS):
        try:
            parse(data)
        except TransportError:
            continue
