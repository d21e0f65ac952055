"""The program of the interop image: does what the runner's variables ask for, with the parts of the commands.

Exit status: client 0 when all files are complete, server 0 after SIGTERM, 1 after a failure, 127 for a test
case that is not in `endpoint.cli.testcases`.
"""

import argparse
import os
import shlex
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from endpoint.admission import accept_all, always_retry
from endpoint.cli import signals
from endpoint.cli.download import Downloader, Url, parse_urls
from endpoint.cli.errors import CommandError, explain_disk
from endpoint.cli.options import (
    KeyLog,
    make_tls_error,
    open_keylog,
    port_number,
    raise_file_limit,
    read_certificates,
    read_private_key,
)
from endpoint.cli.serve import Serving, serve_directory
from endpoint.cli.testcases import UNSUPPORTED, InteropCase, Role, find_case
from endpoint.config import Config
from endpoint.hkdf import hkdf_extract
from endpoint.hq import ALPN as HQ
from endpoint.http.requests import ALPN as H3
from endpoint.io.files import Downloads
from endpoint.io.sessions import SessionStore
from endpoint.keyring import KeyRing
from endpoint.tls.config import TlsConfig
from endpoint.tls.suites import CIPHER_SUITES
from endpoint.tracing import QlogFolder

PORT = 443
# Any other that is free in the container, and the names that the hosts file has for its addresses.
PREFERRED_PORT = 4443
PREFERRED_HOSTS = "server4,server6"
RESET_SALT = b"interquic stateless reset 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the runner says, apart from the test case. `root` is "/" but in tests."""

    role: Role
    requests: tuple[str, ...]
    key_log: str | None
    # The folder for traces.
    qlog_dir: str | None
    root: Path
    port: int
    gso: bool
    # Client: instead of the test case's own.
    alpn: str | None
    # Server: where its preferred address is.
    preferred_port: int
    preferred_hosts: tuple[str, ...]

    @classmethod
    def read(cls, variables: Mapping[str, str], role: Role) -> "Environment":
        """Ends the program with status 2 for options that don't exist in CLIENT_PARAMS or SERVER_PARAMS."""
        name = f"{role.upper()}_PARAMS"
        parser = argparse.ArgumentParser(prog=name, add_help=False)
        parser.add_argument("--port", type=port_number, default=PORT)
        # Off unless asked for: the simulator's interfaces have no checksum offload, and without it
        # older kernels refuse segmentation offload.
        parser.add_argument("--gso", action="store_true")
        # Client: for a server that doesn't have the protocol that the test case is meant for.
        parser.add_argument("--alpn", choices=(HQ, H3))
        parser.add_argument("--preferred-port", type=port_number, default=PREFERRED_PORT)
        parser.add_argument("--preferred-hosts", default=PREFERRED_HOSTS)
        options = parser.parse_args(shlex.split(variables.get(name, "")))
        return cls(
            role=role,
            requests=tuple(variables.get("REQUESTS", "").split()),
            key_log=variables.get("SSLKEYLOGFILE") or None,
            qlog_dir=variables.get("QLOGDIR") or None,
            root=Path(variables.get("INTERQUIC_ROOT") or "/"),
            port=options.port,
            gso=options.gso,
            alpn=options.alpn,
            preferred_port=options.preferred_port,
            preferred_hosts=tuple(options.preferred_hosts.split(",")),
        )


def main(variables: Mapping[str, str] = os.environ) -> int:
    """Run the test case that the variables name; the exit status."""
    case = find_case(variables.get("TESTCASE", ""), variables.get("ROLE", ""))
    return UNSUPPORTED if case is None else run(case, variables)


def run(case: InteropCase, variables: Mapping[str, str]) -> int:
    """Run a test case in the role that the variables name; the exit status."""
    environment = Environment.read(variables, Role(variables["ROLE"]))
    if environment.qlog_dir is not None:
        tracer = QlogFolder(environment.qlog_dir)
        case = replace(case, config=replace(case.config, tracer=tracer))
    try:
        raise_file_limit()
        with open_keylog(environment.key_log) as keylog:
            if environment.role is Role.SERVER:
                return _serve(case, environment, keylog)
            return _download(case, environment, keylog)
    except CommandError as error:
        print(f"interquic: {error}", file=sys.stderr)
        return 1


