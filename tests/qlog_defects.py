"""Defects, each made in a valid trace: by id of the check that is to find it, and nothing else is."""

from collections.abc import Callable

from qlog_breaks import (
    Break,
    amplified,
    both,
    common,
    event,
    event_schemas,
    first_initial,
    flight,
    headers,
    http,
    idle,
    key_update_without_ack,
    late_ack,
    loss,
    metrics,
    move,
    mtu_probe,
    on_event,
    parameters,
    probes,
    received,
    reductions,
    sent,
    short_initial,
    spare,
    swap_first,
    time_format,
    vantage_point,
    without_handshake,
)
from qlog_traces import DONE, PING, Story, ack, client, fields, frame, new_cid, server, stream

REQUEST = {":method": "GET", ":scheme": "https", ":path": "/"}
SETTINGS = [{"name": "settings_h3_datagram", "value": 1}]
STOP = frame("stop_sending", stream_id=14, error="http_no_error")

# check -> what is told of the place: a part of the message, and the breaks.
CLIENT: dict[str, list[tuple[str, Break]]] = {
    "T01": [("before the event before", swap_first)],
    "T02": [
        ("monotonic", common(reference_time={"clock_type": "monotonic", "epoch": "2026-01-01T00:00:00Z"}))
    ],
    "T03": [
        ("group_id is 'x'", on_event(3, group_id="x")),
        # One packet of the story has another.
        ("tuple", common(tuple="a")),
    ],
    "T04": [("after the event before", time_format)],
    "T05": [
        ("kept for the RFC", event_schemas("quic", "http3-13")),
        ("does not name http3", event_schemas("quic-14")),
    ],
    "T06": [("without flow", vantage_point(type="network"))],
    "T07": [
        (
            "not in client_versions",
            lambda story: story.find("quic:version_information").update(chosen_version="6b3343cf"),
        ),
        (
            "a packet of version",
            lambda story: story.packet("handshake", 0)["header"].update(version="6b3343cf"),
        ),
    ],
    "T08": [
        (
            "h2 was chosen",
            lambda story: story.find("quic:alpn_information").update(chosen_alpn={"string_value": "h2"}),
        )
    ],
    "T09": [
        ("ack_delay_exponent is 21", parameters("remote", ack_delay_exponent=21)),
        ("max_udp_payload_size is 1199", parameters("local", max_udp_payload_size=1199)),
        ("a client must not", parameters("local", stateless_reset_token="00112233445566778899aabbccddeeff")),
    ],
    "T10": [
        (
            "was 200000",
            both(
                parameters("remote", early_data_enabled=True),
                event("quic:parameters_restored", 0.8, initial_max_data=200_000),
            ),
        )
    ],
    "T11": [("2 packet numbers", event("quic:frames_created", frames=[PING], packet_numbers=[1, 2]))],
    "T12": [
        ("payload_length is 200", lambda story: story.packet("1RTT", 11)["raw"].update(payload_length=200)),
        ("3 bytes of data", event("quic:stream_data_moved", raw={"length": 2, "data": "010203"})),
    ],
    "T13": [("attempted after", event("quic:connection_state_updated", new="attempted"))],
    "T14": [
        (
            "in the CONNECTION_CLOSE 0x100",
            lambda story: story.find("quic:connection_closed").update(
                application_error="http_internal_error"
            ),
        )
    ],
    "T15": [
        ("no key_phase", first_initial(key_phase=1)),
        ("no supported_versions", sent(PING, supported_versions=["00000001"])),
    ],
    "T16": [
        ("without error_code", lambda story: story.packet("1RTT", 13)["frames"][0].update(error="unknown")),
        ("beside http_no_error", lambda story: story.find("quic:connection_closed").update(error_code=256)),
    ],
    "T17": [
        (
            "was True before",
            both(event("quic:spin_bit_updated", state=True), event("quic:spin_bit_updated", state=True)),
        )
    ],
    "T18": [("has not sent anything", event("quic:parameters_set", 0.8, initiator="remote"))],
    "P01": [("was sent before", sent(PING, number=13)), ("comes after", sent(PING, number=21, time=399.0))],
    "P02": [("was received before", received(PING, number=8))],
    "P03": [("is no packet number", received(PING, number=1 << 62))],
    "P04": [("acknowledges application_data packet 14", received(ack([14])))],
    "P05": [("acknowledges application_data packets 9 to 11", sent(ack([0, 11])))],
    "P06": [("a range from 3 to 2", sent(ack([3, 2]))), ("2 is in two ranges", sent(ack([0, 2], [2, 3])))],
    "P07": [
        (
            "initial packets carry no stream",
            lambda story: story.packet("initial", 0)["frames"].append(stream(0, 0, 1)),
        ),
    ],
    "P08": [("must not send handshake_done", sent(DONE))],
    "P09": [("1100 bytes", short_initial)],
    "P10": [("0-RTT after 1-RTT", lambda story: story.sent(300.5, "0RTT", 14, PING))],
    "P11": [("had to be discarded", lambda story: story.sent(300.5, "initial", 2, PING, length=1200))],
    "P12": [("was confirmed", lambda story: story.sent(300.5, "handshake", 1, PING))],
    "P13": [("1-RTT sent before", without_handshake)],
    "P14": [("no packet of key phase 1", key_update_without_ack)],
    "P15": [("key phase 3, after 1", received(PING, header={"key_phase": 3}))],
    "P16": [("has no frames", sent())],
    "P17": [("sent after CONNECTION_CLOSE", sent(PING, time=420.5, number=21))],
    "P18": [
        (
            "an Initial after Retry has no token",
            lambda story: story.add(
                1.15,
                "quic:packet_received",
                header={"packet_type": "retry", "scid": "5e5e", "token": {"raw": {"length": 8}}},
            ),
        )
    ],
    "P19": [
        (
            "after other packets",
            lambda story: story.add(
                300.5,
                "quic:packet_received",
                header={"packet_type": "version_negotiation"},
                supported_versions=["00000001"],
            ),
        )
    ],
    "P20": [
        ("has 21 bytes", lambda story: story.packet("handshake", 0)["header"].update(dcid="ab" * 21)),
        ("scil is 5", first_initial(scil=5)),
    ],
    "P21": [
        ("initial_source_connection_id", parameters("remote", initial_source_connection_id="")),
        ("original_destination_connection_id", parameters("remote", original_destination_connection_id="ff")),
    ],
    "P22": [("1500 bytes, the peer takes 1452", event("quic:udp_datagrams_sent", raw=[{"length": 1500}]))],
    "P24": [
        ("retire_prior_to is 3", sent(new_cid(2, "c1000002", 3))),
        ("and was c1000001", sent(new_cid(1, "c1000009"))),
        ("5 active", sent(*(new_cid(2 + index, f"c100000{2 + index}") for index in range(3)))),
    ],
    "P25": [("7 was never issued", sent(frame("retire_connection_id", sequence_number=7)))],
    "P26": [("no challenge had", received(frame("path_response", data="ffffffffffffffff")))],
    "P27": [("the timeout is 1000 ms", idle)],
    "P28": [
        (
            "60 datagrams were received",
            event("quic:udp_datagrams_received", count=60, raw=[{"length": 1200}] * 60),
        )
    ],
    "F01": [("bytes 10 to 19 of stream 12", sent(stream(12, 0, 10), stream(12, 20, 10, fin=True)))],
    "F02": [
        ("was 10 and is 20", sent(frame("reset_stream", stream_id=8, error="http_no_error", final_size=20))),
        ("which ended at 1500", received(stream(0, 1500, 10))),
        ("data went up to 30", sent(stream(12, 20, 10), stream(12, 0, 20, fin=True))),
    ],
    "F03": [("max_data is 6125", parameters("remote", initial_max_data=6125))],
    "F04": [("its limit is 5500", parameters("remote", initial_max_stream_data_bidi_remote=5500))],
    "F05": [("max_streams is 0", parameters("local", initial_max_streams_uni=0))],
    "F06": [("max_data of 120000 after 150000", sent(frame("max_data", maximum=120_000)))],
    "F07": [
        ("receive-only to the client", sent(stream(3, 0, 10))),
        ("stop_sending on stream 14", sent(STOP)),
    ],
    "F08": [("after its reset", sent(frame("stream_data_blocked", stream_id=8, limit=10)))],
    "F09": [("the limit is 100000", sent(frame("data_blocked", limit=200_000)))],
    "F10": [
        (
            "bytes 300 to 399 of initial",
            lambda story: story.packet("initial", 0)["frames"].append(frame("crypto", offset=400, length=10)),
        )
    ],
    "F11": [
        (
            "offset 1600",
            event(
                "quic:stream_data_moved",
                300.5,
                stream_id=0,
                offset=1600,
                **{"from": "transport", "to": "application"},
                raw={"length": 10},
            ),
        )
    ],
    "F12": [("the limit is 1200", sent(frame("datagram", length=1200)))],
    "F13": [
        (
            "sent again from 50",
            lambda story: story.packet("1RTT", 2)["frames"].append(stream(0, 50, 50, fin=True)),
        )
    ],
    "R01": [
        ("was never sent", loss(15)),
        ("was acknowledged before", loss(13)),
        ("a second time", loss(4)),
        ("only ACK frames", both(sent(ack([0, 8])), loss(14, time=310.0))),
    ],
    "R02": [
        ("the largest acknowledged is 15", both(spare, loss(14, "reordering_threshold"))),
        ("22.500 are needed", both(spare, loss(14, "time_threshold"))),
    ],
    "R03": [("add up to 6000", flight(1000, told=7000))],
    "R04": [("window was at most 6000", flight(1450, told=8700))],
    "R05": [("its minimum 2400", metrics(congestion_window=2000))],
    "R06": [
        (
            "12000 are recommended",
            both(
                lambda story: story.find("quic:recovery_parameters_set").update(
                    initial_congestion_window=38_400
                ),
                lambda story: story.find("quic:recovery_metrics_updated").update(congestion_window=38_400),
            ),
        )
    ],
    "R07": [("cut again", reductions)],
    "R08": [("smoothed_rtt is 90", metrics(latest_rtt=30.0, smoothed_rtt=90.0))],
    "R09": [("the packets tell 20", metrics(270.5, latest_rtt=80.0, smoothed_rtt=27.5))],
    "R10": [("min_rtt is 20", metrics(latest_rtt=15.0, smoothed_rtt=20.0))],
    "R11": [("max_ack_delay 25", late_ack)],
    "R12": [("from where the metrics", lambda story: story.find("quic:timer_updated").update(delta=170.0))],
    "R13": [
        ("from 0 to 2", metrics(pto_count=2)),
        ("from 2 to 1", both(*(metrics(290.0 + n, pto_count=c) for n, c in enumerate((1, 2, 1))))),
    ],
    "R14": [("3 probes", probes)],
    "R15": [
        ("was acknowledged before", event("quic:packets_acked", packet_numbers=[8])),
        ("was never sent", event("quic:packets_acked", packet_numbers=[17])),
    ],
    "R16": [
        (
            "the window is 6000",
            event("quic:congestion_state_updated", new="recovery", trigger="persistent_congestion"),
        )
    ],
    "R17": [("packet 4 was lost", received(ack([0, 13])))],
    "R18": [
        (
            "while application_limited",
            both(
                event("quic:congestion_state_updated", 290.0, new="application_limited"),
                metrics(congestion_window=7000),
            ),
        )
    ],
    "R19": [
        (
            "ect0 falls",
            both(
                received(ack([10], ect0=5), time=290.0),
                sent(PING, time=300.0),
                received(ack([14], ect0=4), time=310.0, number=10),
            ),
        ),
        ("packets were counted", received(ack([10]) | {"ect0": 100, "acked_ranges": [[10, 11]]})),
    ],
    "R20": [("with the loss of an MTU probe", mtu_probe)],
    "R21": [
        (
            "initial_congestion_window 11000",
            lambda story: story.find("quic:recovery_parameters_set").update(initial_congestion_window=11_000),
        )
    ],
    "H01": [
        ("SETTINGS again", http("settings", stream_id=2, settings=SETTINGS)),
        ("before SETTINGS", http("goaway", stream_id=3, what="parsed", time=41.5, id=0)),
    ],
    "H02": [
        ("on the request stream", http("goaway", stream_id=0, id=0)),
        ("on the control stream", http("data", stream_id=2)),
    ],
    "H03": [
        ("DATA before HEADERS", http("data")),
        ("after the trailers", both(headers(REQUEST), headers({"x": "y"}), http("data"))),
    ],
    "H04": [
        (":path is missing", headers({":method": "GET", ":scheme": "https"})),
        ("not in lower case", headers(REQUEST | {"Accept": "*"})),
        (":path after accept", headers({":method": "GET", ":scheme": "https", "accept": "*", ":path": "/"})),
        (":status in trailers", both(headers(REQUEST), headers({":status": "200"}))),
        (":status is missing", headers({"x": "y"}, what="parsed")),
    ],
    "H05": [
        (
            "setting 4 is HTTP/2's",
            lambda story: story.find("http3:frame_created")["frame"]["settings"].append(
                {"name_bytes": 4, "value": 1}
            ),
        ),
        (
            "stands twice",
            lambda story: story.find("http3:frame_created")["frame"]["settings"].extend(SETTINGS),
        ),
        ("frame type 6", http("reserved", stream_id=2, frame_type_bytes=6)),
    ],
    "H06": [
        ("GOAWAY of 8 after 4", both(*(http("goaway", stream_id=3, what="parsed", id=n) for n in (4, 8)))),
        ("no request stream", http("goaway", stream_id=3, what="parsed", id=5)),
    ],
    "H07": [("a second control", event("http3:stream_type_set", stream_id=6, stream_type="control"))],
    "H08": [("FIN on the control stream", sent(stream(2, 20, 0, fin=True)))],
    "H09": [
        (
            "content-length is 1400",
            lambda story: story.find("http3:frame_parsed", 1)["frame"]["headers"][1].update(value="1400"),
        ),
        (
            "0 bytes on stream 12",
            both(headers(REQUEST | {"content-length": "5"}, time=290.0), sent(stream(12, 0, 50, fin=True))),
        ),
    ],
    "H10": [
        ("MAX_PUSH_ID of 3 after 5", both(*(http("max_push_id", stream_id=2, push_id=n) for n in (5, 3)))),
        (
            "allowed are none",
            http("push_promise", what="parsed", stream_id=0, push_id=0, headers=fields(REQUEST)),
        ),
    ],
    "H11": [
        (
            "is not the client's",
            event("http3:stream_type_set", initiator="local", stream_id=7, stream_type="qpack_encode"),
        )
    ],
    "H12": [
        (
            "h3_datagram is 0 (remote)",
            lambda story: (
                story.find("http3:parameters_set", 1).update(h3_datagram=0),
                story.find("http3:frame_parsed")["frame"]["settings"][0].update(value=0),
            ),
        )
    ],
    "H13": [
        (
            "a server sends no PRIORITY_UPDATE",
            http("priority_update", stream_id=3, what="parsed", priority_field_value="u=1"),
        )
    ],
    "H14": [
        (
            "in SETTINGS 100",
            both(
                lambda story: story.find("http3:parameters_set").update(max_table_capacity=50),
                lambda story: story.find("http3:frame_created")["frame"]["settings"].append(
                    {"name": "settings_qpack_max_table_capacity", "value": 100}
                ),
            ),
        )
    ],
}

SERVER: dict[str, list[tuple[str, Break]]] = {
    "T10": [("a server restores", event("quic:parameters_restored", 1300.5, initial_max_data=1))],
    "P08": [
        (
            "must not send new_token",
            lambda story: story.received(1300.5, "1RTT", 14, frame("new_token", token={})),
        )
    ],
    "P10": [("a server sends no 0-RTT", lambda story: story.sent(1300.5, "0RTT", 9, PING))],
    "P13": [("1-RTT processed before", lambda story: move(story, 1031.3, 1060.0, "handshake"))],
    "P19": [
        (
            "after other packets",
            lambda story: story.add(
                1300.5, "quic:packet_sent", header={"packet_type": "version_negotiation"}
            ),
        )
    ],
    "P23": [("1200 received", amplified)],
    "H10": [
        (
            "a server sends no MAX_PUSH_ID",
            both(
                http("settings", stream_id=3, time=1300.4, settings=SETTINGS),
                http("max_push_id", stream_id=3, time=1300.5, push_id=1),
            ),
        )
    ],
}

STORIES: list[tuple[Callable[[], Story], dict[str, list[tuple[str, Break]]]]] = [
    (client, CLIENT),
    (server, SERVER),
]
