"""The table of legal places against that of RFC 9846 §4.2, and the syntax of each extension."""

from collections.abc import Callable

import pytest

from endpoint.errors import AlertDescription, AlertError
from endpoint.tls import extensions as ext
from endpoint.tls.extensions import ExtensionType, MessageContext, read_extensions
from endpoint.tls.reader import Reader

# RFC 9846 §4.2, as printed.
TABLE = {
    "server_name": "CH, EE, CR",
    "status_request": "CH, CR, CT",
    "supported_groups": "CH, EE",
    "signature_algorithms": "CH, CR",
    "use_srtp": "CH, EE",
    "heartbeat": "CH, EE",
    "application_layer_protocol_negotiation": "CH, EE",
    "client_certificate_type": "CH, EE",
    "server_certificate_type": "CH, EE",
    "padding": "CH",
    "compress_certificate": "CH, CR",
    "record_size_limit": "CH, EE",
    "delegated_credential": "CH, CR, CT",
    "supported_ekt_ciphers": "CH, EE",
    "pre_shared_key": "CH, SH",
    "early_data": "CH, EE, NST",
    "supported_versions": "CH, SH, HRR",
    "cookie": "CH, HRR",
    "psk_key_exchange_modes": "CH",
    "certificate_authorities": "CH, CR",
    "oid_filters": "CR",
    "post_handshake_auth": "CH",
    "signature_algorithms_cert": "CH, CR",
    "key_share": "CH, SH, HRR",
    "transparency_info": "CH, CR, CT",
    "external_id_hash": "CH, EE",
    "external_session_id": "CH, EE",
    "quic_transport_parameters": "CH, EE",
    "ticket_request": "CH, EE",
    "ech_outer_extensions": "CH",
    "encrypted_client_hello": "CH, HRR, EE",
}
ABBREVIATIONS = {
    "CH": MessageContext.CLIENT_HELLO,
    "SH": MessageContext.SERVER_HELLO,
    "HRR": MessageContext.HELLO_RETRY_REQUEST,
    "EE": MessageContext.ENCRYPTED_EXTENSIONS,
    "CT": MessageContext.CERTIFICATE,
    "CR": MessageContext.CERTIFICATE_REQUEST,
    "NST": MessageContext.NEW_SESSION_TICKET,
}


def test_every_type_has_a_row() -> None:
    assert set(TABLE) == {each.name.lower() for each in ExtensionType}


@pytest.mark.parametrize("context", MessageContext)
@pytest.mark.parametrize("extension_type", ExtensionType)
def test_where_it_is_legal(extension_type: ExtensionType, context: MessageContext) -> None:
    legal = {ABBREVIATIONS[each] for each in TABLE[extension_type.name.lower()].split(", ")}
    block = b"\0\4" + extension_type.to_bytes(2, "big") + b"\0\0"
    if context in legal:
        assert read_extensions(Reader(block, "block"), context) == {extension_type: b""}
        return
    with pytest.raises(AlertError) as caught:
        read_extensions(Reader(block, "block"), context)
    assert caught.value.alert == AlertDescription.ILLEGAL_PARAMETER


@pytest.mark.parametrize(
    ("parse", "good", "value"),
    [
        (ext.parse_server_name, b"\0\x0a\0\0\7example", "example"),
        (lambda body: ext.parse_uint16_list(body, "groups"), b"\0\4\0\x1d\0\x17", (0x1D, 0x17)),
        (ext.parse_alpn, b"\0\6\2h3\2h2", (b"h3", b"h2")),
        (ext.parse_alpn_choice, b"\0\3\2h3", b"h3"),
        (ext.parse_supported_versions_offer, b"\4\3\4\3\3", (0x0304, 0x0303)),
        (lambda body: ext.parse_uint16(body, "version"), b"\3\4", 0x0304),
        (ext.parse_key_share, b"\0\x1d\0\2ab", (0x1D, b"ab")),
        (ext.parse_key_shares, b"\0\x0c\0\x1d\0\2ab\0\x17\0\2cd", {0x1D: b"ab", 0x17: b"cd"}),
        (ext.parse_cookie, b"\0\3abc", b"abc"),
    ],
)
def test_syntax(parse: Callable[[bytes], object], good: bytes, value: object) -> None:
    assert parse(good) == value
    for bad in (*(good[:length] for length in range(len(good))), good + b"\0"):
        with pytest.raises(AlertError) as caught:
            parse(bad)
        assert caught.value.alert == AlertDescription.DECODE_ERROR


def test_an_empty_list_of_shares_is_allowed() -> None:
    assert ext.parse_key_shares(b"\0\0") == {}


@pytest.mark.parametrize("body", [b"\0\0", b"\0\1a"])
def test_lists_that_are_too_short(body: bytes) -> None:
    for parse in (ext.parse_alpn, lambda data: ext.parse_uint16_list(data, "list")):
        with pytest.raises(AlertError) as caught:
            parse(body)
        assert caught.value.alert == AlertDescription.DECODE_ERROR


@pytest.mark.parametrize("name", ["192.0.2.1", "::1", "2001:db8::1"])
def test_addresses_are_no_server_names(name: str) -> None:
    assert ext.encode_server_name(name) is None


def test_server_name_loses_its_last_dot() -> None:
    encoded = ext.encode_server_name("example.org.")
    assert encoded is not None
    assert ext.parse_server_name(encoded) == "example.org"


def test_server_name_must_be_ascii() -> None:
    with pytest.raises(UnicodeError):
        ext.encode_server_name("b\u00fccher.example")
