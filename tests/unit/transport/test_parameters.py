"""Our transport parameters, and the checks on the peer's."""

import pytest

from endpoint.config import Config
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.transport.parameters import effective_idle_timeout, local_parameters, peer_parameters
from endpoint.wire.transport_params import TransportParameters, encode_transport_parameters
from endpoint.wire.version import QUIC_V1

SCID, ODCID = b"the-scid", b"the-odcid"


def test_settings_become_parameters() -> None:
    """Seconds become milliseconds."""
    config = Config(max_idle_timeout=12.5, max_ack_delay=0.04, ack_delay_exponent=5, initial_max_data=99)
    params = local_parameters(config, SCID, chosen_version=QUIC_V1)
    assert (params.max_idle_timeout, params.max_ack_delay, params.ack_delay_exponent) == (12_500, 40, 5)
    assert params.initial_max_data == 99
    assert params.initial_source_connection_id == SCID
    assert params.original_destination_connection_id is None
    assert params.stateless_reset_token is None


def test_servers_own_pass_the_clients_checks() -> None:
    params = local_parameters(
        Config(),
        SCID,
        original_destination_cid=ODCID,
        stateless_reset_token=bytes(16),
        chosen_version=QUIC_V1,
    )
    read = peer_parameters(
        encode_transport_parameters(params),
        from_client=False,
        peer_source_cid=SCID,
        original_destination_cid=ODCID,
    )
    assert read == params


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initial_source_connection_id", None),
        ("initial_source_connection_id", b"other"),
        ("original_destination_connection_id", None),
        ("original_destination_connection_id", b"other"),
        ("retry_source_connection_id", b"other"),
    ],
)
def test_connection_ids_have_to_match(name: str, value: bytes | None) -> None:
    params = TransportParameters(initial_source_connection_id=SCID, original_destination_connection_id=ODCID)
    setattr(params, name, value)
    with pytest.raises(TransportError, match=name) as caught:
        peer_parameters(
            encode_transport_parameters(params),
            from_client=False,
            peer_source_cid=SCID,
            original_destination_cid=ODCID,
        )
    assert caught.value.code == TransportErrorCode.TRANSPORT_PARAMETER_ERROR


def test_retry_has_to_be_vouched_for() -> None:
    params = TransportParameters(initial_source_connection_id=SCID, original_destination_connection_id=ODCID)
    with pytest.raises(TransportError, match="retry_source_connection_id is missing"):
        peer_parameters(
            encode_transport_parameters(params),
            from_client=False,
            peer_source_cid=SCID,
            original_destination_cid=ODCID,
            retry_source_cid=b"retry",
        )


@pytest.mark.parametrize(
    ("ours", "peer", "effective"),
    [(30.0, 10_000, 10.0), (5.0, 10_000, 5.0), (0.0, 10_000, 10.0), (30.0, 0, 30.0), (0.0, 0, None)],
)
def test_idle_timeout(ours: float, peer: int, effective: float | None) -> None:
    """RFC 9000 §10.1: the smaller of both; none is not smaller than any."""
    assert effective_idle_timeout(ours, peer) == effective
