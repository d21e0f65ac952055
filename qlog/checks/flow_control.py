"""Group F, second part: the limits of flow control."""

from qlog.checks.base import Check
from qlog.checks.scene import Scene
from qlog.checks.streams import MOST_STREAMS
from qlog.model import JsonObject
from qlog.packets import Packet, StreamPart, stream_id, whole


class _Limits(Check):
    """Limits that bind the sender of packets: the peer's parameters or the remembered ones, then MAX_*."""

    needs_history = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        # By whether it limits what is sent, and by name.
        self._raised: dict[tuple[bool, str], int] = {}

    def raise_limit(self, packet: Packet, name: str, maximum: int | None) -> None:
        """A MAX_* frame in a packet limits what goes the other way."""
        key = (not packet.sent, name)
        if maximum is not None and (key in self._raised or len(self._raised) < MOST_STREAMS):
            self._raised[key] = max(self._raised.get(key, 0), maximum)

    def limit(self, sent: bool, parameter: str, name: str = "") -> int | None:
        """The limit in force, None if the trace does not tell. `name` is that of raise_limit."""
        scene = self.scene
        limit = scene.parameters["remote" if sent else "local"].get(parameter)
        if sent and scene.restored:
            restored = scene.restored.get(parameter)
            if isinstance(restored, int) and (not isinstance(limit, int) or limit < restored):
                limit = restored
        if not isinstance(limit, int):
            return None
        raised = self._raised.get((sent, name or parameter), 0)
        return max(limit, raised)


class ConnectionLimit(_Limits):
    """The sum of the highest offsets of all streams stays within max_data. Resets count, CRYPTO does not.

    With very many streams that sum can't be known any more, and nothing is judged.
    """

    id = "F03"
    title = "connection data stays within max_data"
    reference = "RFC 9000 §4.1"
    frames = ("max_data",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._highest: dict[tuple[bool, int], int] = {}
        self._sum = {True: 0, False: 0}

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        del index
        self.raise_limit(packet, "initial_max_data", whole(frame.get("maximum")))

    def on_part(self, packet: Packet, index: int, part: StreamPart) -> None:
        key, end = (packet.sent, part.stream), part.end
        before = self._highest.get(key, 0)
        if end is None or end <= before or len(self._highest) > MOST_STREAMS:
            return
        self._highest[key] = end
        self._sum[packet.sent] += end - before
        limit = self.limit(packet.sent, "initial_max_data")
        if limit is not None and self._sum[packet.sent] > limit:
            message = f"{self._sum[packet.sent]} bytes on all streams, max_data is {limit}"
            self.report(packet.event, message, f"/data/frames/{index}")


class StreamLimit(_Limits):
    """Each stream has a limit of its own, which starts with one of three parameters by its kind."""

    id = "F04"
    title = "stream data stays within the stream's limit"
    reference = "RFC 9000 §4.1, §18.2"
    frames = ("max_stream_data",)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        del index
        self.raise_limit(packet, str(stream_id(frame)), whole(frame.get("maximum")))

    def on_part(self, packet: Packet, index: int, part: StreamPart) -> None:
        stream, end, sender = part.stream, part.end, self.scene.sender(packet)
        if not sender or end is None:
            return
        limit = self.limit(packet.sent, stream_parameter(stream, sender), str(stream))
        if limit is not None and end > limit:
            message = f"data up to {end} on stream {stream}, its limit is {limit}"
            self.report(packet.event, message, f"/data/frames/{index}")


class StreamCount(_Limits):
    """The peer says how many streams of each kind may be opened, counting those that were closed."""

    id = "F05"
    title = "streams are opened within max_streams"
    reference = "RFC 9000 §4.6"
    frames = ("max_streams",)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        del index
        kind = "uni" if str(frame.get("stream_type")).startswith("uni") else "bidi"
        self.raise_limit(packet, f"initial_max_streams_{kind}", whole(frame.get("maximum")))

    def on_part(self, packet: Packet, index: int, part: StreamPart) -> None:
        stream, sender = part.stream, self.scene.sender(packet)
        if not sender or (stream & 1 == 1) != (sender == "server"):
            return
        limit = self.limit(packet.sent, f"initial_max_streams_{'uni' if stream & 2 else 'bidi'}")
        if limit is not None and stream // 4 >= limit:
            message = f"stream {stream} is number {stream // 4 + 1} of its kind, max_streams is {limit}"
            self.report(packet.event, message, f"/data/frames/{index}/stream_id")


class LowerLimits(Check):
    """A smaller MAX_* than before has no effect. It may be an old one that is sent again."""

    id = "F06"
    title = "limits are not lowered"
    reference = "RFC 9000 §4.1"
    severity = "info"
    frames = ("max_data", "max_stream_data", "max_streams")

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._last: dict[tuple[str, object], int] = {}

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        maximum = whole(frame.get("maximum"))
        key = (str(frame["frame_type"]), frame.get("stream_type", stream_id(frame)))
        if not packet.sent or maximum is None or (len(self._last) > MOST_STREAMS and key not in self._last):
            return
        last = self._last.get(key, 0)
        if maximum < last:
            message = f"{frame['frame_type']} of {maximum} after {last}"
            self.report(packet.event, message, f"/data/frames/{index}/maximum")
        self._last[key] = max(last, maximum)


class Blocked(_Limits):
    """A *_BLOCKED frame names the limit that blocks: never more than what the peer allows."""

    id = "F09"
    title = "*_BLOCKED frames name a limit that was given"
    reference = "RFC 9000 §4.1, §19.12"
    severity = "info"
    frames = ("data_blocked", "stream_data_blocked", "max_data", "max_stream_data")

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        stream = stream_id(frame)
        match frame["frame_type"]:
            case "max_data":
                self.raise_limit(packet, "initial_max_data", whole(frame.get("maximum")))
                return
            case "max_stream_data":
                self.raise_limit(packet, str(stream), whole(frame.get("maximum")))
                return
            case "data_blocked":
                limit = self.limit(packet.sent, "initial_max_data")
            case _:
                sender = self.scene.sender(packet)
                if stream is None or not sender:
                    return
                limit = self.limit(packet.sent, stream_parameter(stream, sender), str(stream))
        blocked_at = whole(frame.get("limit"))
        if limit is not None and blocked_at is not None and blocked_at > limit:
            message = f"{frame['frame_type']} at {blocked_at}, the limit is {limit}"
            self.report(packet.event, message, f"/data/frames/{index}/limit")


def stream_parameter(stream: int, sender: str) -> str:
    """The receiver's transport parameter that limits what `sender` may send on a stream."""
    if stream & 2:
        return "initial_max_stream_data_uni"
    opened_it = (stream & 1 == 1) == (sender == "server")
    # Named from the receiver's side: a stream the sender opened is remote to the receiver.
    return f"initial_max_stream_data_bidi_{'remote' if opened_it else 'local'}"
