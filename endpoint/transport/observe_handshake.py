"""What the handshake settles, as a tracer is told: versions, ALPN, parameters, connection IDs, keys."""

from typing import Any

from endpoint.events import VersionsOffered
from endpoint.level import Level
from endpoint.tls.suites import CIPHER_SUITES
from endpoint.trace import Tracer
from endpoint.transport.parts import Parts
from endpoint.wire.transport_params import PreferredAddress, TransportParameters

# What qlog has fields for and 0-RTT remembers (RFC 9000 §7.4.1).
_RESTORED = (
    "disable_active_migration",
    "max_idle_timeout",
    "max_udp_payload_size",
    "active_connection_id_limit",
    "initial_max_data",
    "initial_max_stream_data_bidi_local",
    "initial_max_stream_data_bidi_remote",
    "initial_max_stream_data_uni",
    "initial_max_streams_bidi",
    "initial_max_streams_uni",
    "max_datagram_frame_size",
    "grease_quic_bit",
)
_SET = (
    *_RESTORED,
    "original_destination_connection_id",
    "initial_source_connection_id",
    "retry_source_connection_id",
    "stateless_reset_token",
    "ack_delay_exponent",
    "max_ack_delay",
)
_KEY_NAMES = {
    Level.INITIAL: "initial",
    Level.ZERO_RTT: "0rtt",
    Level.HANDSHAKE: "handshake",
    Level.ONE_RTT: "1rtt",
}
_SPACES = (Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT)


