"""Drives a simulated network in real time: the loop and the clock that all carriers have in common."""

import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from endpoint.testing.link import Datagram
from interop.simnet.impairments import Scenario
from interop.simnet.network import Delivery, Network

# The runner's client is up and sends 0.3 to 1.3 seconds after the simulator has started. Here it always
# does at this time, however busy the machine is: the first rebinding must not meet its handshake.
FIRST_DATAGRAM: Final = 0.5
# How often a network whose server is away looks whether it is back, in seconds.
_AWAY_POLL: Final = 0.02


class Pump(ABC):
    """A context manager that carries datagrams in a thread of its own.

    The network's clock stands at half a second when the first datagram comes. `network` tells afterwards
    what happened; the captures in `directory` are complete at the end of the context.
    """

    def __init__(self, scenario: Scenario, directory: Path, *, seed: int) -> None:
        self.network = Network(scenario, directory, seed=seed)
        self._started: float | None = None
        self._error: Exception | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)

    @abstractmethod
    def _descriptors(self) -> Sequence[int]:
        """What to wait for."""

    @abstractmethod
    def _receive(self) -> None:
        """Hand what waits at the descriptors to `client_sends` and `server_sends`."""

    @abstractmethod
    def _to_server(self, delivery: Delivery) -> None:
        """Put a datagram before the server."""

    @abstractmethod
    def _to_client(self, delivery: Delivery) -> None:
        """Put a datagram before the client."""

    def client_sends(self, datagram: Datagram) -> None:
        """Take what the client has sent just now."""
        self.network.client_sends(datagram, self.now)

    def server_sends(self, datagram: Datagram) -> None:
        """Take what the server has sent just now."""
        self.network.server_sends(datagram, self.now)

    @contextmanager
    def server_away(self) -> Iterator[None]:
        """Meanwhile nothing is delivered to the server or taken from it; what comes for it waits."""
        self.network.server_is_away = True
        try:
            yield
        finally:
            self.network.server_is_away = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; what is on its way is lost. Raises what stopped the network before that."""
        os.write(self._wake_writer, b"\0")
        self._thread.join()
        for descriptor in (self._wake_reader, self._wake_writer):
            os.close(descriptor)
        self.network.__exit__(kind, error, traceback)
        if self._error is not None and error is None:
            raise self._error

    @property
    def now(self) -> float:
        """The network's clock, in seconds."""
        now = time.monotonic()
        if self._started is None:
            self._started = now - FIRST_DATAGRAM
        return now - self._started

    def _run(self) -> None:
        try:
            while self._wait():
                self._receive()
                if self._started is None:
                    continue
                at_server, at_client = self.network.deliver(self.now)
                for delivery in at_server:
                    self._to_server(delivery)
                for delivery in at_client:
                    self._to_client(delivery)
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise to
            self._error = error

    def _wait(self) -> bool:
        """Return when there is something to do; False when it is time to stop."""
        event = None if self._started is None else self.network.next_event()
        timeout = None if event is None else max(0.0, event - self.now)
        if self.network.server_is_away:
            timeout = _AWAY_POLL if timeout is None else min(timeout, _AWAY_POLL)
        # select has a finer clock than epoll, and the descriptors are not many.
        ready, _, _ = select.select([*self._descriptors(), self._wake_reader], [], [], timeout)
        return self._wake_reader not in ready
