"""qlog 0.3: QUIC events (quic-00 to -04) and HTTP/3 and QPACK events (h3-00 to -04).

Within 0.3 the drafts differ; what any of them allowed is allowed here. Old spellings are of still older ones,
or of stacks.
"""

from qlog.schema import newest_http3, newest_quic
from qlog.schema.newest_main import SHARED
from qlog.schema.notation import BASE, CORE, EXTRA, EventType, Type, alias, choice, enum, frame, record

_LENGTHS = "?length:uint64 ?payload_length:uint64 ?raw:Raw"
_OWNER = "owner:Owner"
_LIMITS = (
    " ?disable_active_migration:bool ?max_idle_timeout:uint64 ?max_udp_payload_size:uint64"
    " ?active_connection_id_limit:uint64 ?initial_max_data:uint64 ?initial_max_stream_data_bidi_local:uint64"
    " ?initial_max_stream_data_bidi_remote:uint64 ?initial_max_stream_data_uni:uint64"
    " ?initial_max_streams_bidi:uint64 ?initial_max_streams_uni:uint64"
)
_PACKET = (
    "header:PacketHeader ?frames:[*QuicFrame] ?is_coalesced:bool ?retry_token:Token"
    " ?stateless_reset_token:ResetToken ?supported_versions:[*hexstring] ?raw:RawInfo ?datagram_id:uint32"
    " !packet_type=header.packet_type !packet_number=header.packet_number"
)
_HEADER = (
    "?flags:uint8 ?token:Token ?length:uint16 ?version:hexstring ?scil:uint8 ?dcil:uint8 ?scid:hexstring"
    " ?dcid:hexstring !packet_size=raw.length !payload_length=raw.payload_length"
)
_UNREAD = "?header:UnreadPacketHeader ?raw:RawInfo ?datagram_id:uint32 !packet_type=header.packet_type"
_DATAGRAMS = "?count:uint16 ?raw:[*RawInfo] ?datagram_ids:[*uint32] !byte_length=raw ?trigger:text"
_QPACK = (
    "?stream_id:uint64 ?headers:[*HTTPHeader] ?block_prefix:map ?header_block:any ?length:uint32 ?raw:any"
    " ?trigger:text"
)


def _reused(types: dict[str, Type], names: str) -> dict[str, Type]:
    """Types that have not changed since."""
    return {name: types[name] for name in names.split()}


