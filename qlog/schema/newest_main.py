"""The main schema, editors' copy of July 2026 (after draft-ietf-quic-qlog-main-schema-14)."""

from qlog.schema.notation import (
    BASE,
    CORE,
    EXTRA,
    EventType,
    Type,
    alias,
    enum,
    media_type,
    pattern,
    record,
)

_DATE = r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)"

SHARED: dict[str, Type] = {
    "RawInfo": record("?length:uint64 ?payload_length:uint64 ?data:hexstring", "closed"),
}

FILE: dict[str, Type] = {
    "SchemaURI": enum(
        "urn:ietf:params:qlog:file:contained urn:ietf:params:qlog:file:sequential", extensible=True
    ),
    # The media types of "Serializing qlog"; media types know no case.
    # The media types of "Serializing qlog"
    "SerializationFormat": pattern(f"{media_type('application/qlog+json')}(?:{media_type('-seq')})?"),
    "QlogFile": record(
        "file_schema:SchemaURI serialization_format:SerializationFormat ?title:text ?description:text"
        " ?traces:[+TraceOrError] !event_schemas=traces/*/event_schemas@main-11"
        " !qlog_version=file_schema !qlog_format=serialization_format",
        "closed",
    ),
    "QlogFileSeq": record(
        "file_schema:SchemaURI serialization_format:SerializationFormat ?title:text ?description:text"
        " trace:TraceSeq !event_schemas=trace/event_schemas@main-11 !qlog_version=file_schema"
        " !qlog_format=serialization_format",
        "closed",
    ),
    "TraceOrError": alias("Trace/TraceError"),
    "Trace": record(
        "?title:text ?description:text ?common_fields:CommonFields ?vantage_point:VantagePoint"
        " event_schemas:[+text]@main-11 events:[*Event]",
        "closed",
    ),
    "TraceError": record("error_description:text ?uri:text ?vantage_point:VantagePoint", "closed"),
    "TraceSeq": record(
        "?title:text ?description:text ?common_fields:CommonFields ?vantage_point:VantagePoint"
        " event_schemas:[+text]@main-11",
        "closed",
    ),
    "VantagePoint": record("?name:text type:VantagePointType ?flow:VantagePointFlow", "closed"),
    "VantagePointType": enum("client server network unknown"),
    "VantagePointFlow": enum("client server unknown"),
    "Event": record(
        "time:float name:EventName data:map ?tuple:TupleID ?time_format:TimeFormat ?group_id:GroupID"
        " ?system_info:SystemInformation !path=tuple@main-13 !protocol_type=@main-12"
        " !protocol_types=@main-12",
        "open",
    ),
    # "Concrete Event Types": the namespace, a colon, the event's type
    "EventName": pattern("[^:]+:.+"),
    "ReferenceTime": record("clock_type:text epoch:Epoch ?wall_clock_time:RFC3339DateTime", "closed"),
    "RFC3339DateTime": pattern(_DATE),
    "Epoch": pattern(f"unknown|{_DATE}"),
    "TimeFormat": enum("relative_to_epoch relative_to_previous_event"),
    "TupleID": alias("text"),
    "GroupID": alias("text"),
    "SystemInformation": record("?processor_id:uint32 ?process_id:uint32 ?thread_id:uint32", "closed"),
    "CommonFields": record(
        "?tuple:TupleID ?time_format:TimeFormat ?reference_time:ReferenceTime ?group_id:GroupID"
        " !path=tuple@main-13 !protocol_type=@main-12 !protocol_types=@main-12",
        "open",
    ),
}

LOGLEVEL: dict[str, Type] = {
    "LogLevelError": record("?code:uint64 ?message:text"),
    "LogLevelWarning": record("?code:uint64 ?message:text"),
    "LogLevelInfo": record("message:text"),
    "LogLevelDebug": record("message:text"),
    "LogLevelVerbose": record("message:text"),
}

LOGLEVEL_EVENTS = {
    "loglevel:error": EventType("LogLevelError", CORE),
    "loglevel:warning": EventType("LogLevelWarning", BASE),
    "loglevel:info": EventType("LogLevelInfo", EXTRA),
    "loglevel:debug": EventType("LogLevelDebug", EXTRA),
    "loglevel:verbose": EventType("LogLevelVerbose", EXTRA),
}

SIMULATION: dict[str, Type] = {
    "SimulationScenario": record("?name:text ?details:map"),
    "SimulationMarker": record("?type:text ?message:text"),
}

SIMULATION_EVENTS = {
    "simulation:scenario": EventType("SimulationScenario", EXTRA),
    "simulation:marker": EventType("SimulationMarker", EXTRA),
}
