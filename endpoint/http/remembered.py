"""A server's SETTINGS, kept with its sessions for requests in 0-RTT (RFC 9114 §7.2.4.2)."""

import asyncio
import time
from dataclasses import replace

from endpoint.h3.errors import H3ConnectionError
from endpoint.h3.settings import Settings
from endpoint.http.requests import ALPN
from endpoint.io.sessions import Origin, SessionStore, SessionStoreError


class RememberedSettings:
    """The settings of one server, in a session store."""

    __slots__ = ("_origin", "_since", "_store")

    def __init__(self, store: SessionStore, origin: Origin) -> None:
        """To be made when the connection begins: sessions that come later belong to the settings it keeps."""
        self._store = store
        self._origin = origin
        self._since = time.time()

    def recall(self) -> Settings | None:
        """What the server said last, None if it never did: then the initial values hold.

        Raises SessionStoreError.
        """
        payload = self._store.settings(self._origin, ALPN)
        if payload is None:
            return None
        try:
            return Settings.parse(payload)
        except H3ConnectionError as error:
            raise SessionStoreError(f"session file: settings of {self._origin.host}: {error}") from error

    def keep(self, settings: Settings) -> None:
        """Keep what the server said, but for what we don't know, which is grease for the most part."""
        try:
            self._store.keep_settings(
                self._origin, ALPN, replace(settings, extra={}).encode(), since=self._since
            )
        except SessionStoreError as error:
            # The next connection goes by the initial values; this one has nothing to do with it.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "settings could not be kept", "exception": error}
            )
