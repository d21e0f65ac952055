"""Ways to break a valid trace in one place."""

from collections.abc import Callable

from qlog_traces import (
    PADDING,
    PING,
    Story,
    ack,
    fields,
    frame,
)

Break = Callable[[Story], object]

KEYS = {"header": {"key_phase": 1}}
VERSION = {"version": "00000001"}


def sent(*frames: object, time: float = 300.5, number: int = 14, **more: object) -> Break:
    """One more packet of the client, at a time when all is quiet."""
    return lambda story: story.sent(time, "1RTT", number, *frames, **{**KEYS, **more})  # type: ignore[arg-type]


def received(*frames: object, time: float = 300.5, number: int = 9, **more: object) -> Break:
    """One more packet of the server."""
    return lambda story: story.received(time, "1RTT", number, *frames, **{**KEYS, **more})  # type: ignore[arg-type]


def metrics(time: float = 300.5, **values: float) -> Break:
    return lambda story: story.metrics(time, **values)


def event(name: str, time: float = 300.5, **data: object) -> Break:
    return lambda story: story.add(time, name, **data)


def http(
    kind: str, *, what: str = "created", stream_id: int = 12, time: float = 300.5, **more: object
) -> Break:
    return lambda story: story.http(time, what, stream_id, kind, **more)


def both(*breaks: Break) -> Break:
    """Several steps."""
    return lambda story: [one(story) for one in breaks]


def parameters(side: str, **values: object) -> Break:
    return lambda story: story.find("quic:parameters_set", initiator=side).update(values)


def common(**values: object) -> Break:
    return lambda story: story.header["trace"]["common_fields"].update(values)


def first_initial(**header: object) -> Break:
    return lambda story: story.packet("initial", 0)["header"].update(header)


def time_format(story: Story) -> None:
    """Make all times deltas, one of them negative."""
    story.header["trace"]["common_fields"]["time_format"] = "relative_to_previous_event"
    last = 0.0
    for one in story.events:
        one["time"], last = one["time"] - last, one["time"]
    at = next(index for index, one in enumerate(story.events) if one["time"] > 20)
    story.events[at]["time"] = -1.0


def vantage_point(**values: object) -> Break:
    def change(story: Story) -> None:
        story.header["trace"]["vantage_point"] = values

    return change


def swap_first(story: Story) -> None:
    story.events[0]["time"] = 0.6


def on_event(index: int, **values: object) -> Break:
    return lambda story: story.events[index].update(values)


def event_schemas(*uris: str) -> Break:
    def change(story: Story) -> None:
        story.header["trace"]["event_schemas"] = [f"urn:ietf:params:qlog:events:{uri}" for uri in uris]

    return change


def move(story: Story, old: float, new: float, kind: str) -> None:
    """Let packets of a type happen at another time."""
    for one in story.events:
        if one["time"] == old and one["data"].get("header", {}).get("packet_type") == kind:
            one["time"] = new
    story.events.sort(key=lambda one: one["time"])


def without_handshake(story: Story) -> None:
    """A client that has received no Handshake packet when it sends 1-RTT."""
    story.packet("handshake", 0)["frames"].pop(0)
    move(story, 21.1, 40.0, "handshake")
    story.events.sort(key=lambda one: one["time"])


def key_update_without_ack(story: Story) -> None:
    story.packet("1RTT", 12)["header"]["key_phase"] = 2
    for number in (13, 20):
        story.packet("1RTT", number)["header"]["key_phase"] = 2
    story.packet("1RTT", 7, sent=False)["frames"] = [ack([0, 3], [5, 10])]
    story.packet("1RTT", 8, sent=False)["header"]["key_phase"] = 1


def amplified(story: Story) -> None:
    """A server's Handshake flight that is too long."""
    for index in range(2):
        data = frame("crypto", offset=800 + 1000 * index, length=1000)
        story.sent(1011.1, "handshake", 1 + index, data, length=1100)
    story.events.sort(key=lambda one: (one["time"], one["name"] == "quic:packet_sent"))


def flight(size: int, *, told: int) -> Break:
    """Six packets of a size in flight."""

    def change(story: Story) -> None:
        for index in range(6):
            data = frame("datagram", length=1000)
            story.sent(300.5, "1RTT", 14 + index, data, length=size, **KEYS)
        story.metrics(300.5, bytes_in_flight=told)

    return change


def reductions(story: Story) -> None:
    story.metrics(290.0, congestion_window=60_000)
    story.metrics(300.0, congestion_window=30_000)
    story.metrics(304.0, congestion_window=15_000)


def short_initial(story: Story) -> None:
    story.packet("initial", 0)["raw"]["length"] = 1100
    story.find("quic:recovery_metrics_updated")["bytes_in_flight"] = 1100


def idle(story: Story) -> None:
    for side in ("local", "remote"):
        story.find("quic:parameters_set", initiator=side)["max_idle_timeout"] = 1000
    for one in story.events:
        one["time"] += 5000 if one["time"] > 400 else 0


def late_ack(story: Story) -> None:
    for one in story.events:
        one["time"] += 5000 if one["time"] > 400 else 0
    story.sent(1200.5, "1RTT", 14, PING, **KEYS)
    story.received(1300.5, "1RTT", 9, ack([14], ack_delay=80.0), **KEYS)


def probes(story: Story) -> None:
    for index in range(3):
        story.sent(300.5, "1RTT", 14 + index, PING, trigger="pto_probe", **KEYS)


def mtu_probe(story: Story) -> None:
    story.sent(290.5, "1RTT", 14, PING, PADDING, length=1400, is_mtu_probe_packet=True, **KEYS)
    story.sent(291.5, "1RTT", 15, PING, **KEYS)
    story.sent(291.6, "1RTT", 16, PING, **KEYS)
    story.sent(291.7, "1RTT", 17, PING, **KEYS)
    story.received(320.5, "1RTT", 9, ack([15, 17]), **KEYS)
    header = {"packet_type": "1RTT", "packet_number": 14}
    lost = {"header": header, "is_mtu_probe_packet": True, "trigger": "reordering_threshold"}
    story.add(320.5, "quic:packet_lost", **lost)
    story.metrics(320.5, congestion_window=3000)


def loss(number: int, trigger: str | None = None, time: float = 300.5) -> Break:
    more = {"trigger": trigger} if trigger else {}
    header = {"packet_type": "1RTT", "packet_number": number}
    return event("quic:packet_lost", time, header=header, **more)


def spare(story: Story) -> None:
    """Two more packets, of which the second is acknowledged."""
    story.sent(290.5, "1RTT", 14, PING, **KEYS)
    story.sent(290.6, "1RTT", 15, PING, **KEYS)
    story.received(300.5, "1RTT", 9, ack([15]), **KEYS)


def headers(values: dict[str, str], **more: object) -> Break:
    return http("headers", headers=fields(values), **more)  # type: ignore[arg-type]
