"""`interquic client`: download URLs, or make one request as curl does."""

import argparse
import os
import time
from dataclasses import replace

from endpoint.cli import signals
from endpoint.cli.curl import HTTP_FAILED, Connecting
from endpoint.cli.curl import run as curl
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
from endpoint.hq import ALPN as HQ_ALPN
from endpoint.http.requests import ALPN as H3_ALPN
from endpoint.io.files import Downloads
from endpoint.io.sessions import SessionStore, SessionStoreError
from endpoint.tls.config import TlsConfig
from endpoint.tls.suites import CIPHER_SUITES

# Those that say something about one request.
_REQUEST_OPTIONS = (
    "request",
    "header",
    "data",
    "upload_file",
    "head",
    "include",
    "location",
    "fail",
    "verbose",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("urls", nargs="+", metavar="URL", help="https://HOST[:PORT]/NAME")
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="one URL: the file for the answer (default: standard output). A folder that exists, or with / at"
        " its end: where to put files, which is how several URLs are downloaded (default: here)",
    )
    _add_request_options(parser)
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--ca", metavar="FILE", help="trust these roots, PEM, instead of the usual ones")
    trust.add_argument("--insecure", action="store_true", help="accept any certificate")
    parser.add_argument(
        "--connection-per-url", action="store_true", help="one connection after the other, each for one URL"
    )
    parser.add_argument(
        "-q", "--quiet", "-s", "--silent", action="store_true", help="say nothing unless something fails"
    )
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
    add_common_options(parser, alpn=(H3_ALPN, HQ_ALPN))


def _add_request_options(parser: argparse.ArgumentParser) -> None:
    """The habits of curl."""
    request = parser.add_argument_group("one URL, over HTTP/3, without a folder to put files")
    request.add_argument("-X", "--request", metavar="METHOD", help="the method (default: GET)")
    request.add_argument(
        "-H", "--header", action="append", metavar="FIELD", help='"NAME: VALUE"; "NAME:" leaves ours out'
    )
    request.add_argument(
        "-d",
        "--data",
        action="append",
        metavar="DATA",
        help="POST this, or what is in @FILE without its line ends (@-: standard input); joined by &",
    )
    request.add_argument("-T", "--upload-file", metavar="FILE", help="PUT this file (-: standard input)")
    request.add_argument("-I", "--head", action="store_true", help="ask with HEAD, and show the header")
    request.add_argument("-i", "--include", action="store_true", help="show the header before the body")
    request.add_argument("-L", "--location", action="store_true", help="follow redirections")
    request.add_argument(
        "-f", "--fail", action="store_true", help=f"exit status {HTTP_FAILED} for a status of 400 and above"
    )
    request.add_argument(
        "-v", "--verbose", action="store_true", help="tell about connection, headers and times on stderr"
    )


def run(args: argparse.Namespace) -> int:
    """Download all URLs, or make one request; 0 when every file, or the answer, is complete."""
    into_folder = _into_folder(args)
    urls = parse_urls(args.urls) if into_folder else []
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
        if into_folder:
            return signals.run(_download(args, urls, tls, config, keylog))
        return signals.run(_request(args, tls, config, keylog))


def _into_folder(args: argparse.Namespace) -> bool:
    """Whether files go to a folder, under the names in their URLs. Raises CommandError for a mixture."""
    output = args.output or ""
    if len(args.urls) == 1 and H3_ALPN in args.alpn and not (os.path.isdir(output) or output.endswith("/")):
        if args.connection_per_url or args.migrate is not None:
            raise CommandError("--connection-per-url and --migrate are for downloads: say -o FOLDER/")
        return False
    for name in _REQUEST_OPTIONS:
        if getattr(args, name):
            option = name.replace("_", "-")
            raise CommandError(
                f"--{option} is for one URL over HTTP/3, and -o then names a file, if anything"
            )
    return True


async def _request(args: argparse.Namespace, tls: TlsConfig, config: Config, keylog: KeyLog | None) -> int:
    connecting = Connecting(
        tls=tls,
        config=config,
        keylog=keylog,
        store=_open_sessions(args.session_file),
        early_data=args.early_data,
        gso=not args.no_gso,
        gro=not args.no_gro,
    )
    return await curl(args, args.urls[0], connecting)


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
        downloads = Downloads(args.output or ".")
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
