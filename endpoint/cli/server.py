"""`interquic server`: serve a directory or an ASGI application."""

import argparse
import os
import time
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from endpoint.admission import AdmissionPolicy, accept_all, always_retry, retry_above
from endpoint.cli import signals
from endpoint.cli.errors import CommandError
from endpoint.cli.options import (
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
    seconds,
)
from endpoint.cli.serve import GRACE, Serving, load_app, serve_app, serve_directory
from endpoint.config import Config
from endpoint.hq import ALPN as HQ
from endpoint.http.lifespan import LifespanMode
from endpoint.http.requests import ALPN as H3
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
    _add_site_options(parser)
    parser.add_argument(
        "--grace",
        type=seconds,
        default=GRACE,
        metavar="S",
        help="seconds for requests to be answered after SIGTERM or SIGINT; a second signal "
        f"ends them at once (default: {GRACE:g})",
    )
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
    parser.add_argument(
        "--alt-svc",
        action="store_true",
        help="print the field by which an HTTP/1.1 or HTTP/2 server of the same name sends its clients here",
    )
    add_common_options(parser, alpn=(H3, HQ))
    parser.set_defaults(alpn=None)  # it depends on what is served


def _add_site_options(parser: argparse.ArgumentParser) -> None:
    """What is served."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--root", default=".", metavar="DIR", help="directory to serve (default: this one)")
    what.add_argument(
        "--app",
        metavar="MODULE:NAME",
        help=f"ASGI application to serve instead, over {H3} only; the module may be in this directory",
    )
    parser.add_argument(
        "--lifespan",
        type=LifespanMode,
        choices=list(LifespanMode),
        default=LifespanMode.AUTO,
        metavar="WHEN",
        help="tell the application of start and end: on, off, or auto, if it knows that (default: auto)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    if (args.cert is None) != (args.key is None):
        raise CommandError("--cert and --key come together")
    if args.key_file is None:
        keys = KeyRing.generate(os.urandom, time.time())
    else:
        keys = open_key_ring(args.key_file)
    app = None if args.app is None else load_app(args.app)
    if args.alpn is None:
        args.alpn = (H3, HQ) if app is None else (H3,)
    if args.alt_svc and H3 not in args.alpn:
        raise CommandError(f"--alt-svc is about {H3}, which is not in --alpn")
    tls = make_tls(args)
    raise_file_limit()
    with open_keylog(args.keylog) as keylog:
        serving = Serving(
            host=args.host,
            port=args.port,
            tls=tls,
            config=_server_config(args),
            keylog=keylog,
            gso=not args.no_gso,
            gro=not args.no_gro,
            reuse_address=args.reuse_address,
            keys=keys,
            early_data=args.early_data,
            admission=args.retry,
            grace=args.grace,
            alt_svc=args.alt_svc,
        )
        if app is None:
            return signals.run(serve_directory(args.root, serving))
        return signals.run(serve_app(args.app, app, args.lifespan, serving))


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
