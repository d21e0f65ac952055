"""QUIC events, editors' copy of July 2026 (after draft-ietf-quic-qlog-quic-events-13)."""

from qlog.schema.newest_frames import FRAMES
from qlog.schema.notation import BASE, CORE, EXTRA, EventType, Type, alias, enum, pattern, record

_LIMITS = (
    " ?initial_max_data:uint64 ?initial_max_stream_data_bidi_local:uint64"
    " ?initial_max_stream_data_bidi_remote:uint64 ?initial_max_stream_data_uni:uint64"
    " ?initial_max_streams_bidi:uint64 ?initial_max_streams_uni:uint64 ?max_datagram_frame_size:uint64"
    " ?grease_quic_bit:bool"
)
_ADDRESS = "?ip_v4:IPAddress ?port_v4:uint16 ?ip_v6:IPAddress ?port_v6:uint16"
_PACKET = (
    "header:PacketHeader ?frames:[*QuicFrame] ?stateless_reset_token:StatelessResetToken"
    " ?supported_versions:[+QuicVersion] ?raw:RawInfo ?datagram_payload_checksum:uint32"
    " !is_coalesced=datagram_payload_checksum@quic-08 !retry_token=header.token@quic-07"
    " !datagram_id=datagram_payload_checksum@quic-14 !packet_type=header.packet_type"
)
_DATAGRAMS = (
    "?count:uint16 ?raw:[+RawInfo] ?ecn:[+ECN] ?datagram_payload_checksums:[+uint32]"
    " !datagram_ids=datagram_payload_checksums@quic-14 !byte_length=raw"
)
_BLOCKED = "?old:BlockedState new:BlockedState ?reason:BlockedReason"

VALUES: dict[str, Type] = {
    "QuicVersion": alias("hexstring"),
    "ConnectionID": alias("hexstring"),
    # The CDDL's size counts characters of the text; the draft means 16 bytes.
    "StatelessResetToken": pattern("[0-9a-f]{32}"),
    "IPAddress": alias("text"),
    "TupleID": alias("text"),
    "Initiator": enum("local remote"),
    "CloseTrigger": enum(
        "idle_timeout application error version_mismatch stateless_reset aborted unspecified",
        renamed="clean=application@quic-08 handshake_timeout=idle_timeout@quic-08",
    ),
    "ConnectionState": enum(
        "attempted handshake_started handshake_complete closed peer_validated early_write handshake_confirmed"
        " closing draining",
        extensible=True,
        renamed="handshake_completed=handshake_complete",
    ),
    "PacketType": enum(
        "initial handshake 0RTT 1RTT retry version_negotiation stateless_reset unknown",
        extensible=True,
        renamed="onertt=1RTT zerortt=0RTT 1rtt=1RTT 0rtt=0RTT",
    ),
    "PacketNumberSpace": enum("initial handshake application_data", extensible=True),
    "SentTrigger": enum(
        "retransmit_reordered retransmit_timeout pto_probe retransmit_crypto cc_bandwidth_probe"
    ),
    "ReceivedTrigger": enum("keys_available"),
    "DroppedTrigger": enum(
        "internal_error rejected unsupported invalid duplicate connection_unknown decryption_failure"
        " key_unavailable general",
        renamed="unknown_connection_id=connection_unknown@quic-04 header_parse_error=invalid@quic-04"
        " payload_decrypt_error=decryption_failure@quic-04 protocol_violation=invalid@quic-04"
        " dos_prevention=rejected@quic-04 unsupported_version=unsupported@quic-04"
        " unexpected_packet=invalid@quic-04 unexpected_source_connection_id=invalid@quic-04"
        " unexpected_version=unsupported@quic-04 invalid_initial=invalid@quic-04",
    ),
    "BufferedTrigger": enum("backpressure keys_unavailable"),
    "LostTrigger": enum("reordering_threshold time_threshold pto_expired"),
    "TokenType": enum("retry resumption", extensible=True),
    "KeyType": enum(
        "server_initial_secret client_initial_secret server_handshake_secret client_handshake_secret"
        " server_0rtt_secret client_0rtt_secret server_1rtt_secret client_1rtt_secret",
        extensible=True,
    ),
    "KeyTrigger": enum("tls remote_update local_update"),
    "ECN": enum("Not-ECT ECT(1) ECT(0) CE"),
    "ECNState": enum("testing unknown failed capable"),
    "StreamType": enum("unidirectional bidirectional"),
    "StreamSide": enum("sending receiving"),
    "StreamTrigger": enum("local remote"),
    "StreamState": enum(
        "idle open closed half_closed_local half_closed_remote ready send data_sent reset_sent reset_received"
        " receive size_known data_read reset_read data_received destroyed",
        extensible=True,
    ),
    "DataLocation": enum(
        "application transport network", extensible=True, renamed="user=application@quic-09"
    ),
    "DataMovedAdditionalInfo": enum("fin_set stream_reset", extensible=True),
    "BlockedState": enum("blocked unblocked", extensible=True),
    "BlockedReason": enum(
        "scheduling pacing amplification_protection congestion_control connection_flow_control"
        " stream_flow_control stream_id application",
        extensible=True,
    ),
    "MigrationState": enum(
        "probing_started probing_abandoned probing_successful migration_started migration_abandoned"
        " migration_complete"
    ),
    "TimerType": enum("ack pto loss_timeout path_validation handshake_timeout idle_timeout", extensible=True),
    "TimerEventType": enum("set expired cancelled"),
    "TransportError": enum(
        "no_error internal_error connection_refused flow_control_error stream_limit_error stream_state_error"
        " final_size_error frame_encoding_error transport_parameter_error connection_id_limit_error"
        " protocol_violation invalid_token application_error crypto_buffer_exceeded key_update_error"
        " aead_limit_reached no_viable_path unknown",
        extensible=True,
    ),
    "CryptoError": pattern("crypto_error_0x1[0-9a-f][0-9a-f]"),
    # With what the HTTP/3 events add to this socket
    "ApplicationError": enum(
        "unknown http_no_error http_general_protocol_error http_internal_error http_stream_creation_error"
        " http_closed_critical_stream http_frame_unexpected http_frame_error http_excessive_load"
        " http_id_error"
        " http_settings_error http_missing_settings http_request_rejected http_request_cancelled"
        " http_request_incomplete http_early_response http_connect_error http_version_fallback",
        extensible=True,
    ),
}

