"""HTTP/3 and HTTP events, editors' copy of July 2026 (after draft-ietf-quic-qlog-h3-events-13)."""

from qlog.schema.notation import BASE, CORE, EXTRA, EventType, Type, alias, choice, enum, frame, record

_SETTINGS = (
    "?max_field_section_size:uint64 ?max_table_capacity:uint64 ?blocked_streams_count:uint64"
    " ?extended_connect:uint16 ?h3_datagram:uint16"
)

_FRAME = "stream_id:uint64 frame:HTTP3Frame !length=frame.raw.length@http3-12 !raw=frame.raw@http3-12"

HTTP3_FRAMES: dict[str, Type] = {
    "HTTP3Frame": choice(
        "frame_type",
        "data=HTTP3DataFrame headers=HTTP3HeadersFrame cancel_push=HTTP3CancelPushFrame"
        " settings=HTTP3SettingsFrame push_promise=HTTP3PushPromiseFrame goaway=HTTP3GoawayFrame"
        " max_push_id=HTTP3MaxPushIDFrame reserved=HTTP3ReservedFrame unknown=HTTP3UnknownFrame"
        " priority_update=HTTP3PriorityUpdateFrame origin=HTTP3OriginFrame",
    ),
    "HTTP3DataFrame": frame("data", "?raw:RawInfo"),
    "HTTP3HTTPField": record("?name:text ?name_bytes:hexstring ?value:text ?value_bytes:hexstring", "closed"),
    "HTTP3HeadersFrame": frame("headers", "headers:[*HTTP3HTTPField] ?raw:RawInfo !header_fields=headers"),
    "HTTP3CancelPushFrame": frame("cancel_push", "push_id:uint64 ?raw:RawInfo"),
    "HTTP3SettingsFrame": frame("settings", "settings:[*HTTP3Setting] ?raw:RawInfo"),
    "HTTP3Setting": record("?name:HTTP3SettingsName@http3-08 ?name_bytes:uint64 value:uint64", "closed"),
    "HTTP3SettingsName": enum(
        "settings_qpack_max_table_capacity settings_max_field_section_size settings_qpack_blocked_streams"
        " settings_enable_connect_protocol settings_h3_datagram reserved unknown",
        extensible=True,
    ),
    "HTTP3PushPromiseFrame": frame("push_promise", "push_id:uint64 headers:[*HTTP3HTTPField] ?raw:RawInfo"),
    "HTTP3GoawayFrame": frame("goaway", "id:uint64 ?raw:RawInfo"),
    "HTTP3MaxPushIDFrame": frame("max_push_id", "push_id:uint64 ?raw:RawInfo"),
    "HTTP3ReservedFrame": frame("reserved", "frame_type_bytes:uint64 ?raw:RawInfo"),
    "HTTP3UnknownFrame": frame("unknown", "frame_type_bytes:uint64 ?raw:RawInfo"),
    "HTTP3Priority": alias("text"),
    "HTTP3PriorityUpdateFrame": frame(
        "priority_update",
        "?stream_id:uint64 ?push_id:uint64 priority_field_value:HTTP3Priority ?raw:RawInfo",
    ),
    "HTTP3OriginEntry": record("origin_len:uint16 ?ascii_origin:text", "closed"),
    "HTTP3OriginFrame": frame("origin", "origin_entries:[*HTTP3OriginEntry]"),
}

HTTP3: dict[str, Type] = HTTP3_FRAMES | {
    "Initiator": enum("local remote"),
    # "parameters_set" and "parameters_restored" may carry unknown (greased) settings.
    "HTTP3ParametersSet": record(
        f"?initiator:Initiator {_SETTINGS} ?waits_for_settings:bool !owner=initiator@http3-12"
        f" !max_header_list_size=max_field_section_size@http3-03",
        "open",
    ),
    "HTTP3ParametersRestored": record(_SETTINGS, "open"),
    "HTTP3StreamType": enum(
        "request control push reserved unknown qpack_encode qpack_decode",
        extensible=True,
        renamed="qpack_encoder=qpack_encode qpack_decoder=qpack_decode data=request@http3-03",
    ),
    "HTTP3StreamTypeSet": record(
        "?initiator:Initiator stream_id:uint64 stream_type:HTTP3StreamType ?stream_type_bytes:uint64"
        " ?associated_push_id:uint64 !owner=initiator@http3-12 !new=stream_type@http3-03 !old=@http3-03"
    ),
    "HTTP3PriorityTrigger": enum("client_signal_received local other"),
    "HTTP3PriorityReason": enum("client_signal_only client_server_merged local_policy other"),
    "HTTP3PriorityUpdated": record(
        "?stream_id:uint64 ?push_id:uint64 ?old:HTTP3Priority new:HTTP3Priority ?trigger:HTTP3PriorityTrigger"
        " ?reason:HTTP3PriorityReason"
    ),
    "HTTP3FrameCreated": record(_FRAME),
    "HTTP3FrameParsed": record(_FRAME),
    "HTTP3DatagramCreated": record("quarter_stream_id:uint64 ?raw:RawInfo"),
    "HTTP3DatagramParsed": record("quarter_stream_id:uint64 ?raw:RawInfo"),
    "HTTP3PushDecision": enum("claimed abandoned"),
    "HTTP3PushResolved": record("?push_id:uint64 ?stream_id:uint64 decision:HTTP3PushDecision"),
}

HTTP3_EVENTS = {
    "http3:parameters_set": EventType("HTTP3ParametersSet", BASE),
    "http3:parameters_restored": EventType("HTTP3ParametersRestored", BASE),
    "http3:stream_type_set": EventType("HTTP3StreamTypeSet", BASE),
    "http3:priority_updated": EventType("HTTP3PriorityUpdated", BASE),
    "http3:frame_created": EventType("HTTP3FrameCreated", CORE),
    "http3:frame_parsed": EventType("HTTP3FrameParsed", CORE),
    "http3:datagram_created": EventType("HTTP3DatagramCreated", BASE),
    "http3:datagram_parsed": EventType("HTTP3DatagramParsed", BASE),
    "http3:push_resolved": EventType("HTTP3PushResolved", EXTRA),
}

HTTP: dict[str, Type] = {
    "HTTPCapsule": choice(
        "capsule_type",
        "datagram=HTTPCapsuleDatagram unknown=HTTPCapsuleUnknown",
    ),
    "HTTPCapsuleDatagram": frame("datagram", "?raw:RawInfo", kind="capsule_type"),
    "HTTPCapsuleUnknown": frame("unknown", "?capsule_type_value:uint64 ?raw:RawInfo", kind="capsule_type"),
    "HTTPCapsuleCreated": record("stream_id:uint64 capsule:HTTPCapsule"),
    "HTTPCapsuleParsed": record("stream_id:uint64 capsule:HTTPCapsule"),
}

HTTP_EVENTS = {
    "http:capsule_created": EventType("HTTPCapsuleCreated", CORE),
    "http:capsule_parsed": EventType("HTTPCapsuleParsed", CORE),
}
