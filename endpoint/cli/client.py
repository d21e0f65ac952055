"""`interquic client`: download URLs."""

import argparse
import time
from dataclasses import replace

from endpoint.cli import signals
from endpoint.cli.download import Downloader, Url, parse_urls
from endpoint.cli.errors import CommandError, explain_disk
from endpoint.cli.options import (
    KeyLog,
    add_common_options,
    make_config,
    make_tls_error,
    open_keylog,
    positive_number,
    raise_file_limit,
    read_certificates,
    seconds,
    version_number,
)
from endpoint.cli.progress import show_progress, summary
from endpoint.config import Config
from endpoint.io.files import Downloads
from endpoint.io.sessions import SessionStore, SessionStoreError
from endpoint.tls.config import TlsConfig
from endpoint.tls.suites import CIPHER_SUITES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("urls", nargs="+", metavar="URL", help="https://HOST[:PORT]/NAME")
    parser.add_argument(
        "-o", "--output", default=".", metavar="DIR", help="where to put files (default: here)"
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--ca", metavar="FILE", help="trust these roots, PEM, instead of the usual ones")
    trust.add_argument("--insecure", action="store_true", help="accept any certificate")
    parser.add_argument(
        "--connection-per-url", action="store_true", help="one connection after the other, each for one URL"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing unless something fails")
    parser.add_argument(
        "--session-file",
        metavar="FILE",
        help="keep sessions and tokens of the servers here, and resume those that are in it",
    )
    parser.add_argument(
        "--early-data",
        action="store_true",
        help="send requests before the handshake where a session allows it (0-RTT)",
    )
    parser.add_argument(
        "--quic-version",
        type=version_number,
        metavar="V",
        help="the version to begin in: v1 or v2 (default: v1, or the first of --versions)",
    )
    parser.add_argument(
        "--key-update",
        type=positive_number,
        metavar="N",
        help="change the packet keys whenever some N packets went either way",
    )
    parser.add_argument(
        "--migrate",
        type=seconds,
        metavar="S",
        help="move each connection to another local port, S seconds after it was made",
    )
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Download all URLs; 0 when every file is complete."""
    urls = parse_urls(args.urls)
    config = _client_config(args)
    if args.early_data and args.session_file is None:
        raise CommandError("--early-data needs a --session-file")
    roots = None if args.ca is None else read_certificates("certificates", args.ca)
    try:
        tls = TlsConfig(
            alpn_protocols=args.alpn,
            cipher_suites=args.cipher_suites or tuple(CIPHER_SUITES),
            trusted_roots=roots,
            insecure=args.insecure,
        )
    except ValueError as error:
        raise make_tls_error(error) from error
    raise_file_limit()
    with open_keylog(args.keylog) as keylog:
        return signals.run(_download(args, urls, tls, config, keylog))


def _client_config(args: argparse.Namespace) -> Config:
    config = replace(make_config(args), key_update_after=args.key_update)
    if args.quic_version is None:
        return config
    if args.quic_version not in config.versions:
        raise CommandError("--quic-version is not among the --versions")
    return replace(config, initial_version=args.quic_version)


def _open_sessions(path: str | None) -> SessionStore | None:
    if path is None:
        return None
    store = SessionStore(path)
    try:
        store.check()
    except SessionStoreError as error:
        raise CommandError(str(error)) from error
    return store


async def _download(
    args: argparse.Namespace, urls: list[Url], tls: TlsConfig, config: Config, keylog: KeyLog | None
) -> int:
    start = time.monotonic()
    store = _open_sessions(args.session_file)
    try:
        downloads = Downloads(args.output)
    except OSError as error:
        raise explain_disk(error) from error
    downloader = Downloader(
        downloads,
        tls=tls,
        config=config,
        keylog=keylog,
        connection_per_url=args.connection_per_url,
        store=store,
        early_data=args.early_data,
        migrate_after=args.migrate,
        gso=not args.no_gso,
        gro=not args.no_gro,
    )
    try:
        if args.quiet:
            await downloader.run(urls)
        else:
            async with show_progress(downloads, len(urls)):
                await downloader.run(urls)
    finally:
        downloads.close()
    if not args.quiet:
        for line in downloader.resumptions:
            print(line)
        print(summary(len(downloads.completed), downloads.received, time.monotonic() - start))
    return 0
