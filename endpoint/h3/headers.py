"""Rules for field sections (RFC 9114 §4.2, §4.3): what makes a request, a response or trailers malformed.

The same functions check what the peer sent and what we are about to send.
"""

import re
from typing import NamedTuple, NoReturn

from endpoint.errors import InterquicError
from endpoint.h3.events import Headers

# RFC 9114 §4.2.2: what a field weighs beyond its name and value.
FIELD_OVERHEAD = 32


class MessageError(InterquicError, ValueError):
    """The message is malformed (RFC 9114 §4.1.2). From the peer: a stream error H3_MESSAGE_ERROR.

    Where it is our own message, this is the ValueError of whoever made it.
    """


class RequestHead(NamedTuple):
    """What the header section of a valid request says; empty where it has no such pseudo-header field.

    `authority` is that of the Host field where there is no `:authority`. `protocol` is None unless this
    is an extended CONNECT (RFC 9220). `content_length` is None if unknown, and for every CONNECT. `priority`
    is the Priority field (RFC 9218 §5), None without. `size` is what `field_section_size` gives.
    """

    method: bytes
    scheme: bytes
    authority: bytes
    path: bytes
    protocol: bytes | None
    content_length: int | None
    priority: bytes | None = None
    size: int = 0


class ResponseHead(NamedTuple):
    """What the header section of a valid response says; `content_length` is None if it says nothing.

    `size` is what `field_section_size` gives.
    """

    status: int
    content_length: int | None
    size: int = 0


_REQUEST_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))

