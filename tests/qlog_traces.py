"""A connection that keeps every rule, as its client and its server would log it."""

import copy
from typing import Any

from qlog_samples import HEADER

ODCID, CLIENT_CID, SERVER_CID = "0011223344556677", "c1c1c1c1", "5e5e5e5e"

_LIMITS = {
    "max_idle_timeout": 30000,
    "max_udp_payload_size": 1452,
    "ack_delay_exponent": 3,
    "max_ack_delay": 25,
    "active_connection_id_limit": 4,
    "initial_max_data": 100_000,
    "initial_max_stream_data_bidi_local": 20_000,
    "initial_max_stream_data_bidi_remote": 20_000,
    "initial_max_stream_data_uni": 20_000,
    "initial_max_streams_bidi": 10,
    "initial_max_streams_uni": 10,
    "max_datagram_frame_size": 1200,
}


class Story:
    """The events of one trace, kept in the order of their times."""

    def __init__(self, role: str) -> None:
        self.header: dict[str, Any] = copy.deepcopy(HEADER)
        self.header["trace"]["vantage_point"] = {"type": role}
        self.header["trace"]["event_schemas"].append("urn:ietf:params:qlog:events:loglevel")
        self.events: list[dict[str, Any]] = []

    def add(self, time: float, name: str, **data: Any) -> dict[str, Any]:
        """Put an event behind those of the same time; its data, to be changed."""
        event = {"time": time, "name": name, "data": data}
        at = sum(other["time"] <= time for other in self.events)
        self.events.insert(at, event)
        return data

    def sent(
        self, time: float, kind: str, number: int, *frames: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        """A packet_sent. `length` is 100 unless given, `header` is added to the packet's header."""
        return self._packet("quic:packet_sent", time, kind, number, frames, more)

    def received(
        self, time: float, kind: str, number: int, *frames: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        """A packet_received."""
        return self._packet("quic:packet_received", time, kind, number, frames, more)

    def _packet(
        self,
        name: str,
        time: float,
        kind: str,
        number: int,
        frames: tuple[dict[str, Any], ...],
        more: dict[str, Any],
    ) -> dict[str, Any]:
        header = {"packet_type": kind, "packet_number": number, **more.pop("header", {})}
        raw = {"length": more.pop("length", 100)}
        return self.add(time, name, header=header, raw=raw, frames=[dict(frame) for frame in frames], **more)

    def metrics(self, time: float, **values: float) -> dict[str, Any]:
        """A recovery_metrics_updated."""
        return self.add(time, "quic:recovery_metrics_updated", **values)

    def http(self, time: float, what: str, stream_id: int, kind: str, **more: Any) -> dict[str, Any]:
        """An http3:frame_created or frame_parsed."""
        return self.add(time, f"http3:frame_{what}", stream_id=stream_id, frame={"frame_type": kind, **more})

    def find(self, name: str, which: int = 0, **fields: Any) -> dict[str, Any]:
        """The data of an event with these fields, for packets those of the header."""
        found: list[dict[str, Any]] = [
            event["data"]
            for event in self.events
            if event["name"] == name
            and fields.items() <= {**event["data"], **event["data"].get("header", {})}.items()
        ]
        return found[which]

    def packet(self, kind: str, number: int, *, sent: bool = True) -> dict[str, Any]:
        """The data of a packet."""
        name = "quic:packet_sent" if sent else "quic:packet_received"
        return self.find(name, packet_type=kind, packet_number=number)

    def drop(self, *names: str) -> None:
        """Take out all events of these names."""
        self.events = [event for event in self.events if event["name"] not in names]


def frame(frame_type: str, **fields: Any) -> dict[str, Any]:
    """A frame; `length` is that of its data."""
    if "length" in fields:
        fields["raw"] = {"length": fields.pop("length")}
    return {"frame_type": frame_type, **fields}


def ack(*ranges: list[int], **fields: Any) -> dict[str, Any]:
    """An ACK frame."""
    return {"frame_type": "ack", "ack_delay": 0.1, "acked_ranges": list(ranges), **fields}


def stream(stream_id: int, offset: int, length: int, *, fin: bool = False) -> dict[str, Any]:
    """A STREAM frame."""
    return frame("stream", stream_id=stream_id, offset=offset, length=length, fin=fin)


def new_cid(sequence: int, cid: str, retire_prior_to: int = 0) -> dict[str, Any]:
    """A NEW_CONNECTION_ID frame."""
    return frame(
        "new_connection_id", sequence_number=sequence, retire_prior_to=retire_prior_to, connection_id=cid
    )


PING = frame("ping")
PADDING = frame("padding")
DONE = frame("handshake_done")
CLOSE = frame("connection_close", error_space="application", error="http_no_error")


def client() -> Story:
    """What the client logs: handshake, a request, an upload with a loss, a key update, a reset, the end."""
    story = Story("client")
    _handshake(story)
    _requests(story)
    _upload(story)
    _end(story)
    _http3(story)
    return story


def server() -> Story:
    """What the server of that connection logs, with a clock that is 1000 ms ahead; each way takes 10 ms."""
    story = Story("server")
    sides = {"local": "remote", "remote": "local"}
    for event in client().events:
        data = copy.deepcopy(event["data"])
        match event["name"]:
            case "quic:packet_sent":
                if data["header"]["packet_type"] != "1RTT" or data["header"]["packet_number"] != 4:
                    data.pop("trigger", None)
                    story.add(event["time"] + 1010, "quic:packet_received", **data)
            case "quic:packet_received":
                story.add(event["time"] + 990, "quic:packet_sent", **data)
            case "quic:parameters_set":
                data["initiator"] = sides[data["initiator"]]
                story.add(1011.1 if data["initiator"] == "remote" else 1011.05, event["name"], **data)
            case _:
                pass
    # What comes and what goes at the same time: it comes first.
    story.events.sort(key=lambda event: (event["time"], event["name"] == "quic:packet_sent"))
    return story


def _handshake(story: Story) -> None:
    first, later = {"dcid": ODCID, "scid": CLIENT_CID}, {"dcid": SERVER_CID, "scid": CLIENT_CID}
    back = {"dcid": CLIENT_CID, "scid": SERVER_CID}
    version = {"version": "00000001"}
    story.add(0.5, "quic:connection_state_updated", new="attempted")
    story.add(
        0.5,
        "quic:recovery_parameters_set",
        reordering_threshold=3,
        time_threshold=1.125,
        timer_granularity=1,
        max_datagram_size=1200,
        initial_congestion_window=12_000,
        minimum_congestion_window=2400,
    )
    story.add(0.6, "quic:version_information", client_versions=["00000001"], chosen_version="00000001")
    local = {**_LIMITS, "initial_source_connection_id": CLIENT_CID}
    story.add(0.7, "quic:parameters_set", initiator="local", **local)
    crypto = frame("crypto", offset=0, length=300)
    story.sent(1.1, "initial", 0, crypto, PADDING, length=1200, header=first | version)
    story.metrics(1.2, congestion_window=12_000, bytes_in_flight=1200)
    story.add(1.3, "quic:connection_state_updated", new="handshake_started")
    reply = (ack([0, 0]), frame("crypto", offset=0, length=90))
    story.received(21.1, "initial", 0, *reply, PADDING, length=1200, header=back | version)
    story.received(
        21.1, "handshake", 0, frame("crypto", offset=0, length=800), length=900, header=back | version
    )
    story.metrics(
        21.1, min_rtt=20.0, smoothed_rtt=20.0, latest_rtt=20.0, rtt_variance=10.0, bytes_in_flight=0
    )
    story.add(
        21.2,
        "quic:alpn_information",
        client_alpns=[{"string_value": "h3"}],
        chosen_alpn={"string_value": "h3"},
    )
    remote = {
        **_LIMITS,
        "initial_source_connection_id": SERVER_CID,
        "original_destination_connection_id": ODCID,
    }
    story.add(21.2, "quic:parameters_set", initiator="remote", early_data_enabled=False, **remote)
    story.sent(21.3, "initial", 1, ack([0, 0]), PADDING, length=1200, header=later | version)
    finished = frame("crypto", offset=0, length=60)
    story.sent(21.3, "handshake", 0, ack([0, 0]), finished, header=later | version)
    story.add(21.3, "quic:connection_state_updated", new="handshake_complete")


def _requests(story: Story) -> None:
    story.sent(21.4, "1RTT", 0, stream(2, 0, 20), stream(0, 0, 100, fin=True), header={"key_phase": 0})
    tickets = frame("crypto", offset=0, length=200)
    issued = new_cid(1, "5e000001")
    story.received(
        41.4, "1RTT", 0, DONE, ack([0]), tickets, issued, stream(3, 0, 20), header={"key_phase": 0}
    )
    story.metrics(41.4, bytes_in_flight=0)
    story.add(41.4, "quic:connection_state_updated", new="handshake_confirmed")
    story.sent(41.5, "1RTT", 1, ack([0]), header={"key_phase": 0})
    story.received(60.0, "1RTT", 1, stream(0, 0, 1000), length=1030, header={"key_phase": 0})
    story.received(60.4, "1RTT", 2, stream(0, 1000, 500, fin=True), length=530, header={"key_phase": 0})
    story.add(
        60.5,
        "quic:stream_data_moved",
        stream_id=0,
        offset=0,
        **{"from": "transport", "to": "application"},
        raw={"length": 1500},
    )
    issued = new_cid(1, "c1000001")
    frames = (ack([0, 2]), issued, frame("max_data", maximum=150_000))
    story.sent(61.2, "1RTT", 2, *frames, header={"key_phase": 0})
    story.received(81.2, "1RTT", 3, ack([0, 2]), header={"key_phase": 0})
    story.metrics(81.2, latest_rtt=20.0, bytes_in_flight=0, pto_count=0)


def _upload(story: Story) -> None:
    for index in range(6):
        data = stream(4, 1000 * index, 1000, fin=index == 5)
        story.sent(100.25, "1RTT", 3 + index, data, length=1030, header={"key_phase": 0})
    story.metrics(100.25, bytes_in_flight=6180)
    story.add(
        100.25,
        "quic:timer_updated",
        timer_type="pto",
        event_type="set",
        packet_number_space="application_data",
        delta=85.0,
    )
    story.received(120.25, "1RTT", 4, ack([0, 3], [5, 8]), header={"key_phase": 0})
    story.add(120.25, "quic:packets_acked", packet_numbers=[3, 5, 6, 7, 8])
    lost = {"packet_type": "1RTT", "packet_number": 4}
    story.add(120.3, "quic:packet_lost", header=lost, trigger="reordering_threshold")
    story.add(120.3, "quic:congestion_state_updated", old="slow_start", new="recovery")
    story.metrics(120.3, congestion_window=6000, bytes_in_flight=0)
    again = stream(4, 1000, 1000)
    story.sent(121.5, "1RTT", 9, again, length=1030, header={"key_phase": 0}, trigger="retransmit_reordered")
    story.received(141.5, "1RTT", 5, ack([0, 3], [5, 9]), header={"key_phase": 0})
    story.metrics(141.5, bytes_in_flight=0)


def _end(story: Story) -> None:
    challenge = frame("path_challenge", data="0102030405060708")
    datagram = frame("datagram", length=100)
    story.sent(160.5, "1RTT", 10, challenge, datagram, length=1200, header={"key_phase": 0})
    story.events[-1]["tuple"] = "1"
    answer = frame("path_response", data="0102030405060708")
    story.received(180.5, "1RTT", 6, ack([0, 3], [5, 10]), answer, length=1200, header={"key_phase": 0})
    story.add(200.5, "quic:key_updated", key_type="client_1rtt_secret", key_phase=1, trigger="local_update")
    story.sent(200.5, "1RTT", 11, PING, header={"key_phase": 1})
    story.received(220.5, "1RTT", 7, ack([0, 3], [5, 11]), header={"key_phase": 1})
    story.sent(240.5, "1RTT", 12, stream(8, 0, 10), header={"key_phase": 1})
    reset = frame("reset_stream", stream_id=8, error="http_request_cancelled", final_size=10)
    story.sent(250.5, "1RTT", 13, reset, header={"key_phase": 1})
    story.received(270.5, "1RTT", 8, ack([0, 3], [5, 13]), header={"key_phase": 1})
    story.metrics(270.5, bytes_in_flight=0)
    story.sent(400.5, "1RTT", 20, CLOSE, header={"key_phase": 1})
    story.add(
        400.5,
        "quic:connection_closed",
        initiator="local",
        application_error="http_no_error",
        trigger="application",
    )
    story.add(400.6, "quic:connection_state_updated", new="closed")


def _http3(story: Story) -> None:
    for side, stream_id, name in (("local", 2, "created"), ("remote", 3, "parsed")):
        time = 21.35 if side == "local" else 41.6
        story.add(time, "http3:parameters_set", initiator=side, h3_datagram=1)
        story.add(time, "http3:stream_type_set", initiator=side, stream_id=stream_id, stream_type="control")
        story.http(time, name, stream_id, "settings", settings=[{"name": "settings_h3_datagram", "value": 1}])
    request = {":method": "GET", ":scheme": "https", ":authority": "x", ":path": "/"}
    story.http(21.36, "created", 0, "headers", headers=fields(request))
    response = {":status": "200", "content-length": "1480"}
    story.http(60.6, "parsed", 0, "headers", headers=fields(response))
    story.http(60.6, "parsed", 0, "data", raw={"payload_length": 1480})
    story.add(160.4, "http3:datagram_created", quarter_stream_id=0)


def fields(values: dict[str, str]) -> list[dict[str, str]]:
    """The fields of a HEADERS frame."""
    return [{"name": name, "value": value} for name, value in values.items()]
