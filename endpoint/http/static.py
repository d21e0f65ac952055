"""What an HTTP server answers for a file (RFC 9110): methods, conditions, ranges and types.

Files and folders whose names begin with a dot are not found, but for `/.well-known/` (RFC 8615).
"""

import io
import mimetypes
import os
import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

from endpoint.h3.events import Headers
from endpoint.io.files import Directory

INDEX = "index.html"

# The types that the standard library does not know in every version that we run on, or calls otherwise.
_OWN_TYPES = {
    ".avif": "image/avif",
    ".js": "text/javascript",  # RFC 9239
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
# What `mimetypes` takes for a coding of something else is here a type of its own: the file is sent as it is.
_CODED_TYPES = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_UNKNOWN_TYPE = "application/octet-stream"

_CONDITIONAL = frozenset(
    (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range")
)
_entity_tags = re.compile(rb'(?:W/)?"[!#-~\x80-\xff]*"').findall
# RFC 9110 §14.1.2, one range: more may be answered with all of it (§14.2).
_one_range = re.compile(rb"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.IGNORECASE).fullmatch


@dataclass(slots=True)
class Response:
    """An answer. `headers` are fields without `:status`, with Content-Length where there may be one.

    `content` is positioned at `start`, its `length` bytes are to be sent; whoever takes it closes it.
    None: there is no content, `length` is 0 then.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    content: BinaryIO | None = None
    start: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class _Validators:
    """What tells one state of a file from another (RFC 9110 §8.8)."""

    entity_tag: bytes
    modified: int  # seconds
    date_is_strong: bool


def respond(directory: Directory, method: bytes, path: bytes, headers: Headers, *, now: float) -> Response:
    """The answer to a request for `path`, as `:path` has it, with a query or not.

    `headers` are the fields of the request, pseudo-headers or not; `now` is seconds of the epoch (UTC).
    Never raises: a file that can't be opened is a 403 or 500.
    """
    date = (b"date", _http_date(int(now)))
    if method not in (b"GET", b"HEAD"):
        answer = _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        answer.headers.append((b"allow", b"GET, HEAD"))
    else:
        answer = _look_up(directory, path, method, headers, now)
    answer.headers.insert(0, date)
    if method == b"HEAD" and answer.content is not None:
        answer.content.close()
        answer.content = None
        answer.start = answer.length = 0
    return answer


@lru_cache(maxsize=1024)
def content_type(name: str) -> str:
    """The media type that the name of a file stands for."""
    own = _OWN_TYPES.get(os.path.splitext(name)[1].lower())
    kind, coding = (own, None) if own else _TYPES.guess_type(name)
    if coding is not None:
        return _CODED_TYPES.get(coding, _UNKNOWN_TYPE)
    if kind is None:
        return _UNKNOWN_TYPE
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


# Without the files of the system: an answer depends on nothing but the file.
_TYPES = mimetypes.MimeTypes()


def _look_up(directory: Directory, path: bytes, method: bytes, headers: Headers, now: float) -> Response:
    raw, question, query = path.partition(b"?")
    try:
        name = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return _plain(HTTPStatus.NOT_FOUND)
    try:
        if not name.endswith("/"):
            file = directory.open(name)
            if file is None and directory.has_folder(name):
                # Only the path, so that no name can make a reference to another host of it.
                answer = _plain(HTTPStatus.MOVED_PERMANENTLY)
                answer.headers.append((b"location", raw + b"/" + question + query))
                return answer
        else:
            name += INDEX
            file = directory.open(name)
    except PermissionError:
        return _plain(HTTPStatus.FORBIDDEN)
    except OSError:
        return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)
    if file is None:
        return _plain(HTTPStatus.NOT_FOUND)
    return _answer_file(file, content_type(name), method, headers, now)


def _answer_file(file: BinaryIO, kind: str, method: bytes, headers: Headers, now: float) -> Response:
    found = os.fstat(file.fileno())
    modified = min(int(found.st_mtime), int(now))  # RFC 9110 §8.8.2.1: never later than Date
    size = found.st_size
    conditions = _conditional_fields(headers)
    if not conditions:
        fields = [*_file_fields(kind, found.st_mtime_ns, size, modified), (b"content-length", b"%d" % size)]
        return Response(HTTPStatus.OK, fields, file, 0, size)
    validators = _Validators(
        _entity_tag(found.st_mtime_ns, size),
        modified,
        modified < int(now),  # RFC 9110 §8.8.2.2: what changes later in the same second has the same date
    )
    refused = _failed_condition(conditions, validators)
    if refused is not None:
        file.close()
        if refused is HTTPStatus.NOT_MODIFIED:
            return Response(refused, [(b"etag", validators.entity_tag)])
        return _plain(refused)
    fields = [*_file_fields(kind, found.st_mtime_ns, size, modified)]
    wanted = _wanted_range(conditions, size, validators) if method == b"GET" else None
    if wanted is None:
        fields.append((b"content-length", b"%d" % size))
        return Response(HTTPStatus.OK, fields, file, 0, size)
    start, length = wanted
    if length == 0:
        file.close()
        answer = _plain(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        answer.headers.append((b"content-range", b"bytes */%d" % size))
        return answer
    fields.append((b"content-length", b"%d" % length))
    fields.append((b"content-range", b"bytes %d-%d/%d" % (start, start + length - 1, size)))
    file.seek(start)
    return Response(HTTPStatus.PARTIAL_CONTENT, fields, file, start, length)


@lru_cache(maxsize=1024)
def _file_fields(kind: str, modified_ns: int, size: int, modified: int) -> tuple[tuple[bytes, bytes], ...]:
    """What every answer with (a part of) a file says; the same objects while the file is the same."""
    return (
        (b"content-type", kind.encode()),
        (b"etag", _entity_tag(modified_ns, size)),
        (b"last-modified", _http_date(modified)),
        (b"accept-ranges", b"bytes"),
    )


def _entity_tag(modified_ns: int, size: int) -> bytes:
    return b'"%x-%x"' % (modified_ns, size)


def _plain(status: HTTPStatus) -> Response:
    """An answer that is about no file: what happened, for a human."""
    text = f"{status.value} {status.phrase}\n".encode()
    fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
    return Response(status, fields, io.BytesIO(text), 0, len(text))


def _conditional_fields(headers: Headers) -> dict[bytes, bytes]:
    """The fields that decide between answers; several lines of one are a list (RFC 9110 §5.3)."""
    found: dict[bytes, bytes] = {}
    if _CONDITIONAL.isdisjoint([name for name, _ in headers]):
        return found
    for name, value in headers:
        if name in _CONDITIONAL:
            found[name] = found[name] + b", " + value if name in found else value
    return found


def _failed_condition(fields: dict[bytes, bytes], validators: _Validators) -> HTTPStatus | None:
    """The preconditions in their order of precedence (RFC 9110 §13.2.2); what to answer if one fails."""
    if (wanted := fields.get(b"if-match")) is not None:
        if wanted != b"*" and validators.entity_tag not in _entity_tags(wanted):
            return HTTPStatus.PRECONDITION_FAILED
    elif (since := _seconds(fields.get(b"if-unmodified-since"))) is not None and validators.modified > since:
        return HTTPStatus.PRECONDITION_FAILED
    if (known := fields.get(b"if-none-match")) is not None:
        if known == b"*" or validators.entity_tag in [tag.removeprefix(b"W/") for tag in _entity_tags(known)]:
            return HTTPStatus.NOT_MODIFIED
    elif (since := _seconds(fields.get(b"if-modified-since"))) is not None and validators.modified <= since:
        return HTTPStatus.NOT_MODIFIED
    return None


def _wanted_range(fields: dict[bytes, bytes], size: int, validators: _Validators) -> tuple[int, int] | None:
    """Start and length that Range asks for (RFC 9110 §14.2), length 0 if there is no such part; None: all."""
    match = _one_range(fields.get(b"range", b""))
    if match is None or not _range_applies(fields.get(b"if-range"), validators):
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        length = min(int(last), size)  # the last bytes
        return size - length, length
    start = int(first)
    stop = int(last) + 1 if last else size
    if stop <= start and last:
        return None  # not a range: the field is invalid
    return start, max(0, min(stop, size) - start)


def _range_applies(condition: bytes | None, validators: _Validators) -> bool:
    """RFC 9110 §13.1.5: the part is of use only if the rest, which the client has, is of the same state."""
    if condition is None:
        return True
    if condition.endswith(b'"'):
        return condition == validators.entity_tag  # the strong comparison: ours is, and a weak one differs
    return validators.date_is_strong and _seconds(condition) == validators.modified


@lru_cache(maxsize=256)
def _http_date(seconds: int) -> bytes:
    """RFC 9110 §5.6.7, the form to send."""
    return formatdate(seconds, usegmt=True).encode()


def _seconds(date: bytes | None) -> int | None:
    """An HTTP-date in any of its three forms (RFC 9110 §5.6.7) in seconds of the epoch; None: not a date."""
    if date is None:
        return None
    try:
        moment = parsedate_to_datetime(date.decode("latin-1"))
        # An asctime-date names no zone; all HTTP-dates are in UTC.
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
