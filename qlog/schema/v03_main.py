"""qlog 0.3 (draft-ietf-quic-qlog-main-schema-00 to -05): the file around the events."""

from qlog.schema.notation import BASE, CORE, EXTRA, EventType, Type, alias, enum, record

_TRACE = "?title:text ?description:text ?configuration:Configuration ?common_fields:CommonFields"

FILE: dict[str, Type] = {
    "QlogVersion": enum("0.3 0.4", extensible=True),
    "QlogFormat": enum("JSON NDJSON JSON-SEQ"),
    "QlogFile": record(
        "qlog_version:QlogVersion ?qlog_format:QlogFormat ?title:text ?description:text ?summary:map"
        " ?traces:[+TraceOrError]"
    ),
    "QlogFileSeq": record(
        "qlog_version:QlogVersion ?qlog_format:QlogFormat ?title:text ?description:text ?summary:map"
        " trace:TraceSeq"
    ),
    "TraceOrError": alias("Trace/TraceError"),
    "Trace": record(f"{_TRACE} ?vantage_point:VantagePoint events:[*Event]"),
    "TraceSeq": record(f"{_TRACE} ?vantage_point:VantagePoint"),
    "TraceError": record("error_description:text ?uri:text ?vantage_point:VantagePoint"),
    "Configuration": record("?time_offset:float ?original_uris:[*text] ?time_units:text", "open"),
    "VantagePoint": record("?name:text type:VantagePointType ?flow:VantagePointFlow"),
    "VantagePointType": enum("client server network unknown"),
    "VantagePointFlow": enum("client server unknown network"),
    "TimeFormat": enum("absolute relative delta"),
    "ProtocolType": alias("text/[+text]"),
    # A group may be numbered, and the reference time be a number in a string.
    "GroupID": alias("text/uint64"),
    "ReferenceTime": alias("float/text"),
    "Event": record(
        "time:float name:text data:map ?time_format:TimeFormat ?protocol_type:ProtocolType ?group_id:GroupID",
        "open",
    ),
    "CommonFields": record(
        "?time_format:TimeFormat ?reference_time:ReferenceTime ?protocol_type:ProtocolType ?group_id:GroupID",
        "open",
    ),
}

GENERIC: dict[str, Type] = {
    "GenericError": record("?code:uint64 ?message:text ?trigger:text"),
    "GenericWarning": record("?code:uint64 ?message:text ?trigger:text"),
    "GenericMessage": record("message:text ?trigger:text"),
}

GENERIC_EVENTS = {
    "generic:error": EventType("GenericError", CORE),
    "generic:warning": EventType("GenericWarning", BASE),
    "generic:info": EventType("GenericMessage", EXTRA),
    "generic:debug": EventType("GenericMessage", EXTRA),
    "generic:verbose": EventType("GenericMessage", EXTRA),
}
