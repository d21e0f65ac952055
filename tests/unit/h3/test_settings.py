"""SETTINGS as bytes, and what a server may not change under a client's 0-RTT requests."""

from dataclasses import replace

import pytest

from endpoint.h3.errors import H3ConnectionError, H3ErrorCode
from endpoint.h3.settings import INITIAL_SETTINGS, Settings


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        INITIAL_SETTINGS,
        Settings(h3_datagram=True, extra={0x21: 7, 0x4242: 1 << 61}),
        Settings(max_field_section_size=None, qpack_max_table_capacity=0),
        Settings(max_field_section_size=0),
    ],
)
def test_round_trip(settings: Settings) -> None:
    assert Settings.parse(settings.encode()) == settings


def test_initial_values_are_not_sent() -> None:
    assert INITIAL_SETTINGS.encode() == b""
    assert Settings.parse(b"") == INITIAL_SETTINGS


@pytest.mark.parametrize(
    "less",
    [
        replace(Settings(), qpack_blocked_streams=15),
        replace(Settings(), max_field_section_size=65535),
        replace(Settings(), enable_connect_protocol=False),
        replace(INITIAL_SETTINGS, qpack_max_table_capacity=4096),
    ],
)
def test_less_than_remembered(less: Settings) -> None:
    with pytest.raises(H3ConnectionError) as raised:
        less.check_against_remembered(Settings())
    assert raised.value.code is H3ErrorCode.H3_SETTINGS_ERROR


@pytest.mark.parametrize("capacity", [0, 4095, 4097])
def test_another_capacity_than_remembered(capacity: int) -> None:
    """RFC 9204 §3.2.3: with a code of its own, and more is no better than less."""
    with pytest.raises(H3ConnectionError) as raised:
        replace(Settings(), qpack_max_table_capacity=capacity).check_against_remembered(Settings())
    assert raised.value.code is H3ErrorCode.QPACK_DECODER_STREAM_ERROR
    Settings().check_against_remembered(replace(Settings(), qpack_max_table_capacity=0))


@pytest.mark.parametrize(
    "more",
    [
        Settings(),
        replace(Settings(), max_field_section_size=None, h3_datagram=True),
        replace(Settings(), qpack_blocked_streams=100, extra={0x21: 1}),
    ],
)
def test_as_much_as_remembered(more: Settings) -> None:
    more.check_against_remembered(Settings())


def test_a_new_limit_is_less_than_none() -> None:
    with pytest.raises(H3ConnectionError):
        Settings().check_against_remembered(replace(Settings(), max_field_section_size=None))
