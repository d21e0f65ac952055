"""`interquic server`: serve a directory."""

import argparse
import asyncio
import os
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from endpoint.admission import AdmissionPolicy, accept_all, always_retry, retry_above
from endpoint.cli import signals
from endpoint.cli.errors import CommandError, explain_bind, explain_file
from endpoint.cli.options import (
    KeyLog,
    add_common_options,
    make_config,
    make_tls_error,
    numeric_address,
    open_key_ring,
    open_keylog,
    port_number,
    raise_file_limit,
    read_certificates,
    read_private_key,
)
from endpoint.config import Config
from endpoint.hq import HqServer
from endpoint.io.files import Directory
from endpoint.io.server import open_server
from endpoint.keyring import KeyRing
from endpoint.tls.certificates import make_self_signed
from endpoint.tls.config import TlsConfig
from endpoint.tls.signatures import PrivateKey
from endpoint.tls.suites import CIPHER_SUITES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--host", metavar="H", help="name or address to listen on (default: all, IPv4 and IPv6)"
    )
    parser.add_argument(
        "--port", type=port_number, default=4433, metavar="P", help="UDP port (default: 4433)"
    )
    parser.add_argument(
        "--cert", metavar="FILE", help="certificate chain, PEM, leaf first (default: self-signed)"
    )
    parser.add_argument("--key", metavar="FILE", help="private key of the certificate, PEM")
    parser.add_argument("--root", default=".", metavar="DIR", help="directory to serve (default: this one)")
    parser.add_argument(
        "--reuse-address", action="store_true", help="share the port with others (SO_REUSEADDR)"
    )
    parser.add_argument(
        "--preferred-address",
        type=numeric_address,
        action="append",
        default=[],
        metavar="IP:PORT",
        help="ask clients to move there once connected; may be given once for IPv4 and once for IPv6",
    )
    parser.add_argument(
        "--retry",
        type=_retry_policy,
        default=accept_all,
        metavar="WHEN",
        help="make clients prove their address first: never, always, or while more than N handshakes are "
        "under way (default: never)",
    )
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        help="keys of session tickets and tokens, made if missing; servers that share it resume each other's "
        "sessions (default: new ones for each start)",
    )
    parser.add_argument(
        "--early-data",
        action="store_true",
        help="accept requests in 0-RTT data, which somebody on the way may repeat",
    )
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    if (args.cert is None) != (args.key is None):
        raise CommandError("--cert and --key come together")
    if args.key_file is None:
        keys = KeyRing.generate(os.urandom, time.time())
    else:
        keys = open_key_ring(args.key_file)
    tls = make_tls(args)
    raise_file_limit()
    with open_keylog(args.keylog) as keylog:
        return signals.run(
            serve_directory(
                args.root,
                args.host,
                args.port,
                tls=tls,
                config=_server_config(args),
                keylog=keylog,
                gso=not args.no_gso,
                gro=not args.no_gro,
                reuse_address=args.reuse_address,
                keys=keys,
                early_data=args.early_data,
                admission=args.retry,
            )
        )


def _server_config(args: argparse.Namespace) -> Config:
    preferred = {":" in host: (host, port) for host, port in args.preferred_address}
    if len(preferred) < len(args.preferred_address):
        raise CommandError("there can be one --preferred-address of each family")
    if any(port == 0 for _, port in preferred.values()):
        raise CommandError("--preferred-address needs a port")
    return replace(make_config(args), preferred_ipv4=preferred.get(False), preferred_ipv6=preferred.get(True))


def _retry_policy(text: str) -> AdmissionPolicy:
    """For argparse."""
    match text:
        case "never":
            return accept_all
        case "always":
            return always_retry
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not never, always or a number")
    return retry_above(int(text))


def make_tls(args: argparse.Namespace) -> TlsConfig:
    """Certificate and TLS settings that the options ask for, a self-signed certificate without them."""
    if args.cert is None:
        chain, private_key = _self_signed(args.host)
    else:
        chain, private_key = read_certificates("certificate", args.cert), read_private_key(args.key)
    try:
        return TlsConfig(
            alpn_protocols=args.alpn,
            cipher_suites=args.cipher_suites or tuple(CIPHER_SUITES),
            certificate_chain=chain,
            private_key=private_key,
        )
    except ValueError as error:
        raise make_tls_error(error) from error


def _self_signed(host: str | None) -> tuple[tuple[x509.Certificate, ...], PrivateKey]:
    names = list(dict.fromkeys([host or "localhost", "localhost", "127.0.0.1", "::1"]))
    certificate, key = make_self_signed(names, time.time())
    digest = certificate.fingerprint(hashes.SHA256()).hex(":")
    print(f"no --cert: using a self-signed certificate for {', '.join(names)}; SHA-256 {digest}", flush=True)
    return (certificate,), key


async def serve_directory(
    root: str | Path,
    host: str | None,
    port: int,
    *,
    tls: TlsConfig,
    config: Config,
    keylog: KeyLog | None = None,
    gso: bool = True,
    gro: bool = True,
    reuse_address: bool = False,
    keys: KeyRing | None = None,
    early_data: bool = False,
    admission: AdmissionPolicy = accept_all,
) -> int:
    """Serve the files of `root` until cancelled, then close all connections at once; exit status 0.

    `keys` seal tickets and tokens; without them there are no tickets, but with `early_data`.
    Raises CommandError when the directory or the address can't be used.
    """
    try:
        application = HqServer(Directory(root).open)
    except OSError as error:
        raise explain_file("directory", str(root), error) from error
    async with AsyncExitStack() as stack:
        try:
            driver = await stack.enter_async_context(
                open_server(
                    host,
                    port,
                    application=application,
                    tls=tls,
                    config=config,
                    keylog=keylog,
                    gso=gso,
                    gro=gro,
                    reuse_address=reuse_address,
                    ticket_keys=keys,
                    token_keys=keys,
                    early_data=early_data,
                    admission=admission,
                )
            )
        except OSError as error:
            raise explain_bind(host, port, error) from error
        name, actual = driver.udp.address[:2]
        print(f"serving {root} on {name} port {actual} (UDP), {', '.join(tls.alpn_protocols)}", flush=True)
        # Only a signal ends this.
        with suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
    return 0