class HandshakeObserver:
    """Compares what is known with what was told."""

    __slots__ = (
        "_alpn",
        "_keys",
        "_local_cids",
        "_local_params",
        "_offered",
        "_old_phase",
        "_parts",
        "_peer_cid",
        "_peer_params",
        "_tracer",
        "_updates",
        "_version",
    )

    def __init__(self, parts: Parts, tracer: Tracer, now: float) -> None:
        self._parts = parts
        self._tracer = tracer
        self._version = 0
        self._offered = False
        self._alpn: str | None = None
        self._local_params: TransportParameters | None = None
        self._peer_params: TransportParameters | None = None
        self._peer_cid = parts.peer_cids.current
        self._keys: set[str] = set()
        self._updates = 0
        # The phase whose keys are kept for packets that were overtaken.
        self._old_phase: int | None = None
        if parts.is_client:
            alpns = [_alpn(name) for name in parts.handshake.tls.alpn_protocols]
            tracer.event(now, "alpn_information", {"client_alpns": alpns})
        if parts.remembered_params is not None:
            tracer.event(now, "parameters_restored", _parameters(parts.remembered_params, _RESTORED))
        self.update(now)

    def update(self, now: float) -> None:
        """Tell what is new."""
        self._update_version(now)
        self._update_keys(now)
        parts = self._parts
        if parts.local_params is not self._local_params:
            self._local_params = parts.local_params
            if parts.local_params is not None:
                self._tracer.event(
                    now, "parameters_set", {"initiator": "local", **parameters_set(parts.local_params)}
                )
        if parts.peer_params is not self._peer_params:
            self._peer_params = parts.peer_params
            if parts.peer_params is not None:
                self._tell_peer_parameters(parts.peer_params, now)
        alpn = parts.handshake.tls.alpn
        if alpn != self._alpn and alpn is not None:
            self._alpn = alpn
            data: dict[str, Any] = {"chosen_alpn": _alpn(alpn)}
            if not parts.is_client:
                data["server_alpns"] = [_alpn(name) for name in parts.handshake.tls.alpn_protocols]
            self._tracer.event(now, "alpn_information", data)
        cid = parts.peer_cids.current
        if cid != self._peer_cid:
            data = {"initiator": "remote", "old": self._peer_cid, "new": cid}
            self._tracer.event(now, "connection_id_updated", data)
            self._peer_cid = cid

    def _tell_peer_parameters(self, params: TransportParameters, now: float) -> None:
        tls = self._parts.handshake.tls
        data = {"initiator": "remote", **parameters_set(params)}
        if tls.cipher_suite is not None:
            data["tls_cipher"] = CIPHER_SUITES[tls.cipher_suite].name
        data["early_data_enabled"] = bool(tls.early_data_accepted)
        self._tracer.event(now, "parameters_set", data)

    def _update_version(self, now: float) -> None:
        parts = self._parts
        ours = [_version(version) for version in parts.config.versions]
        if parts.original_version not in parts.config.versions:
            # RFC 9000 §15: a reserved one, to be told of others.
            ours.insert(0, _version(parts.original_version))
        side = "client_versions" if parts.is_client else "server_versions"
        if parts.version.version != self._version:
            self._version = parts.version.version
            data = {side: ours, "chosen_version": _version(self._version)}
            self._tracer.event(now, "version_information", data)
        if parts.is_client and not self._offered and not parts.handshake.complete:
            for event in parts.events:
                if isinstance(event, VersionsOffered):
                    self._offered = True
                    theirs = [_version(version) for version in event.versions]
                    data = {"client_versions": ours, "server_versions": theirs}
                    self._tracer.event(now, "version_information", data)

    def _update_keys(self, now: float) -> None:
        """Which packets can be protected and opened. Secrets themselves are never told."""
        parts = self._parts
        present = set()
        for level in _SPACES:
            space = parts.spaces[level]
            if space.write_keys is not None:
                present.add(self._key_type(level, ours=True))
            if space.read_keys is not None or (level is Level.INITIAL and space.write_keys is not None):
                present.add(self._key_type(level, ours=False))
        if parts.handshake.early_keys is not None and not (parts.is_client and parts.handshake.complete):
            present.add("client_0rtt_secret")
        if present != self._keys:
            for key_type in sorted(present - self._keys):
                data: dict[str, Any] = {"key_type": key_type, "trigger": "tls"}
                if "1rtt" in key_type:
                    data["key_phase"] = 0
                self._tracer.event(now, "key_updated", data)
            for key_type in sorted(self._keys - present):
                self._tracer.event(now, "key_discarded", {"key_type": key_type, "trigger": "tls"})
            self._keys = present
        if parts.key_phase.updates != self._updates:
            self._tell_key_update(now)
        if self._old_phase is not None and not parts.key_phase.keeps_old_keys:
            self._discard_old_keys(now)

    def _tell_key_update(self, now: float) -> None:
        phase = self._parts.key_phase
        if self._old_phase is not None:
            self._discard_old_keys(now)
        trigger = self._update_trigger()
        for ours in (True, False):
            key_type = self._key_type(Level.ONE_RTT, ours=ours)
            data = {"key_type": key_type, "key_phase": phase.updates, "trigger": trigger}
            self._tracer.event(now, "key_updated", data)
        # Old keys to read with are kept for a while (RFC 9001 §6.5), those to write with are not.
        key_type = self._key_type(Level.ONE_RTT, ours=True)
        data = {"key_type": key_type, "key_phase": self._updates, "trigger": trigger}
        self._tracer.event(now, "key_discarded", data)
        self._old_phase = self._updates
        self._updates = phase.updates

    def _discard_old_keys(self, now: float) -> None:
        """Those to read with of the phase before."""
        key_type = self._key_type(Level.ONE_RTT, ours=False)
        data = {"key_type": key_type, "key_phase": self._old_phase, "trigger": self._update_trigger()}
        self._tracer.event(now, "key_discarded", data)
        self._old_phase = None

    def _update_trigger(self) -> str:
        return "local_update" if self._parts.key_phase.began_here else "remote_update"

    def _key_type(self, level: Level, *, ours: bool) -> str:
        side = "client" if ours == self._parts.is_client else "server"
        return f"{side}_{_KEY_NAMES[level]}_secret"


def _alpn(name: str) -> dict[str, Any]:
    return {"string_value": name}


def _version(version: int) -> bytes:
    return version.to_bytes(4, "big")


def parameters_set(params: TransportParameters) -> dict[str, Any]:
    """The parameters as the event of that name has them."""
    data = _parameters(params, _SET)
    if params.preferred_address is not None:
        data["preferred_address"] = _preferred_address(params.preferred_address)
    if params.unknown:
        data["unknown_parameters"] = [{"id": number} for number in params.unknown]
    return data


def _parameters(params: TransportParameters, names: tuple[str, ...]) -> dict[str, Any]:
    """The parameters of these names that there are."""
    return {name: value for name in names if (value := getattr(params, name)) is not None}


def _preferred_address(preferred: PreferredAddress) -> dict[str, Any]:
    data: dict[str, Any] = {
        "connection_id": preferred.connection_id,
        "stateless_reset_token": preferred.stateless_reset_token,
    }
    if preferred.ipv4 is not None:
        data["ip_v4"], data["port_v4"] = preferred.ipv4
    if preferred.ipv6 is not None:
        data["ip_v6"], data["port_v6"] = preferred.ipv6
    return data