VALUES: dict[str, Type] = (
    _reused(
        newest_quic.VALUES,
        "PacketType PacketNumberSpace SentTrigger ReceivedTrigger BufferedTrigger LostTrigger KeyType"
        " KeyTrigger"
        " StreamType StreamSide StreamState TransportError CryptoError ApplicationError",
    )
    | SHARED
    | {
        "Owner": enum("local remote"),
        "Raw": alias("RawInfo/hexstring"),
        # From -00 to -04 a token; many stacks write the bytes as such, as later drafts do.
        "ResetToken": alias("Token/hexstring"),
        "Token": record("?type:TokenType ?length:uint32 ?data:hexstring ?details:any ?raw:RawInfo"),
        "TokenType": enum("retry resumption stateless_reset"),
        "CloseCode": alias("TransportError/CryptoError/uint64"),
        "ApplicationCode": alias("ApplicationError/uint64"),
        "AnyCode": alias("TransportError/CryptoError/ApplicationError/uint64"),
        "CloseTrigger": enum(
            "clean handshake_timeout idle_timeout error stateless_reset version_mismatch application",
            extensible=True,
        ),
        "ConnectionState": enum(
            "attempted peer_validated handshake_started early_write handshake_complete handshake_confirmed"
            " closing draining closed",
            extensible=True,
            renamed="handshake_completed=handshake_complete",
        ),
        "DroppedTrigger": enum(
            "key_unavailable unknown_connection_id header_parse_error payload_decrypt_error"
            " protocol_violation"
            " dos_prevention unsupported_version unexpected_packet unexpected_source_connection_id"
            " unexpected_version duplicate invalid_initial internal_error rejected unsupported invalid"
            " connection_unknown decryption_failure general",
            extensible=True,
        ),
        "TimerType": enum("ack pto", extensible=True, renamed="loss_timeout=ack"),
        "TimerEventType": enum("set expired cancelled"),
        "IPVersion": enum("v4 v6", extensible=True, renamed="ipv4=v4 ipv6=v6"),
        # The class is one in the drafts; which types have a number, its comments say.
        "PacketHeader": choice(
            "packet_type",
            "initial=NumberedPacketHeader handshake=NumberedPacketHeader 0RTT=NumberedPacketHeader"
            " 1RTT=NumberedPacketHeader retry=UnnumberedPacketHeader"
            " version_negotiation=UnnumberedPacketHeader stateless_reset=UnnumberedPacketHeader"
            " unknown=UnreadPacketHeader",
        ),
        "NumberedPacketHeader": record(f"packet_type:PacketType packet_number:uint64 {_HEADER}"),
        "UnnumberedPacketHeader": record(f"packet_type:PacketType {_HEADER}"),
        "UnreadPacketHeader": record(f"packet_type:PacketType ?packet_number:uint64 {_HEADER}"),
        "PreferredAddress": record(
            "?ip_v4:text ?ip_v6:text ?port_v4:uint16 ?port_v6:uint16 connection_id:hexstring"
            " stateless_reset_token:ResetToken"
        ),
    }
)

FRAMES: dict[str, Type] = {
    "QuicFrame": choice(
        "frame_type",
        "padding=PaddingFrame ping=PingFrame ack=AckFrame reset_stream=ResetStreamFrame"
        " stop_sending=StopSendingFrame crypto=CryptoFrame new_token=NewTokenFrame stream=StreamFrame"
        " max_data=MaxDataFrame max_stream_data=MaxStreamDataFrame max_streams=MaxStreamsFrame"
        " data_blocked=DataBlockedFrame stream_data_blocked=StreamDataBlockedFrame"
        " streams_blocked=StreamsBlockedFrame new_connection_id=NewConnectionIDFrame"
        " retire_connection_id=RetireConnectionIDFrame path_challenge=PathChallengeFrame"
        " path_response=PathResponseFrame connection_close=ConnectionCloseFrame"
        " handshake_done=HandshakeDoneFrame unknown=UnknownFrame datagram=DatagramFrame",
    ),
    "PaddingFrame": frame("padding", "?length:uint64 payload_length:uint64 ?raw:Raw"),
    "PingFrame": frame("ping", _LENGTHS),
    "AckRange": alias("[1-2*uint64]"),
    "AckFrame": frame(
        "ack", f"?ack_delay:float ?acked_ranges:[*AckRange] ?ect1:uint64 ?ect0:uint64 ?ce:uint64 {_LENGTHS}"
    ),
    "ResetStreamFrame": frame(
        "reset_stream", f"stream_id:uint64 error_code:ApplicationCode final_size:uint64 {_LENGTHS}"
    ),
    "StopSendingFrame": frame("stop_sending", f"stream_id:uint64 error_code:ApplicationCode {_LENGTHS}"),
    "CryptoFrame": frame("crypto", "offset:uint64 length:uint64 ?payload_length:uint64 ?raw:Raw"),
    "NewTokenFrame": frame("new_token", f"token:Token {_LENGTHS}"),
    "StreamFrame": frame(
        "stream",
        "stream_id:uint64 offset:uint64 length:uint64 ?fin:bool ?payload_length:uint64 ?raw:Raw"
        " !id=stream_id",
    ),
    "MaxDataFrame": frame("max_data", f"maximum:uint64 {_LENGTHS}"),
    "MaxStreamDataFrame": frame("max_stream_data", f"stream_id:uint64 maximum:uint64 {_LENGTHS}"),
    "MaxStreamsFrame": frame("max_streams", f"stream_type:StreamType maximum:uint64 {_LENGTHS}"),
    "DataBlockedFrame": frame("data_blocked", f"limit:uint64 {_LENGTHS}"),
    "StreamDataBlockedFrame": frame("stream_data_blocked", f"stream_id:uint64 limit:uint64 {_LENGTHS}"),
    "StreamsBlockedFrame": frame("streams_blocked", f"stream_type:StreamType limit:uint64 {_LENGTHS}"),
    "NewConnectionIDFrame": frame(
        "new_connection_id",
        "sequence_number:uint64 retire_prior_to:uint64 ?connection_id_length:uint8 connection_id:hexstring"
        " ?stateless_reset_token:ResetToken ?raw:Raw !length=connection_id_length"
        " !reset_token=stateless_reset_token !retire_before=retire_prior_to",
    ),
    "RetireConnectionIDFrame": frame("retire_connection_id", f"sequence_number:uint64 {_LENGTHS}"),
    "PathChallengeFrame": frame("path_challenge", f"?data:hexstring {_LENGTHS}"),
    "PathResponseFrame": frame("path_response", f"?data:hexstring {_LENGTHS}"),
    "ErrorSpace": enum(
        "transport application", renamed="transport_error=transport application_error=application"
    ),
    "ConnectionCloseFrame": frame(
        "connection_close",
        "?error_space:ErrorSpace ?error_code:AnyCode ?raw_error_code:uint64 ?error_code_value:uint64"
        " ?reason:text"
        f" ?reason_bytes:hexstring ?trigger_frame_type:uint64/text {_LENGTHS}",
    ),
    "HandshakeDoneFrame": frame("handshake_done", _LENGTHS),
    "UnknownFrame": frame(
        "unknown", "?raw_frame_type:uint64 ?frame_type_value:uint64 ?raw_length:uint64 ?raw:Raw"
    ),
    "DatagramFrame": frame("datagram", _LENGTHS),
}

