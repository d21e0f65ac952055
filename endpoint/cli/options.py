"""Options that several commands share, and what they become."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from endpoint.cli.errors import CommandError, explain_file
from endpoint.config import Config, CongestionAlgorithm
from endpoint.hq import ALPN
from endpoint.keyring import KeyRing
from endpoint.tls.certificates import load_certificates, load_private_key
from endpoint.tls.suites import CIPHER_SUITES
from endpoint.tracing.qlog import QLOG_LEVELS, QlogFolder
from endpoint.wire.version import QUIC_V1, QUIC_V2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from endpoint.tls.signatures import PrivateKey

KeyLog = Callable[[str], None]

# RFC 9000 §14: nothing smaller carries QUIC; the largest is what a UDP datagram can hold over IPv4.
MIN_UDP_PAYLOAD = 1200
MAX_UDP_PAYLOAD = 65507

_VERSIONS = {"v1": QUIC_V1, "v2": QUIC_V2}
_SUITES = {suite.name: suite.id for suite in CIPHER_SUITES.values()}


def add_common_options(parser: argparse.ArgumentParser, *, alpn: tuple[str, ...] = (ALPN,)) -> None:
    """The transport and TLS options of both roles; `alpn` are the default application protocols."""
    parser.add_argument(
        "--alpn",
        type=_names,
        default=alpn,
        metavar="LIST",
        help=f"application protocols, most preferred first, separated by commas (default: {','.join(alpn)})",
    )
    parser.add_argument(
        "--cipher-suites",
        type=_cipher_suites,
        metavar="LIST",
        help=f"cipher suites, most preferred first, separated by commas: {', '.join(_SUITES)}",
    )
    parser.add_argument(
        "--congestion",
        type=CongestionAlgorithm,
        choices=list(CongestionAlgorithm),
        default=CongestionAlgorithm.CUBIC,
        metavar="NAME",
        help="congestion controller: cubic or newreno (default: cubic)",
    )
    parser.add_argument(
        "--max-udp-payload",
        type=_udp_payload,
        metavar="N",
        help=f"longest UDP payload to send, {MIN_UDP_PAYLOAD} to {MAX_UDP_PAYLOAD} bytes",
    )
    parser.add_argument(
        "--no-pmtud", action="store_true", help="don't search for the longest UDP payload that the path takes"
    )
    parser.add_argument("--no-ecn", action="store_true", help="don't mark packets as capable of ECN")
    parser.add_argument(
        "--keylog",
        default=os.environ.get("SSLKEYLOGFILE") or None,
        metavar="FILE",
        help="append the secrets of all connections, for Wireshark (default: $SSLKEYLOGFILE)",
    )
    parser.add_argument(
        "--versions",
        type=_versions,
        metavar="LIST",
        help=f"QUIC versions to speak, most preferred first, of {', '.join(_VERSIONS)} (default: v1,v2)",
    )
    _add_qlog_options(parser)
    parser.add_argument("--no-gso", action="store_true", help="don't let the kernel cut batches on sending")
    parser.add_argument("--no-gro", action="store_true", help="don't let the kernel join received datagrams")


def _add_qlog_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--qlog-dir",
        default=os.environ.get("QLOGDIR") or None,
        metavar="DIR",
        help="write a qlog trace of every connection there (default: $QLOGDIR)",
    )
    parser.add_argument(
        "--qlog-level",
        choices=QLOG_LEVELS,
        default="extra",
        metavar="LEVEL",
        help="least important events in a trace: core, base or extra (default: extra)",
    )
    parser.add_argument(
        "--qlog-sample",
        type=positive_number,
        default=1,
        metavar="N",
        help="trace only every Nth of the events that come with each packet, after 1000 (default: 1)",
    )


def make_config(args: argparse.Namespace) -> Config:
    """The transport settings that the options ask for."""
    config = Config(
        congestion=args.congestion,
        pmtud=not args.no_pmtud,
        ecn=not args.no_ecn,
        tracer=None
        if args.qlog_dir is None
        else QlogFolder(args.qlog_dir, args.qlog_level, sample=args.qlog_sample),
    )
    if args.max_udp_payload is not None:
        config = replace(
            config, max_udp_payload_size=args.max_udp_payload, max_mtu_probe=args.max_udp_payload
        )
    if args.versions is not None:
        first = config.initial_version if config.initial_version in args.versions else args.versions[0]
        config = replace(config, versions=args.versions, initial_version=first)
    return config


def open_key_ring(path: str) -> KeyRing:
    """The keys of a file, which is made, for its owner only, if it is missing. Raises CommandError."""
    file = Path(path)
    try:
        with suppress(FileNotFoundError):
            return KeyRing.load(file.read_bytes(), os.urandom)
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        try:
            with open(descriptor, "wb") as new:
                new.write(KeyRing.generate(os.urandom, time.time()).dump())
            # Of two servers that are started together the second takes the keys of the first.
            with suppress(FileExistsError):
                os.link(name, file)
        finally:
            os.unlink(name)
        return KeyRing.load(file.read_bytes(), os.urandom)
    except OSError as error:
        raise explain_file("key file", path, error) from error
    except ValueError as error:
        raise CommandError(f"key file {path}: {error}") from error


def open_keylog(path: str | None) -> AbstractContextManager[KeyLog | None]:
    """A function that appends lines to the file, each on disk at once; None without a path.

    Raises CommandError when the file can't be opened.
    """
    return nullcontext(None) if path is None else _keylog(path)


@contextmanager
def _keylog(path: str) -> "Iterator[KeyLog]":
    try:
        file = open(path, "a", buffering=1, encoding="ascii")  # noqa: SIM115 - closed below
    except OSError as error:
        raise explain_file("key log", path, error) from error
    failed = False

    def write(line: str) -> None:
        nonlocal failed
        try:
            file.write(line + "\n")
        except OSError as error:
            # Connections go on without it.
            if not failed:
                print(f"interquic: {explain_file('key log', path, error)}", file=sys.stderr)
            failed = True

    with file:
        yield write


def read_certificates(what: str, path: str) -> "tuple[x509.Certificate, ...]":
    """The certificates of a PEM file, called `what` in the CommandError where there are none."""
    try:
        return load_certificates(Path(path).read_bytes())
    except OSError as error:
        raise explain_file(what, path, error) from error
    except ValueError as error:
        raise CommandError(f"{what} {path}: no certificate in PEM format in it") from error


def read_private_key(path: str) -> "PrivateKey":
    """The private key of a PEM file. Raises CommandError."""
    try:
        return load_private_key(Path(path).read_bytes())
    except OSError as error:
        raise explain_file("private key", path, error) from error
    except ValueError as error:
        raise CommandError(f"private key {path}: no usable private key in PEM format in it") from error


def raise_file_limit() -> None:
    """Allow as many open files as the system permits: every transfer has one."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return  # some systems allow less than they say; the soft limit has to do


