"""The request that options in the manner of curl ask for."""

import argparse
import asyncio
import os
import stat
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from endpoint.cli.errors import CommandError, explain_file
from endpoint.http.response import Body

# A file is sent in pieces of this size.
_PIECE = 512 * 1024
_STDIN = "-"
# What says something about a body, and does not go on without it.
_ABOUT_BODIES = frozenset(("content-type", "content-length", "content-encoding"))
# What is for one origin: another has no business to see it, or is not called so.
_OF_ORIGIN = frozenset(("authorization", "cookie", "host", "proxy-authorization"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CurlRequest:
    """Method, fields and body. `method_given`: it stays what it is when a redirection is followed."""

    method: str
    method_given: bool
    fields: tuple[tuple[str, str], ...]
    data: bytes | None = None
    upload: str | None = None

    @classmethod
    def read(cls, args: argparse.Namespace) -> "CurlRequest":
        """What the options say. Raises CommandError for those that don't go together, or name no file."""
        if sum((args.data is not None, args.upload_file is not None, args.head)) > 1:
            raise CommandError("only one of -d, -T and -I can be used")
        fields = {"user-agent": f"interquic/{version('interquic')}", "accept": "*/*"}
        data = None if args.data is None else b"&".join(_read_data(each) for each in args.data)
        if data is not None:
            fields["content-type"] = "application/x-www-form-urlencoded"
        if args.upload_file not in {None, _STDIN} and (size := _size(args.upload_file)) is not None:
            fields["content-length"] = str(size)
        usual = "HEAD" if args.head else "PUT" if args.upload_file else "GET" if data is None else "POST"
        return cls(
            method=args.request or usual,
            method_given=args.request is not None,
            fields=_with_headers(fields, args.header or ()),
            data=data,
            upload=args.upload_file,
        )

    def with_credentials(self, url: str) -> "CurlRequest":
        """With the user and password of https://USER:PASSWORD@HOST, unless -H says who asks (RFC 7617 §2)."""
        user, at, _ = urlsplit(url).netloc.rpartition("@")
        if not at or any(name.lower() == "authorization" for name, _ in self.fields):
            return self
        name, _, password = user.partition(":")
        credentials = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
        field = ("authorization", f"Basic {b64encode(credentials).decode()}")
        return replace(self, fields=(*self.fields, field))

    async def open_body(self) -> Body | None:
        """The body from its beginning; waits for nothing but a file. Raises CommandError."""
        if self.upload is None:
            return self.data
        if self.upload == _STDIN:
            return _pieces(sys.stdin.buffer, _STDIN)
        try:
            # In a thread: of a named pipe this waits for who writes.
            return _pieces(await asyncio.to_thread(open, self.upload, "rb"), self.upload)
        except OSError as error:
            raise explain_file("file", self.upload, error) from error

    def redirected(self, status: int, *, same_origin: bool) -> "CurlRequest":
        """The request that follows a redirection, as curl makes it (RFC 9110 §15.4).

        Raises CommandError where it needs a body that can't be had again.
        """
        request = self
        becomes_get = (status == 303 and self.method != "HEAD") or (
            status in {301, 302} and self.method == "POST"
        )
        if becomes_get:
            kept = tuple(field for field in self.fields if field[0].lower() not in _ABOUT_BODIES)
            method = self.method if self.method_given else "GET"
            request = replace(self, method=method, fields=kept, data=None, upload=None)
        elif self.upload == _STDIN:
            raise CommandError("the redirection wants what came from standard input again")
        if not same_origin:
            kept = tuple(field for field in request.fields if field[0].lower() not in _OF_ORIGIN)
            request = replace(request, fields=kept)
        return request


def upload_url(url: str, file: str | None) -> str:
    """The URL to upload `file` to: one that ends in "/" is a folder, to which the file's name is added.

    Raises CommandError for what is no URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise CommandError(f"{url}: {error}") from error
    if file in {None, _STDIN} or not parts.path.endswith("/") or parts.query:
        return url
    return url + Path(str(file)).name


def _with_headers(fields: dict[str, str], given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Ours, replaced by those of -H: "NAME: VALUE", "NAME;" for an empty value, "NAME:" to leave it out."""
    own: list[tuple[str, str]] = []
    for each in given:
        name, colon, value = each.partition(":")
        name, value = name.strip(), value.strip()
        if not colon and name.endswith(";"):
            name = name[:-1]
        elif not colon or not name:
            raise CommandError(f"-H {each}: not of the form NAME: VALUE")
        fields.pop(name.lower(), None)
        if value or not colon:
            own.append((name, value))
    return (*fields.items(), *own)


def _read_data(text: str) -> bytes:
    """What -d says; @FILE is read, and like curl's loses its line ends."""
    if not text.startswith("@"):
        return text.encode()
    name = text[1:]
    try:
        content = sys.stdin.buffer.read() if name == _STDIN else Path(name).read_bytes()
    except OSError as error:
        raise explain_file("file", name, error) from error
    return content.translate(None, b"\r\n\0")


def _size(name: str) -> int | None:
    """Bytes in a file; None for a pipe, which does not tell."""
    try:
        status = os.stat(name)
    except OSError as error:
        raise explain_file("file", name, error) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None


async def _pieces(file: BinaryIO, name: str) -> AsyncIterator[bytes]:
    """What is in a file, or comes by standard input, as it comes. Raises CommandError."""
    try:
        while piece := await asyncio.to_thread(_read_piece, file):
            yield piece
    except OSError as error:
        raise explain_file("file", name, error) from error
    finally:
        if name != _STDIN:
            file.close()


def _read_piece(file: BinaryIO) -> bytes:
    """In a thread: nobody knows when a pipe, or somebody who types, gives something."""
    return file.read1(_PIECE) if isinstance(file, BufferedReader) else file.read(_PIECE)