DATA: dict[str, Type] = {
    "ServerListening": record(
        "?ip_v4:text ?ip_v6:text ?port_v4:uint16 ?port_v6:uint16 ?retry_required:bool ?trigger:text"
    ),
    "ConnectionStarted": record(
        "?ip_version:IPVersion src_ip:text dst_ip:text ?protocol:text ?src_port:uint16 ?dst_port:uint16"
        " ?src_cid:hexstring ?dst_cid:hexstring ?trigger:text"
    ),
    "ConnectionClosed": record(
        "?owner:Owner ?connection_code:CloseCode ?application_code:ApplicationCode ?internal_code:uint64"
        " ?reason:text ?trigger:CloseTrigger !error_code=connection_code"
    ),
    "ConnectionIDUpdated": record(f"{_OWNER} ?old:hexstring ?new:hexstring ?trigger:text"),
    "SpinBitUpdated": record("state:bool ?trigger:text"),
    "ConnectionStateUpdated": record("?old:ConnectionState new:ConnectionState ?trigger:text"),
    "MTUUpdated": record("?old:uint32 new:uint32 ?done:bool ?trigger:text !mtu=new"),
    "KeyUpdated": record(
        "key_type:KeyType ?old:hexstring ?new:hexstring ?generation:uint32 ?trigger:KeyTrigger"
    ),
    "KeyRetired": record("key_type:KeyType ?key:hexstring ?generation:uint32 ?trigger:KeyTrigger"),
    "VersionInformation": record(
        "?server_versions:[*hexstring] ?client_versions:[*hexstring] ?chosen_version:hexstring ?trigger:text"
    ),
    "ALPNInformation": record("?server_alpns:[*text] ?client_alpns:[*text] ?chosen_alpn:text ?trigger:text"),
    # Both kinds may carry any further transport parameter.
    "ParametersSet": record(
        "?owner:Owner ?resumption_allowed:bool ?early_data_enabled:bool ?tls_cipher:text"
        " ?aead_tag_length:uint8"
        " ?original_destination_connection_id:hexstring ?initial_source_connection_id:hexstring"
        " ?retry_source_connection_id:hexstring ?stateless_reset_token:ResetToken ?ack_delay_exponent:uint16"
        " ?max_ack_delay:uint16 ?preferred_address:PreferredAddress ?trigger:text"
        " !max_packet_size=max_udp_payload_size !idle_timeout=max_idle_timeout" + _LIMITS,
        "open",
    ),
    "ParametersRestored": record(_LIMITS, "open"),
    "PacketSent": record(f"{_PACKET} ?trigger:SentTrigger"),
    "PacketReceived": record(f"{_PACKET} ?trigger:ReceivedTrigger"),
    "PacketDropped": record(f"{_UNREAD} ?trigger:DroppedTrigger"),
    "PacketBuffered": record(f"{_UNREAD} ?trigger:BufferedTrigger"),
    "PacketsAcked": record("?packet_number_space:PacketNumberSpace ?packet_numbers:[*uint64] ?trigger:text"),
    "DatagramsSent": record(_DATAGRAMS),
    "DatagramsReceived": record(_DATAGRAMS),
    "DatagramDropped": record("?raw:RawInfo ?trigger:text"),
    "StreamStateUpdated": record(
        "stream_id:uint64 ?stream_type:StreamType ?old:StreamState new:StreamState ?stream_side:StreamSide"
        " ?trigger:text"
    ),
    "FramesProcessed": record("frames:[*QuicFrame] ?packet_number:uint64 ?trigger:text"),
    "DataMoved": record(
        "?stream_id:uint64 ?offset:uint64 ?length:uint64 ?from:text ?to:text ?data:hexstring ?raw:RawInfo"
        " ?trigger:text"
    ),
    "RecoveryParametersSet": record(
        "?reordering_threshold:uint16 ?time_threshold:float ?timer_granularity:uint16 ?initial_rtt:float"
        " ?max_datagram_size:uint32 ?initial_congestion_window:uint64 ?minimum_congestion_window:uint64"
        " ?loss_reduction_factor:float ?persistent_congestion_threshold:uint16",
        "open",
    ),
    "MetricsUpdated": record(
        "?min_rtt:float ?smoothed_rtt:float ?latest_rtt:float ?rtt_variance:float ?pto_count:uint16"
        " ?congestion_window:uint64 ?bytes_in_flight:uint64 ?ssthresh:uint64 ?packets_in_flight:uint64"
        " ?pacing_rate:uint64 !cwnd=congestion_window !rttvar=rtt_variance",
        "open",
    ),
    "CongestionStateUpdated": record("?old:text new:text ?trigger:text"),
    "LossTimerUpdated": record(
        "?timer_type:TimerType ?packet_number_space:PacketNumberSpace event_type:TimerEventType ?delta:float"
        " ?trigger:text"
    ),
    "PacketLost": record(
        "?header:PacketHeader ?frames:[*QuicFrame] ?is_mtu_probe_packet:bool ?trigger:LostTrigger"
        " !type=header.packet_type !packet_type=header.packet_type !packet_number=header.packet_number"
    ),
    "MarkedForRetransmit": record("frames:[*QuicFrame] ?trigger:text"),
}