MAPS: dict[str, Type] = {
    "TupleEndpointInfo": record(f"{_ADDRESS} ?connection_ids:[+ConnectionID]"),
    "ALPNIdentifier": record("?byte_value:hexstring ?string_value:text", "closed"),
    "PreferredAddress": record(
        f"{_ADDRESS} connection_id:ConnectionID stateless_reset_token:StatelessResetToken", "closed"
    ),
    "UnknownParameter": record("id:uint64 ?value:hexstring", "closed"),
    "PacketHeader": record(
        "packet_type:PacketType ?packet_type_bytes:uint64 ?spin_bit:bool ?key_phase:uint64"
        " ?key_phase_bit:bool"
        " ?packet_number_length:uint8 ?packet_number:uint64 ?token:Token ?length:uint16 ?version:QuicVersion"
        " ?scil:uint8 ?dcil:uint8 ?scid:ConnectionID ?dcid:ConnectionID"
        " !flags=packet_number_length@quic-12 !quic_bit=@quic-12 !packet_size=raw.length"
        " !payload_length=raw.payload_length"
    ),
    "Token": record(
        "?type:TokenType ?details:map ?raw:RawInfo !length=raw.length@quic-04 !data=raw.data@quic-04"
    ),
}

DATA: dict[str, Type] = {
    "QUICServerListening": record(f"{_ADDRESS} ?retry_required:bool"),
    "QUICConnectionStarted": record(
        "local:TupleEndpointInfo remote:TupleEndpointInfo !ip_version=@quic-10 !protocol=@quic-10"
        " !src_ip=local.ip_v4@quic-10 !src_port=local.port_v4@quic-10 !src_cid=local.connection_ids@quic-10"
        " !dst_ip=remote.ip_v4@quic-10 !dst_port=remote.port_v4@quic-10"
        " !dst_cid=remote.connection_ids@quic-10"
    ),
    "QUICConnectionClosed": record(
        "?initiator:Initiator ?connection_error:TransportError/CryptoError"
        " ?application_error:ApplicationError"
        " ?error_code:uint64 ?internal_code:uint64 ?reason:text ?trigger:CloseTrigger"
        " !owner=initiator@quic-12"
        " !connection_code=connection_error@quic-12 !application_code=application_error@quic-12"
        " !code_bytes=error_code@quic-12"
    ),
    "QUICConnectionIDUpdated": record(
        "initiator:Initiator ?old:ConnectionID ?new:ConnectionID !owner=initiator@quic-12"
    ),
    "QUICSpinBitUpdated": record("state:bool"),
    "QUICConnectionStateUpdated": record("?old:ConnectionState new:ConnectionState"),
    "QUICTupleAssigned": record(
        "tuple_id:TupleID ?tuple_remote:TupleEndpointInfo ?tuple_local:TupleEndpointInfo"
        " !path_id=tuple_id@quic-12 !path_remote=tuple_remote@quic-12 !path_local=tuple_local@quic-12"
    ),
    "QUICMTUUpdated": record("?old:uint32 new:uint32 ?done:bool !mtu=new"),
    "QUICVersionInformation": record(
        "?server_versions:[+QuicVersion] ?client_versions:[+QuicVersion] ?chosen_version:QuicVersion"
    ),
    "QUICALPNInformation": record(
        "?server_alpns:[*ALPNIdentifier]@quic-07 ?client_alpns:[*ALPNIdentifier]@quic-07"
        " ?chosen_alpn:ALPNIdentifier@quic-07"
    ),
    "QUICParametersSet": record(
        "?initiator:Initiator ?resumption_allowed:bool ?early_data_enabled:bool ?tls_cipher:text"
        " ?original_destination_connection_id:ConnectionID ?initial_source_connection_id:ConnectionID"
        " ?retry_source_connection_id:ConnectionID ?stateless_reset_token:StatelessResetToken"
        " ?disable_active_migration:bool ?max_idle_timeout:uint64 ?max_udp_payload_size:uint64"
        " ?ack_delay_exponent:uint64 ?max_ack_delay:uint64 ?active_connection_id_limit:uint64"
        " ?preferred_address:PreferredAddress ?unknown_parameters:[*UnknownParameter] ?reset_stream_at:bool"
        " !owner=initiator@quic-12 !aead_tag_length=@quic-05 !max_packet_size=max_udp_payload_size"
        " !idle_timeout=max_idle_timeout" + _LIMITS
    ),
    "QUICParametersRestored": record(
        "?disable_active_migration:bool ?max_idle_timeout:uint64 ?max_udp_payload_size:uint64"
        " ?active_connection_id_limit:uint64" + _LIMITS
    ),
    "QUICPacketSent": record(f"{_PACKET} ?is_mtu_probe_packet:bool ?trigger:SentTrigger"),
    "QUICPacketReceived": record(f"{_PACKET} ?trigger:ReceivedTrigger"),
    "QUICPacketDropped": record(
        "?header:PacketHeader ?raw:RawInfo ?datagram_payload_checksum:uint32 ?details:map"
        " ?trigger:DroppedTrigger"
        " !datagram_id=datagram_payload_checksum@quic-14 !packet_type=header.packet_type"
    ),
    "QUICPacketBuffered": record(
        "?header:PacketHeader ?raw:RawInfo ?datagram_payload_checksum:uint32 ?trigger:BufferedTrigger"
        " !datagram_id=datagram_payload_checksum@quic-14 !packet_type=header.packet_type"
    ),
    "QUICPacketsAcked": record("?packet_number_space:PacketNumberSpace ?packet_numbers:[+uint64]"),
    "QUICUDPDatagramsSent": record(_DATAGRAMS),
    "QUICUDPDatagramsReceived": record(_DATAGRAMS),
    "QUICUDPDatagramDropped": record("?raw:RawInfo"),
    "QUICStreamStateUpdated": record(
        "stream_id:uint64 ?stream_type:StreamType ?old:StreamState new:StreamState stream_side:StreamSide"
        " ?trigger:StreamTrigger"
    ),
    "QUICFramesCreated": record("frames:[*QuicFrame] ?packet_numbers:[*uint64]"),
    "QUICFramesParsed": record("frames:[*QuicFrame] ?packet_numbers:[*uint64]"),
    "QUICStreamDataMoved": record(
        "?stream_id:uint64 ?offset:uint64 ?from:DataLocation ?to:DataLocation"
        " ?additional_info:DataMovedAdditionalInfo ?raw:RawInfo !length=raw.length@quic-12"
        " !data=raw.data@quic-04"
    ),
    "QUICDatagramDataMoved": record("?from:DataLocation ?to:DataLocation ?raw:RawInfo"),
    "QUICConnectionDataBlockedUpdated": record(_BLOCKED, "closed"),
    "QUICStreamDataBlockedUpdated": record(f"{_BLOCKED} stream_id:uint64", "closed"),
    "QUICDatagramDataBlockedUpdated": record(_BLOCKED, "closed"),
    "QUICMigrationStateUpdated": record(
        "?old:MigrationState new:MigrationState ?tuple_id:TupleID ?tuple_remote:TupleEndpointInfo"
        " ?tuple_local:TupleEndpointInfo !path_id=tuple_id@quic-12 !path_remote=tuple_remote@quic-12"
        " !path_local=tuple_local@quic-12"
    ),
    "QUICTimerUpdated": record(
        "?timer_type:TimerType ?timer_id:uint64 ?packet_number_space:PacketNumberSpace"
        " event_type:TimerEventType ?delta:float"
    ),
    "QUICKeyUpdated": record(
        "key_type:KeyType ?old:hexstring ?new:hexstring ?key_phase:uint64 ?trigger:KeyTrigger"
        " !generation=key_phase@quic-07"
    ),
    "QUICKeyDiscarded": record(
        "key_type:KeyType ?key:hexstring ?key_phase:uint64 ?trigger:KeyTrigger !generation=key_phase@quic-07"
    ),
    # "Recovery Events": both kinds may carry fields of other recovery algorithms.
    "QUICRecoveryParametersSet": record(
        "?reordering_threshold:uint16 ?time_threshold:float timer_granularity:uint16 ?initial_rtt:float"
        " ?max_datagram_size:uint32 ?initial_congestion_window:uint64 ?minimum_congestion_window:uint64"
        " ?loss_reduction_factor:float ?persistent_congestion_threshold:uint16",
        "open",
    ),
    "QUICRecoveryMetricsUpdated": record(
        "?min_rtt:float ?smoothed_rtt:float ?latest_rtt:float ?rtt_variance:float ?pto_count:uint16"
        " ?congestion_window:uint64 ?bytes_in_flight:uint64 ?ssthresh:uint64 ?packets_in_flight:uint64"
        " ?pacing_rate:uint64 !cwnd=congestion_window !rttvar=rtt_variance",
        "open",
    ),
    "QUICCongestionStateUpdated": record("?old:text new:text ?trigger:text"),
    "QUICPacketLost": record(
        "?header:PacketHeader ?frames:[*QuicFrame] ?is_mtu_probe_packet:bool ?trigger:LostTrigger"
        " !type=header.packet_type !packet_type=header.packet_type !packet_number=header.packet_number"
    ),
    "QUICMarkedForRetransmit": record("frames:[+QuicFrame]"),
    "QUICECNStateUpdated": record("?old:ECNState new:ECNState"),
}

