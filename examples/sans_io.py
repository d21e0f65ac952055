"""The core without sockets, clock or event loop: a client and a server in memory.

    python examples/sans_io.py

Whoever embeds `Connection` and `Listener` does what `exchange` does here, with real datagrams and time:
hand in what arrived, say when there is no more, take the events, send until there is nothing to send.
"""

import time

import endpoint
from endpoint.batch import PacketBuffer, RecvBatch
from endpoint.events import HandshakeCompleted, StreamReadable
from endpoint.tls.certificates import make_self_signed

CLIENT, SERVER = ("192.0.2.1", 50000), ("192.0.2.2", 4433)


class Virtual:
    """Time and randomness of this program: the core has none of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self._counter = 0

    def random(self, size: int) -> bytes:
        """Predictable, so that each run is the same. A real program passes os.urandom."""
        self._counter += 1
        return self._counter.to_bytes(8, "big").rjust(size, b"\x5a")[:size]


def on_server_events(connection: endpoint.Connection) -> None:
    while (event := connection.next_event()) is not None:
        if isinstance(event, StreamReadable):
            data, fin = connection.read(event.stream_id)
            connection.write(event.stream_id, data.upper(), fin=fin)


def on_client_events(connection: endpoint.Connection) -> bytes | None:
    """The answer, once it is here."""
    while (event := connection.next_event()) is not None:
        if isinstance(event, HandshakeCompleted):
            stream_id = connection.open_stream()
            connection.write(stream_id, b"hello from memory", fin=True)
        elif isinstance(event, StreamReadable):
            data, _ = connection.read(event.stream_id)
            return data
    return None


def exchange(client: endpoint.Connection, listener: endpoint.Listener, world: Virtual) -> bytes:
    """Carry datagrams to and fro, 10 ms each way, until the answer has come."""
    outgoing, incoming = PacketBuffer(), PacketBuffer()
    while True:
        while (batch := client.transmit(outgoing, world.now)) is not None:
            incoming.view[: batch.length] = outgoing.view[: batch.length]
            received = RecvBatch(incoming, batch.length, batch.segment_size, CLIENT, SERVER, batch.ecn)
            for connection in listener.receive(received, world.now):
                connection.on_socket_drained(world.now)
        world.now += 0.01
        for connection in listener.connections:
            on_server_events(connection)
            while (batch := connection.transmit(outgoing, world.now)) is not None:
                incoming.view[: batch.length] = outgoing.view[: batch.length]
                client.receive(
                    RecvBatch(incoming, batch.length, batch.segment_size, SERVER, CLIENT, batch.ecn),
                    world.now,
                )
        client.on_socket_drained(world.now)
        world.now += 0.01
        answer = on_client_events(client)
        if answer is not None:
            return answer
        # Nothing is lost here; in a real network these are what brings lost packets back.
        for each in (client, *listener.connections):
            deadline = each.next_timeout()
            if deadline is not None and deadline <= world.now:
                each.on_timeout(world.now)


def main() -> None:
    world = Virtual()
    certificate, key = make_self_signed(["example.test"], time.time())
    listener = endpoint.Listener(
        endpoint.Config(),
        endpoint.TlsConfig(alpn_protocols=("upper",), certificate_chain=(certificate,), private_key=key),
        random=world.random,
        wall_time=time.time,
    )
    client = endpoint.Connection.client(
        endpoint.Config(),
        endpoint.TlsConfig(alpn_protocols=("upper",), trusted_roots=(certificate,)),
        peer=SERVER,
        server_name="example.test",
        random=world.random,
        wall_time=time.time,
        now=world.now,
    )
    print(exchange(client, listener, world).decode())


if __name__ == "__main__":
    main()