def port_number(text: str) -> int:
    """A port, 0 for any; for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 65535")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("at least one name is needed")
    return names


def version_number(text: str) -> int:
    """The number of a QUIC version by its name; for argparse."""
    if text.lower() not in _VERSIONS:
        raise argparse.ArgumentTypeError(f"unknown QUIC version {text}, not one of {', '.join(_VERSIONS)}")
    return _VERSIONS[text.lower()]


def seconds(text: str) -> float:
    """A time that is not negative; for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def numeric_address(text: str) -> tuple[str, int]:
    """A numeric host and a port, 192.0.2.1:443 or [2001:db8::1]:443; for argparse."""
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        address = None
    if address is None or (address.version == 6) != (host.startswith("[") and host.endswith("]")):
        raise argparse.ArgumentTypeError(f"{text} is not an address like 192.0.2.1:443 or [2001:db8::1]:443")
    return str(address), port_number(port)


def positive_number(text: str) -> int:
    """A whole number above 0; for argparse."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def _versions(text: str) -> tuple[int, ...]:
    versions = tuple(version_number(name) for name in _names(text))
    if len(set(versions)) != len(versions):
        raise argparse.ArgumentTypeError(f"{text} names a version twice")
    return versions


def _cipher_suites(text: str) -> tuple[int, ...]:
    unknown = [name for name in _names(text) if name.upper() not in _SUITES]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown cipher suite {unknown[0]}")
    return tuple(_SUITES[name.upper()] for name in _names(text))


def _udp_payload(text: str) -> int:
    try:
        size = int(text)
    except ValueError:
        size = 0
    if not MIN_UDP_PAYLOAD <= size <= MAX_UDP_PAYLOAD:
        raise argparse.ArgumentTypeError(f"{text} is not between {MIN_UDP_PAYLOAD} and {MAX_UDP_PAYLOAD}")
    return size


def make_tls_error(error: ValueError) -> CommandError:
    """TLS settings that can't work together, such as a key that is not the certificate's."""
    return CommandError(str(error))