TYPES = VALUES | MAPS | FRAMES | DATA

EVENTS = {
    "quic:server_listening": EventType("QUICServerListening", EXTRA),
    "quic:connection_started": EventType("QUICConnectionStarted", BASE),
    "quic:connection_closed": EventType("QUICConnectionClosed", BASE),
    "quic:connection_id_updated": EventType("QUICConnectionIDUpdated", BASE),
    "quic:spin_bit_updated": EventType("QUICSpinBitUpdated", BASE),
    "quic:connection_state_updated": EventType("QUICConnectionStateUpdated", BASE),
    "quic:tuple_assigned": EventType("QUICTupleAssigned", BASE),
    "quic:mtu_updated": EventType("QUICMTUUpdated", EXTRA),
    "quic:version_information": EventType("QUICVersionInformation", CORE),
    "quic:alpn_information": EventType("QUICALPNInformation", CORE),
    "quic:parameters_set": EventType("QUICParametersSet", CORE),
    "quic:parameters_restored": EventType("QUICParametersRestored", BASE),
    "quic:packet_sent": EventType("QUICPacketSent", CORE),
    "quic:packet_received": EventType("QUICPacketReceived", CORE),
    "quic:packet_dropped": EventType("QUICPacketDropped", BASE),
    "quic:packet_buffered": EventType("QUICPacketBuffered", BASE),
    "quic:packets_acked": EventType("QUICPacketsAcked", EXTRA),
    "quic:udp_datagrams_sent": EventType("QUICUDPDatagramsSent", EXTRA),
    "quic:udp_datagrams_received": EventType("QUICUDPDatagramsReceived", EXTRA),
    "quic:udp_datagram_dropped": EventType("QUICUDPDatagramDropped", EXTRA),
    "quic:stream_state_updated": EventType("QUICStreamStateUpdated", BASE),
    "quic:frames_created": EventType("QUICFramesCreated", EXTRA),
    "quic:frames_parsed": EventType("QUICFramesParsed", EXTRA),
    "quic:stream_data_moved": EventType("QUICStreamDataMoved", BASE),
    "quic:datagram_data_moved": EventType("QUICDatagramDataMoved", BASE),
    "quic:connection_data_blocked_updated": EventType("QUICConnectionDataBlockedUpdated", EXTRA),
    "quic:stream_data_blocked_updated": EventType("QUICStreamDataBlockedUpdated", EXTRA),
    "quic:datagram_data_blocked_updated": EventType("QUICDatagramDataBlockedUpdated", EXTRA),
    "quic:migration_state_updated": EventType("QUICMigrationStateUpdated", EXTRA),
    "quic:timer_updated": EventType("QUICTimerUpdated", EXTRA),
    "quic:key_updated": EventType("QUICKeyUpdated", BASE),
    "quic:key_discarded": EventType("QUICKeyDiscarded", BASE),
    "quic:recovery_parameters_set": EventType("QUICRecoveryParametersSet", BASE),
    "quic:recovery_metrics_updated": EventType("QUICRecoveryMetricsUpdated", CORE),
    "quic:congestion_state_updated": EventType("QUICCongestionStateUpdated", BASE),
    "quic:packet_lost": EventType("QUICPacketLost", CORE),
    "quic:marked_for_retransmit": EventType("QUICMarkedForRetransmit", EXTRA),
    "quic:ecn_state_updated": EventType("QUICECNStateUpdated", EXTRA),
}