def _serve(case: InteropCase, environment: Environment, keylog: KeyLog | None) -> int:
    tls = _make_tls(case, environment)
    config = case.config
    if case.preferred_address:
        config = _with_preferred_address(config, environment)
    return signals.run(
        serve_directory(
            environment.root / "www",
            Serving(
                host=None,
                port=environment.port,
                tls=tls,
                config=config,
                keylog=keylog,
                gso=environment.gso,
                keys=KeyRing.generate(os.urandom, time.time()) if case.resume else None,
                early_data=case.early_data,
                reset_key=_reset_key(environment) if case.keep_reset_key else None,
                admission=always_retry if case.always_retry else accept_all,
            ),
        )
    )


def _reset_key(environment: Environment) -> bytes:
    """What only whoever has the private key can know."""
    return hkdf_extract("sha256", RESET_SALT, (environment.root / "certs" / "priv.key").read_bytes())


def _with_preferred_address(config: Config, environment: Environment) -> Config:
    """Our own addresses as the hosts file has them, one of each family, with another port."""
    port = environment.preferred_port
    found: dict[int, tuple[str, int]] = {}
    for host in environment.preferred_hosts:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except socket.gaierror as error:
            raise CommandError(f"can't resolve {host}: {error.strerror}") from error
        for family, _, _, _, address in answers:
            found.setdefault(family, (str(address[0]), port))
    return replace(
        config, preferred_ipv4=found.get(socket.AF_INET), preferred_ipv6=found.get(socket.AF_INET6)
    )


def _download(case: InteropCase, environment: Environment, keylog: KeyLog | None) -> int:
    urls = parse_urls(environment.requests, allow_no_file=case.allow_no_file)
    if not urls:
        raise CommandError("REQUESTS is empty")
    tls = _make_tls(case, environment)
    return signals.run(_get(urls, case, environment, tls, keylog))


async def _get(
    urls: list[Url], case: InteropCase, environment: Environment, tls: TlsConfig, keylog: KeyLog | None
) -> int:
    started = time.monotonic()
    try:
        downloads = Downloads(environment.root / "downloads")
    except OSError as error:
        raise explain_disk(error) from error
    downloader = Downloader(
        downloads,
        tls=tls,
        config=case.config,
        keylog=keylog,
        connection_per_url=case.connection_per_url,
        resume_after_first=case.resume,
        # In memory only: the runner counts any other file in the folder as a failure.
        store=SessionStore(None) if case.resume else None,
        early_data=case.early_data,
        gso=environment.gso,
    )
    try:
        await downloader.run(urls)
    finally:
        downloads.close()
    for line in downloader.resumptions:
        print(line)
    seconds = time.monotonic() - started
    print(f"{len(downloads.completed)} files, {downloads.received} bytes in {seconds:.2f} s")
    return 0


def _make_tls(case: InteropCase, environment: Environment) -> TlsConfig:
    """Both roles' certificates are in one folder: the client verifies, though the runner does not ask it."""
    certs = environment.root / "certs"
    cipher_suites = case.cipher_suites or tuple(CIPHER_SUITES)
    try:
        if environment.role is Role.CLIENT:
            return TlsConfig(
                alpn_protocols=(environment.alpn or case.alpn,),
                cipher_suites=cipher_suites,
                trusted_roots=read_certificates("certificates", str(certs / "ca.pem")),
            )
        return TlsConfig(
            # By what the client offers, also where the case does not ask for it.
            alpn_protocols=tuple(dict.fromkeys((case.alpn, HQ, H3))),
            cipher_suites=cipher_suites,
            certificate_chain=read_certificates("certificate", str(certs / "cert.pem")),
            private_key=read_private_key(str(certs / "priv.key")),
        )
    except ValueError as error:
        raise make_tls_error(error) from error


if __name__ == "__main__":
    sys.exit(main())