# RFC 9114 §4.2, RFC 9110 §7.6.1: fields about a connection, which HTTP/3 tells by other means.
CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
# Fields whose values rules are about.
_ACTED_ON = frozenset((b"content-length", b"host", b"te"))
# Fields whose values are not kept beyond the message.
_SECRET = frozenset((b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"))

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_is_field_name = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
# RFC 9110 §5.5: no control characters but tab, no white space at either end.
_is_field_value = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?").fullmatch
_is_method = re.compile(_TOKEN).fullmatch
_USUAL_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"))
_is_protocol = re.compile(_TOKEN + rb"(?:/" + _TOKEN + rb")?").fullmatch
_is_scheme = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*").fullmatch
# Any visible octet: which of them a URI may have is a question of the resource. A fragment is never sent.
_is_path = re.compile(rb"/[!-\"$-~\x80-\xff]*").fullmatch
_is_opaque_path = re.compile(rb"[!-\"$-~\x80-\xff]*").fullmatch
# RFC 3986 §3.2: host and port, without the userinfo that RFC 9114 §4.3.1 forbids.
_HOST = rb"(?:\[[0-9A-Za-z:.\-_~!$&'()*+,;=%]+\]|[0-9A-Za-z\-._~!$&'()*+,;=%]+)"
_is_authority = re.compile(_HOST + rb"(?::[0-9]*)?").fullmatch
_is_host_and_port = re.compile(_HOST + rb":[0-9]{1,5}").fullmatch
_is_other_authority = re.compile(rb"[0-9A-Za-z\-._~!$&'()*+,;=%:@\[\]]+").fullmatch
_is_status = re.compile(rb"[1-9][0-9][0-9]").fullmatch
_USUAL_STATUS = frozenset((b"200", b"204", b"206", b"304", b"404"))
# RFC 9110 §8.6: a list of the same value, which some senders make of repeated fields, stands for it once.
_CONTENT_LENGTH_DIGITS = 19
_is_content_length = re.compile(rb"[0-9]{1,19}(?:[ \t]*,[ \t]*[0-9]{1,19})*").fullmatch

# Fields that passed before and that no rule is about: most messages of a connection repeat themselves.
_CACHED_FIELDS = 1024
_CACHED_LENGTH = 256
_passed: set[tuple[bytes, bytes]] = set()
_passed_authorities: set[bytes] = set()
# And whole header sections, by the tuple of their fields, but for what may be secret.
_CACHED_SECTIONS = 512
_CACHED_SIZE = 2048
_passed_requests: dict[Headers, RequestHead] = {}
_passed_responses: dict[Headers, ResponseHead] = {}


def validate_request(headers: Headers, *, extended_connect: bool = True) -> RequestHead:
    """Check the header section of a request (RFC 9114 §4.3.1). Raises MessageError.

    `extended_connect` tells whether `:protocol` is known: whether the server has said that it takes it.
    """
    section = tuple(headers)
    known = _passed_requests.get(section)
    if known is not None:
        return known
    pseudo = _pseudo_headers(headers)
    content_length: int | None = None
    host: bytes | None = None
    for name, value in _check_fields(headers[len(pseudo) :]):
        if name == b"content-length":
            content_length = _content_length(value, content_length)
        elif name == b"host":
            if host is not None:
                raise MessageError("more than one host field")
            host = value
        elif value.lower() != b"trailers":
            raise MessageError("te with another value than trailers")
    method = pseudo.get(b":method")
    if method is None:
        raise MessageError("a request without :method")
    size, priority = field_section_size(headers), _priority(headers)
    if method == b"CONNECT":
        content_length = None  # RFC 9110 §9.3.6: what follows is the tunnel's
        if b":protocol" not in pseudo:
            authority = _connect_target(pseudo, host)
            return RequestHead(method, b"", authority, b"", None, None, priority, size)
    protocol = pseudo.get(b":protocol")
    if protocol is not None:
        if not extended_connect:
            raise MessageError(":protocol without SETTINGS_ENABLE_CONNECT_PROTOCOL")
        if method != b"CONNECT":
            raise MessageError(":protocol in a request that is not CONNECT")  # RFC 8441 §4
        if not _is_protocol(protocol):
            raise MessageError("an invalid :protocol")
    elif method not in _USUAL_METHODS and not _is_method(method):
        raise MessageError("an invalid :method")
    scheme, authority, path = _target(pseudo, method, host)
    head = RequestHead(method, scheme, authority, path, protocol, content_length, priority, size)
    # Whether `:protocol` is known is another question each time, and a query may be secret.
    if protocol is None and b"?" not in path and _may_be_kept(headers, size):
        _make_room(_passed_requests)
        _passed_requests[section] = head
    return head


def validate_response(headers: Headers) -> ResponseHead:
    """Check the header section of a response, interim or final (RFC 9114 §4.3.2). Raises MessageError."""
    section = tuple(headers)
    known = _passed_responses.get(section)
    if known is not None:
        return known
    if not headers or headers[0][0] != b":status":
        raise MessageError("a response without :status")
    if len(headers) > 1 and headers[1][0] == b":status":
        raise MessageError(":status twice")
    status = headers[0][1]
    if status not in _USUAL_STATUS and not _is_status(status):
        raise MessageError("a :status that is not of three digits from 100")
    if status == b"101":
        raise MessageError(":status 101, which HTTP/3 does not have")  # RFC 9114 §4.5
    content_length: int | None = None
    for name, value in _check_fields(headers[1:]):
        if name == b"content-length":
            content_length = _content_length(value, content_length)
        elif name == b"te":
            raise MessageError("te in a response")
    size = field_section_size(headers)
    head = ResponseHead(int(status), content_length, size)
    if _may_be_kept(headers, size):
        _make_room(_passed_responses)
        _passed_responses[section] = head
    return head


def validate_trailers(headers: Headers) -> None:
    """Check a trailer section: fields only (RFC 9114 §4.3). Raises MessageError."""
    for name, _ in _check_fields(headers):
        if name == b"te":
            raise MessageError("te in trailers")


def expected_body(method: bytes, response: ResponseHead) -> int | None:
    """Bytes that the content of a response to `method` must have (RFC 9110 §6.4.1); None if not known.

    The Content-Length of a response that never has content tells of another one (RFC 9114 §4.1.2).
    """
    status = response.status
    if method == b"CONNECT" and 200 <= status < 300:
        return None  # RFC 9110 §9.3.6: a tunnel, whatever status and Content-Length say else
    if method == b"HEAD" or status in (204, 304) or status < 200:
        return 0
    return response.content_length


def join_cookies(headers: Headers) -> Headers:
    """The fields with one Cookie in place of several (RFC 9114 §4.2.1), for whoever is not HTTP/3."""
    crumbs = [value for name, value in headers if name == b"cookie"]
    if len(crumbs) < 2:
        return headers
    joined = [field for field in headers if field[0] != b"cookie"]
    first = next(index for index, field in enumerate(headers) if field[0] == b"cookie")
    joined.insert(first, (b"cookie", b"; ".join(crumbs)))
    return joined


def field_section_size(headers: Headers) -> int:
    """The size of a field section that SETTINGS_MAX_FIELD_SECTION_SIZE limits (RFC 9114 §4.2.2)."""
    return sum([len(name) + len(value) for name, value in headers]) + FIELD_OVERHEAD * len(headers)


def _pseudo_headers(headers: Headers) -> dict[bytes, bytes]:
    """The pseudo-header fields of a request. Others, and those that come later, are refused as fields."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in _REQUEST_PSEUDO:
            break
        if name in found:
            raise MessageError(f"{_shown(name)} twice")
        found[name] = value
    return found


def _check_fields(fields: Headers) -> Headers:
    """Check the characters of fields and that they may be there; return those that more rules are about."""
    acted_on: list[tuple[bytes, bytes]] = []
    for field in fields:
        if field in _passed:
            continue
        name, value = field
        if name == b"content-length" and value.isdigit():
            acted_on.append(field)
            continue
        if not _is_field_name(name):
            _refuse_name(name)
        if not _is_field_value(value):
            raise MessageError(f"the value of {_shown(name)} has characters that no field value has")
        if name in CONNECTION_SPECIFIC:
            raise MessageError(f"{_shown(name)}, which is about a connection of HTTP/1.1")
        if name in _ACTED_ON:
            acted_on.append(field)
        elif len(name) + len(value) <= _CACHED_LENGTH and name not in _SECRET:
            if len(_passed) >= _CACHED_FIELDS:
                _passed.clear()
            _passed.add(field)
    return acted_on


def _refuse_name(name: bytes) -> NoReturn:
    shown = _shown(name)
    if name in _REQUEST_PSEUDO or name == b":status":
        raise MessageError(f"{shown} where it must not be")
    if name.startswith(b":"):
        raise MessageError(f"the pseudo-header field {shown}, which nobody defined")
    if name != name.lower() and _is_field_name(name.lower()):
        raise MessageError(f"the field name {shown} is not lower case")
    raise MessageError(f"the field name {shown} has characters that no name has")


def _shown(name: bytes) -> str:
    """A name of the peer's for the text of an error, which goes to logs and into a CONNECTION_CLOSE."""
    return ascii(name[:40].decode("latin-1"))[1:-1] or "(empty)"


def _content_length(value: bytes, known: int | None) -> int:
    if value.isdigit() and len(value) <= _CONTENT_LENGTH_DIGITS:
        length = int(value)
    elif _is_content_length(value) and len({int(length) for length in value.split(b",")}) == 1:
        length = int(value.partition(b",")[0])
    else:
        raise MessageError("a content-length that is not a number, or several that contradict each other")
    if known is not None and length != known:
        raise MessageError("content-lengths that contradict each other")
    return length


def _may_be_kept(headers: Headers, size: int) -> bool:
    return size <= _CACHED_SIZE and _SECRET.isdisjoint([name for name, _ in headers])


def _make_room(cache: dict[Headers, RequestHead] | dict[Headers, ResponseHead]) -> None:
    if len(cache) >= _CACHED_SECTIONS:
        cache.clear()


def _check_authority(authority: bytes) -> None:
    if not _is_authority(authority):
        raise MessageError("an authority that is not a host with or without port")
    if len(authority) <= _CACHED_LENGTH:
        if len(_passed_authorities) >= _CACHED_FIELDS:
            _passed_authorities.clear()
        _passed_authorities.add(authority)


def _connect_target(pseudo: dict[bytes, bytes], host: bytes | None) -> bytes:
    """RFC 9114 §4.4: a tunnel to host and port, and nothing else."""
    if b":scheme" in pseudo or b":path" in pseudo:
        raise MessageError("CONNECT with :scheme or :path")
    authority = pseudo.get(b":authority", b"")
    if not _is_host_and_port(authority):
        raise MessageError("CONNECT without host and port in :authority")
    if host is not None and host != authority:
        raise MessageError(":authority and host differ")
    return authority


def _priority(headers: Headers) -> bytes | None:
    values = [value for name, value in headers if name == b"priority"]
    return b", ".join(values) if values else None


def _target(pseudo: dict[bytes, bytes], method: bytes, host: bytes | None) -> tuple[bytes, bytes, bytes]:
    """Scheme, authority and path of the target URI (RFC 9114 §4.3.1)."""
    scheme = pseudo.get(b":scheme")
    path = pseudo.get(b":path")
    if scheme is None or path is None:
        raise MessageError(f"a request without {':scheme' if scheme is None else ':path'}")
    authority = pseudo.get(b":authority", host)
    if host is not None and host != authority:
        raise MessageError(":authority and host differ")
    if scheme == b"https" or scheme.lower() in (b"http", b"https"):
        if authority is None:
            raise MessageError("a request without :authority and host")
        if authority not in _passed_authorities:
            _check_authority(authority)
        if not _is_path(path) and not (path == b"*" and method == b"OPTIONS"):
            raise MessageError("a :path that does not start with / or has characters that no path has")
        return scheme, authority, path
    if not _is_scheme(scheme):
        raise MessageError("an invalid :scheme")
    if authority is not None and not _is_other_authority(authority):
        raise MessageError("an invalid authority")
    if not _is_opaque_path(path):
        raise MessageError("a :path with characters that no path has")
    return scheme, authority or b"", path
