"""Our transport parameters from the settings, and the checks on the peer's (RFC 9000 §7.3, §7.4, §18)."""

from endpoint.config import Config
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.transport.ack_frequency import local_min_ack_delay
from endpoint.wire.transport_params import (
    PreferredAddress,
    TransportParameters,
    VersionInformation,
    decode_transport_parameters,
)


def local_parameters(
    config: Config,
    initial_source_cid: bytes,
    *,
    original_destination_cid: bytes | None = None,
    retry_source_cid: bytes | None = None,
    stateless_reset_token: bytes | None = None,
    chosen_version: int,
    preferred_address: PreferredAddress | None = None,
) -> TransportParameters:
    """What we tell the peer; connection ID and token of the original destination are a server's."""
    return TransportParameters(
        original_destination_connection_id=original_destination_cid,
        max_idle_timeout=round(config.max_idle_timeout * 1000),
        stateless_reset_token=stateless_reset_token,
        max_udp_payload_size=config.max_receive_udp_payload_size,
        initial_max_data=config.initial_max_data,
        initial_max_stream_data_bidi_local=config.initial_max_stream_data,
        initial_max_stream_data_bidi_remote=config.initial_max_stream_data,
        initial_max_stream_data_uni=config.initial_max_stream_data,
        initial_max_streams_bidi=config.initial_max_streams_bidi,
        initial_max_streams_uni=config.initial_max_streams_uni,
        ack_delay_exponent=config.ack_delay_exponent,
        max_ack_delay=round(config.max_ack_delay * 1000),
        active_connection_id_limit=config.active_connection_id_limit,
        initial_source_connection_id=initial_source_cid,
        retry_source_connection_id=retry_source_cid,
        disable_active_migration=config.disable_active_migration,
        preferred_address=preferred_address,
        version_information=VersionInformation(chosen_version, _available_versions(config, chosen_version)),
        max_datagram_frame_size=config.max_datagram_frame_size,
        grease_quic_bit=config.grease,
        min_ack_delay=local_min_ack_delay(config.max_ack_delay) if config.ack_frequency else None,
    )


def _available_versions(config: Config, chosen: int) -> tuple[int, ...]:
    """RFC 9368 §3: the chosen version is always among them, also a reserved one that a client begins in."""
    return config.versions if chosen in config.versions else (chosen, *config.versions)


def peer_parameters(
    data: bytes,
    *,
    from_client: bool,
    peer_source_cid: bytes,
    original_destination_cid: bytes,
    retry_source_cid: bytes | None = None,
) -> TransportParameters:
    """Decode and check what the peer sent.

    RFC 9000 §7.3: the connection IDs of the unprotected handshake have to be those the peer vouches
    for here, else somebody on the path has changed them. Raises TRANSPORT_PARAMETER_ERROR.
    """
    params = decode_transport_parameters(data, from_client=from_client)
    _require_same("initial_source_connection_id", params.initial_source_connection_id, peer_source_cid)
    if not from_client:
        _require_same(
            "original_destination_connection_id",
            params.original_destination_connection_id,
            original_destination_cid,
        )
        _require_same("retry_source_connection_id", params.retry_source_connection_id, retry_source_cid)
    return params


def _require_same(name: str, told: bytes | None, seen: bytes | None) -> None:
    if told != seen:
        shown = "missing" if told is None else told.hex() or "empty"
        raise TransportError(
            TransportErrorCode.TRANSPORT_PARAMETER_ERROR,
            f"{name} is {shown}, not {'absent' if seen is None else seen.hex() or 'empty'}",
        )


def effective_idle_timeout(ours: float, peer_milliseconds: int) -> float | None:
    """The lesser of both, in seconds; None if neither side has one (RFC 9000 §10.1)."""
    values = [value for value in (ours, peer_milliseconds / 1000) if value > 0]
    return min(values, default=None)
