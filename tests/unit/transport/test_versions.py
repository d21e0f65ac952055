"""The choices and checks of RFC 9368, as functions."""

import pytest

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.transport.versions import check_server_choice, choose_version, negotiate
from endpoint.wire.transport_params import VersionInformation as Info
from endpoint.wire.version import QUIC_V1, QUIC_V2

BOTH = (QUIC_V2, QUIC_V1)
GREASE = 0x1A2A3A4A


def test_choose() -> None:
    assert choose_version(BOTH, (GREASE, QUIC_V1, QUIC_V2)) == QUIC_V2
    assert choose_version(BOTH, (GREASE, QUIC_V1)) == QUIC_V1
    assert choose_version(BOTH, (GREASE,)) is None


def test_server_negotiates() -> None:
    assert negotiate(BOTH, QUIC_V1, None) == QUIC_V1
    assert negotiate(BOTH, QUIC_V1, Info(QUIC_V1, (QUIC_V1, QUIC_V2))) == QUIC_V2
    assert negotiate((QUIC_V1, QUIC_V2), QUIC_V1, Info(QUIC_V1, BOTH)) == QUIC_V1
    assert negotiate(BOTH, QUIC_V1, Info(QUIC_V1, (QUIC_V1, GREASE))) == QUIC_V1


def test_client_that_lies_about_its_version() -> None:
    with pytest.raises(TransportError) as caught:
        negotiate(BOTH, QUIC_V1, Info(QUIC_V2, BOTH))
    assert caught.value.code == TransportErrorCode.VERSION_NEGOTIATION_ERROR


@pytest.mark.parametrize(
    ("used", "theirs", "original", "reacted"),
    [
        (QUIC_V1, None, QUIC_V1, False),
        (QUIC_V1, Info(QUIC_V1, ()), QUIC_V1, False),
        (QUIC_V2, Info(QUIC_V2, BOTH), QUIC_V1, False),
        (QUIC_V1, Info(QUIC_V1, (QUIC_V1, GREASE)), QUIC_V1, True),
        (QUIC_V1, None, QUIC_V1, True),  # RFC 9368 §8: a server that has only version 1, and says nothing
    ],
)
def test_server_choices_that_hold(used: int, theirs: Info | None, original: int, reacted: bool) -> None:
    check_server_choice(BOTH, used, theirs, original=original, reacted=reacted)


@pytest.mark.parametrize(
    ("used", "theirs", "original", "reacted"),
    [
        (QUIC_V2, None, QUIC_V1, False),  # changed without a word
        (QUIC_V2, None, QUIC_V2, True),  # the silence of §8 is for version 1 only
        (QUIC_V1, Info(QUIC_V2, BOTH), QUIC_V1, False),  # somebody changed the headers
        (GREASE, Info(GREASE, (GREASE,)), QUIC_V1, False),  # never offered
        (QUIC_V1, Info(QUIC_V1, ()), QUIC_V1, True),
        (QUIC_V1, Info(QUIC_V1, BOTH), QUIC_V1, True),  # a forged packet has hidden version 2
    ],
)
def test_downgrades_are_found(used: int, theirs: Info | None, original: int, reacted: bool) -> None:
    with pytest.raises(TransportError) as caught:
        check_server_choice(BOTH, used, theirs, original=original, reacted=reacted)
    assert caught.value.code == TransportErrorCode.VERSION_NEGOTIATION_ERROR