HTTP: dict[str, Type] = {
    "HTTPHeader": record("?name:text ?value:text ?name_bytes:hexstring ?value_bytes:hexstring"),
    "HTTP3Frame": choice(
        "frame_type",
        "data=DataFrame headers=HeadersFrame header=HeaderFrame cancel_push=CancelPushFrame"
        " settings=SettingsFrame push_promise=PushPromiseFrame goaway=GoAwayFrame max_push_id=MaxPushIDFrame"
        " duplicate_push=DuplicatePushFrame reserved=ReservedFrame unknown=UnknownHTTP3Frame"
        " priority_update=PriorityUpdateFrame",
    ),
    "DataFrame": frame("data", "?raw:Raw"),
    "HeadersFrame": frame("headers", "headers:[*HTTPHeader] ?raw:Raw !header_fields=headers"),
    # The draft's text says "header" where its examples have "headers".
    "HeaderFrame": frame("header", "headers:[*HTTPHeader] ?raw:Raw"),
    "CancelPushFrame": frame("cancel_push", "push_id:uint64 ?raw:Raw"),
    "SettingsFrame": frame("settings", "settings:[*Setting] ?raw:Raw"),
    "SettingValue": alias("uint64/text"),
    "Setting": record("?name:text ?name_bytes:uint64 value:SettingValue"),
    "PushPromiseFrame": frame("push_promise", "push_id:uint64 headers:[*HTTPHeader] ?raw:Raw"),
    "GoAwayFrame": frame("goaway", "id:uint64 ?raw:Raw"),
    "MaxPushIDFrame": frame("max_push_id", "push_id:uint64 ?raw:Raw"),
    "DuplicatePushFrame": frame("duplicate_push", "push_id:uint64 ?raw:Raw"),
    "ReservedFrame": frame("reserved", "?length:uint64 ?raw:Raw"),
    "UnknownHTTP3Frame": frame(
        "unknown", "?raw_frame_type:uint64 ?frame_type_value:uint64 ?raw_length:uint64 ?raw:Raw"
    ),
    "PriorityUpdateFrame": frame(
        "priority_update",
        "?target_stream_type:text ?prioritized_element_id:uint64 ?element_id:uint64"
        " ?stream_id:uint64"
        " ?priority_field_value:text ?value:text ?raw:Raw",
    ),
    "HTTPParametersSet": record(
        "?owner:Owner ?max_header_list_size:uint64 ?max_field_section_size:uint64 ?max_table_capacity:uint64"
        " ?blocked_streams_count:uint64 ?waits_for_settings:bool",
        "open",
    ),
    "HTTPParametersRestored": record(
        "?max_header_list_size:uint64 ?max_field_section_size:uint64 ?max_table_capacity:uint64"
        " ?blocked_streams_count:uint64",
        "open",
    ),
    "HTTPStreamType": enum(
        "data request control push reserved unknown qpack_encode qpack_decode",
        extensible=True,
        renamed="qpack_encoder=qpack_encode qpack_decoder=qpack_decode",
    ),
    # h3-00 to -02 had old and new, from -03 on it is stream_type.
    "HTTPStreamTypeSet": record(
        "stream_id:uint64 ?owner:Owner ?old:HTTPStreamType ?new:HTTPStreamType ?stream_type:HTTPStreamType"
        " ?stream_type_value:uint64 ?associated_push_id:uint64 ?trigger:text"
    ),
    "HTTPFrameMoved": record(
        "stream_id:uint64 ?length:uint64 frame:HTTP3Frame ?raw:Raw ?trigger:text !byte_length=length"
    ),
    "HTTP3PushDecision": newest_http3.HTTP3["HTTP3PushDecision"],
    "HTTPPushResolved": record("?push_id:uint64 ?stream_id:uint64 decision:HTTP3PushDecision ?trigger:text"),
    "QPACKState": enum("blocked unblocked"),
    "QPACKStateUpdated": record(
        f"{_OWNER} ?dynamic_table_capacity:uint64 ?dynamic_table_size:uint64 ?known_received_count:uint64"
        " ?current_insert_count:uint64 ?trigger:text"
    ),
    "QPACKStreamStateUpdated": record("stream_id:uint64 state:QPACKState ?trigger:text"),
    "QPACKUpdateType": enum("inserted evicted"),
    "QPACKDynamicTableUpdated": record(f"{_OWNER} update_type:QPACKUpdateType entries:[*map] ?trigger:text"),
    "QPACKHeadersMoved": record(_QPACK),
    "QPACKInstructionMoved": record("instruction:map ?length:uint32 ?raw:any ?trigger:text"),
}

