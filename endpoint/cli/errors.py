"""Failures as one clear line on standard error."""

import errno
import socket

from endpoint.events import ConnectionClosed
from endpoint.io.streams import describe_close


class CommandError(Exception):
    """A command can't go on; the message is the line that the user reads."""


def explain_bind(host: str | None, port: int, error: OSError) -> CommandError:
    """Why a server could not have its address."""
    where = f"port {port}" if not host else f"{host} port {port}"
    match error.errno:
        case errno.EADDRINUSE:
            return CommandError(f"{where} is in use by another program")
        case errno.EACCES | errno.EPERM:
            return CommandError(f"no permission to use {where}")
        case errno.EADDRNOTAVAIL:
            return CommandError(f"{host} is not an address of this machine")
    if isinstance(error, socket.gaierror):
        return CommandError(f"can't resolve {host}: {error.strerror}")
    return CommandError(f"can't use {where}: {error.strerror or error}")


def explain_file(what: str, path: str, error: OSError) -> CommandError:
    """Why a file that the user named can't be used."""
    return CommandError(f"{what} {path}: {error.strerror or error}")


def explain_disk(error: OSError) -> CommandError:
    """Why a download could not be stored."""
    if error.errno == errno.ENOSPC:
        return CommandError("the disk is full")
    where = f" {error.filename}" if error.filename else ""
    return CommandError(f"can't write{where}: {error.strerror or error}")


def explain_close(authority: str, closed: ConnectionClosed, *, handshake: bool) -> CommandError:
    """How a connection ended that should not have."""
    during = "handshake failed: " if handshake else ""
    return CommandError(f"{authority}: {during}{describe_close(closed)}")