TYPES = VALUES | FRAMES | DATA | HTTP

QUIC_EVENTS = {
    "connectivity:server_listening": EventType("ServerListening", EXTRA),
    "connectivity:connection_started": EventType("ConnectionStarted", BASE),
    "connectivity:connection_closed": EventType("ConnectionClosed", BASE),
    "connectivity:connection_id_updated": EventType("ConnectionIDUpdated", BASE),
    "connectivity:spin_bit_updated": EventType("SpinBitUpdated", BASE),
    "connectivity:connection_state_updated": EventType("ConnectionStateUpdated", BASE),
    "connectivity:mtu_updated": EventType("MTUUpdated", EXTRA),
    "security:key_updated": EventType("KeyUpdated", BASE),
    "security:key_retired": EventType("KeyRetired", BASE),
    "security:key_discarded": EventType("KeyRetired", BASE),
    "transport:version_information": EventType("VersionInformation", CORE),
    "transport:alpn_information": EventType("ALPNInformation", CORE),
    "transport:parameters_set": EventType("ParametersSet", CORE),
    "transport:parameters_restored": EventType("ParametersRestored", BASE),
    "transport:packet_sent": EventType("PacketSent", CORE),
    "transport:packet_received": EventType("PacketReceived", CORE),
    "transport:packet_dropped": EventType("PacketDropped", BASE),
    "transport:packet_buffered": EventType("PacketBuffered", BASE),
    "transport:packets_acked": EventType("PacketsAcked", EXTRA),
    "transport:datagrams_sent": EventType("DatagramsSent", EXTRA),
    "transport:datagrams_received": EventType("DatagramsReceived", EXTRA),
    "transport:datagram_dropped": EventType("DatagramDropped", EXTRA),
    "transport:stream_state_updated": EventType("StreamStateUpdated", BASE),
    "transport:frames_processed": EventType("FramesProcessed", EXTRA),
    "transport:data_moved": EventType("DataMoved", BASE),
    "recovery:parameters_set": EventType("RecoveryParametersSet", BASE),
    "recovery:metrics_updated": EventType("MetricsUpdated", CORE),
    "recovery:congestion_state_updated": EventType("CongestionStateUpdated", BASE),
    "recovery:loss_timer_updated": EventType("LossTimerUpdated", EXTRA),
    "recovery:packet_lost": EventType("PacketLost", CORE),
    "recovery:marked_for_retransmit": EventType("MarkedForRetransmit", EXTRA),
}

HTTP_EVENTS = {
    "http:parameters_set": EventType("HTTPParametersSet", BASE),
    "http:parameters_restored": EventType("HTTPParametersRestored", BASE),
    "http:stream_type_set": EventType("HTTPStreamTypeSet", BASE),
    "http:frame_created": EventType("HTTPFrameMoved", CORE),
    "http:frame_parsed": EventType("HTTPFrameMoved", CORE),
    "http:push_resolved": EventType("HTTPPushResolved", EXTRA),
    "qpack:state_updated": EventType("QPACKStateUpdated", BASE),
    "qpack:stream_state_updated": EventType("QPACKStreamStateUpdated", CORE),
    "qpack:dynamic_table_updated": EventType("QPACKDynamicTableUpdated", EXTRA),
    "qpack:headers_encoded": EventType("QPACKHeadersMoved", BASE),
    "qpack:headers_decoded": EventType("QPACKHeadersMoved", BASE),
    "qpack:instruction_created": EventType("QPACKInstructionMoved", BASE),
    "qpack:instruction_parsed": EventType("QPACKInstructionMoved", BASE),
}
