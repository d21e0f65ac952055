"""What makes a message malformed: one table of each kind, with the words of the reason."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.errors import InterquicError
from endpoint.h3.events import Headers
from endpoint.h3.headers import (
    MessageError,
    RequestHead,
    ResponseHead,
    expected_body,
    field_section_size,
    join_cookies,
    validate_request,
    validate_response,
    validate_trailers,
)

Fields = list[tuple[bytes, bytes]]


def request(*fields: tuple[bytes, bytes], **pseudo: bytes | None) -> Fields:
    """A GET of https://host/ with these changes; None leaves a pseudo-header field out."""
    target: dict[str, bytes | None] = {
        "method": b"GET",
        "scheme": b"https",
        "authority": b"host",
        "path": b"/",
    }
    target.update(pseudo)
    front = [(b":" + name.encode(), value) for name, value in target.items() if value is not None]
    return [*front, *fields]


def connect(*fields: tuple[bytes, bytes], **pseudo: bytes | None) -> Fields:
    changes: dict[str, bytes | None] = {
        "method": b"CONNECT",
        "scheme": None,
        "path": None,
        "authority": b"host:443",
    }
    changes.update(pseudo)
    return request(*fields, **changes)


GOOD_REQUESTS: dict[str, tuple[Fields, RequestHead]] = {
    "plain": (request(), RequestHead(b"GET", b"https", b"host", b"/", None, None)),
    "pseudo-headers in another order": (
        list(reversed(request())),
        RequestHead(b"GET", b"https", b"host", b"/", None, None),
    ),
    "port and query": (
        request(authority=b"host:4433", path=b"/a%20b?c=d|e"),
        RequestHead(b"GET", b"https", b"host:4433", b"/a%20b?c=d|e", None, None),
    ),
    "IPv6": (request(authority=b"[::1]:443"), RequestHead(b"GET", b"https", b"[::1]:443", b"/", None, None)),
    "host instead of :authority": (
        request((b"host", b"host"), authority=None),
        RequestHead(b"GET", b"https", b"host", b"/", None, None),
    ),
    "both the same": (request((b"host", b"host")), RequestHead(b"GET", b"https", b"host", b"/", None, None)),
    "te: trailers": (request((b"te", b"Trailers")), RequestHead(b"GET", b"https", b"host", b"/", None, None)),
    "content-length": (
        request((b"content-length", b"42"), method=b"POST"),
        RequestHead(b"POST", b"https", b"host", b"/", None, 42),
    ),
    "content-length said twice": (
        request((b"content-length", b"42"), (b"content-length", b"42, 042")),
        RequestHead(b"GET", b"https", b"host", b"/", None, 42),
    ),
    "empty value": (request((b"x", b"")), RequestHead(b"GET", b"https", b"host", b"/", None, None)),
    "tab and high octets in a value": (
        request((b"x", b"a\tb \xff")),
        RequestHead(b"GET", b"https", b"host", b"/", None, None),
    ),
    "a method of its own": (
        request(method=b"M-SEARCH"),
        RequestHead(b"M-SEARCH", b"https", b"host", b"/", None, None),
    ),
    "OPTIONS *": (
        request(method=b"OPTIONS", path=b"*"),
        RequestHead(b"OPTIONS", b"https", b"host", b"*", None, None),
    ),
    "another scheme, no authority, empty path": (
        request(scheme=b"urn", authority=None, path=b""),
        RequestHead(b"GET", b"urn", b"", b"", None, None),
    ),
    "userinfo in another scheme": (
        request(scheme=b"ftp", authority=b"me@host"),
        RequestHead(b"GET", b"ftp", b"me@host", b"/", None, None),
    ),
    "CONNECT": (connect(), RequestHead(b"CONNECT", b"", b"host:443", b"", None, None)),
    "CONNECT, where content-length means nothing": (
        connect((b"content-length", b"5")),
        RequestHead(b"CONNECT", b"", b"host:443", b"", None, None),
    ),
    "extended CONNECT": (
        request(method=b"CONNECT", protocol=b"websocket"),
        RequestHead(b"CONNECT", b"https", b"host", b"/", b"websocket", None),
    ),
}

BAD_REQUESTS: list[tuple[Fields, str]] = [
    ([], "without :method"),
    (request(method=None), "without :method"),
    (request(scheme=None), "without :scheme"),
    (request(path=None), "without :path"),
    (request(authority=None), "without :authority and host"),
    (request(method=b""), "invalid :method"),
    (request(method=b"GET /"), "invalid :method"),
    (request(scheme=b"ht tp"), "invalid :scheme"),
    (request(scheme=b""), "invalid :scheme"),
    (request(path=b""), ":path"),
    (request(path=b"x"), ":path"),
    (request(path=b"*"), ":path"),
    (request(path=b"/a b"), ":path"),
    (request(path=b"/a#b"), ":path"),
    (request(path=b"/\r\nx: y"), ":path"),
    (request(scheme=b"urn", path=b"a b"), ":path"),
    (request(authority=b""), "authority"),
    (request(authority=b"me@host"), "authority"),
    (request(authority=b"host/path"), "authority"),
    (request(authority=b"host:x"), "authority"),
    (request(authority=b"ho st"), "authority"),
    (request(scheme=b"ftp", authority=b"ho st"), "authority"),
    (request((b"host", b""), authority=None), "authority"),
    (request((b"host", b"me@host"), authority=None), "authority"),
    (request((b"host", b"other")), "differ"),
    (request((b"host", b"host"), (b"host", b"host")), "more than one host"),
    ([*request(), (b":method", b"GET")], ":method twice"),
    ([(b":path", b"/"), *request()], ":path twice"),
    ([(b"x", b"y"), *request()], ":method where it must not be"),
    (request((b"x", b"y"), (b":path", b"/")), ":path where it must not be"),
    (request((b":status", b"200")), ":status where it must not be"),
    (request((b":version", b"3")), "nobody defined"),
    (request((b":", b"3")), "nobody defined"),
    (request((b"Accept", b"*/*")), "not lower case"),
    (request((b"", b"x")), r"\(empty\)"),
    (request((b"a b", b"x")), "no name has"),
    (request((b"a:b", b"x")), "no name has"),
    (request((b"a\n", b"x")), "no name has"),
    (request((b"\xe4", b"x")), "no name has"),
    (request((b"x", b"a\r\nb")), "no field value has"),
    (request((b"x", b"a\n")), "no field value has"),
    (request((b"x", b"a\0")), "no field value has"),
    (request((b"x", b"a\x7fb")), "no field value has"),
    (request((b"x", b" a")), "no field value has"),
    (request((b"x", b"a\t")), "no field value has"),
    (request((b"x", b" ")), "no field value has"),
    (request((b"connection", b"close")), "about a connection"),
    (request((b"keep-alive", b"1")), "about a connection"),
    (request((b"proxy-connection", b"close")), "about a connection"),
    (request((b"transfer-encoding", b"chunked")), "about a connection"),
    (request((b"upgrade", b"websocket")), "about a connection"),
    (request((b"te", b"gzip")), "te with another value"),
    (request((b"te", b"trailers, gzip")), "te with another value"),
    (request((b"content-length", b"-1")), "not a number"),
    (request((b"content-length", b"")), "not a number"),
    (request((b"content-length", b"1,")), "not a number"),
    (request((b"content-length", "²".encode())), "not a number"),
    (request((b"content-length", b"9" * 5000)), "not a number"),
    (request((b"content-length", b"1"), (b"content-length", b"2")), "contradict"),
    (request((b"content-length", b"1, 2")), "contradict"),
    (connect(scheme=b"https"), ":scheme or :path"),
    (connect(path=b"/"), ":scheme or :path"),
    (connect(authority=None), "host and port"),
    (connect(authority=b"host"), "host and port"),
    (connect(authority=b"host:"), "host and port"),
    (connect((b"host", b"other:443")), "differ"),
    (connect(protocol=b"websocket"), "without :scheme"),
    (request(method=b"CONNECT", protocol=b"websocket", path=None), "without :path"),
    (request(method=b"CONNECT", protocol=b""), "invalid :protocol"),
    (request(protocol=b"websocket"), "not CONNECT"),
]


@pytest.mark.parametrize(("headers", "head"), GOOD_REQUESTS.values(), ids=GOOD_REQUESTS.keys())
def test_a_valid_request_says_what_it_wants(headers: Fields, head: RequestHead) -> None:
    head = head._replace(size=field_section_size(headers))
    assert validate_request(headers) == head
    assert validate_request(tuple(headers)) == head, "fields that passed before pass again"


def test_more_of_a_request_that_passed_before() -> None:
    """It passes, but not whatever comes after it."""
    for _ in range(2):
        assert validate_request(request()).content_length is None
    assert validate_request(request((b"content-length", b"5"))).content_length == 5
    for more in ((b"te", b"gzip"), (b":path", b"/"), (b"host", b"other"), (b"X", b"y"), (b"x", b" y")):
        with pytest.raises(MessageError):
            validate_request(request(more))
    with pytest.raises(MessageError, match="SETTINGS"):
        validate_request(request(method=b"CONNECT", protocol=b"websocket"), extended_connect=False)


def test_lines_of_priority_are_one_list() -> None:
    for _ in range(2):
        assert validate_request(request()).priority is None
        several = request((b"priority", b"u=1"), (b"x", b"y"), (b"priority", b"i"))
        assert validate_request(several).priority == b"u=1, i"
    assert validate_request(connect((b"priority", b"u=2"))).priority == b"u=2"


@pytest.mark.parametrize(("headers", "reason"), BAD_REQUESTS)
def test_a_malformed_request_is_refused_with_its_reason(headers: Fields, reason: str) -> None:
    for _ in range(2):  # what was refused once is not remembered as good
        with pytest.raises(MessageError, match=reason):
            validate_request(headers)


def test_extended_connect_is_unknown_unless_it_was_offered() -> None:
    headers = request(method=b"CONNECT", protocol=b"websocket")
    with pytest.raises(MessageError, match="ENABLE_CONNECT_PROTOCOL"):
        validate_request(headers, extended_connect=False)
    assert validate_request(connect(), extended_connect=False).authority == b"host:443"


@pytest.mark.parametrize(
    ("headers", "head"),
    [
        ([(b":status", b"200")], ResponseHead(200, None)),
        ([(b":status", b"103"), (b"link", b"</x>")], ResponseHead(103, None)),
        ([(b":status", b"999"), (b"content-length", b"7")], ResponseHead(999, 7)),
    ],
)
def test_a_valid_response(headers: Fields, head: ResponseHead) -> None:
    for _ in range(2):
        assert validate_response(headers) == head._replace(size=field_section_size(headers))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "without :status"),
        ([(b"x", b"y"), (b":status", b"200")], "without :status"),
        ([(b":status", b"20")], "three digits"),
        ([(b":status", b"099")], "three digits"),
        ([(b":status", b"2000")], "three digits"),
        ([(b":status", b"200\n")], "three digits"),
        ([(b":status", b"+20")], "three digits"),
        ([(b":status", b"101")], "101"),
        ([(b":status", b"200"), (b":status", b"200")], ":status twice"),
        ([(b":status", b"200"), (b"x", b"y"), (b":status", b"200")], ":status where it must not be"),
        ([(b":status", b"200"), (b":path", b"/")], ":path where it must not be"),
        ([(b":status", b"200"), (b"Server", b"x")], "not lower case"),
        ([(b":status", b"200"), (b"te", b"trailers")], "te in a response"),
        ([(b":status", b"200"), (b"connection", b"close")], "about a connection"),
        ([(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")], "contradict"),
    ],
)
def test_a_malformed_response_is_refused(headers: Fields, reason: str) -> None:
    for _ in range(2):
        with pytest.raises(MessageError, match=reason):
            validate_response(headers)


def test_trailers_are_fields_only() -> None:
    validate_trailers([(b"grpc-status", b"0"), (b"x", b"")])
    validate_trailers([])
    for field in (
        (b":status", b"200"),
        (b":path", b"/"),
        (b"Upper", b"x"),
        (b"te", b"trailers"),
        (b"x", b"\r"),
    ):
        with pytest.raises(MessageError):
            validate_trailers([(b"x", b"y"), field])


def test_our_own_malformed_message_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not lower case") as caught:
        validate_request(request((b"Accept", b"*/*")))
    assert isinstance(caught.value, InterquicError)


@pytest.mark.parametrize(
    ("method", "status", "content_length", "expected"),
    [
        (b"GET", 200, 5, 5),
        (b"GET", 200, None, None),
        (b"HEAD", 200, 5, 0),
        (b"GET", 304, 5, 0),
        (b"GET", 204, None, 0),
        (b"POST", 103, None, 0),
        (b"CONNECT", 200, 5, None),
        (b"CONNECT", 204, None, None),
        (b"CONNECT", 407, 5, 5),
    ],
)
def test_how_much_content_a_response_has(
    method: bytes, status: int, content_length: int | None, expected: int | None
) -> None:
    assert expected_body(method, ResponseHead(status, content_length)) == expected


def test_cookie_crumbs_are_joined_where_the_first_was() -> None:
    split: Headers = [
        (b":path", b"/"),
        (b"cookie", b"a=b"),
        (b"x", b"y"),
        (b"cookie", b"c=d"),
        (b"cookie", b"e=f"),
    ]
    assert join_cookies(split) == [(b":path", b"/"), (b"cookie", b"a=b; c=d; e=f"), (b"x", b"y")]
    one: Headers = [(b"cookie", b"a=b"), (b"x", b"y")]
    assert join_cookies(one) is one


def test_the_size_of_a_field_section() -> None:
    assert field_section_size([]) == 0
    assert field_section_size([(b"ab", b"cde"), (b"f", b"")]) == 5 + 32 + 1 + 32


def test_many_different_fields_stay_valid() -> None:
    """More of them than are remembered."""
    for number in range(3000):
        validate_trailers([(b"x", b"%d" % number), (b"y", b"z" * 300)])
    with pytest.raises(MessageError):
        validate_trailers([(b"x", b"1\n")])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=12) | st.sampled_from([b":method", b":path", b"te"]), st.binary()))
)
def test_any_fields_are_taken_or_refused(headers: Fields) -> None:
    """Whatever comes off the wire: a MessageError or nothing, and never a line break that gets through."""
    try:
        validate_trailers(headers)
    except MessageError:
        pass
    else:
        assert all(name == name.lower() and name and not name.startswith(b":") for name, _ in headers)
        assert not any(set(value) & set(b"\r\n\0") for _, value in headers)
    for validate in (validate_request, validate_response):
        with contextlib.suppress(MessageError):
            validate(headers)


@settings(deadline=None)
@given(st.binary())
def test_the_reason_shows_no_name_as_it_came(name: bytes) -> None:
    """It goes to logs and to the peer."""
    with pytest.raises(MessageError) as caught:
        validate_trailers([(name + b"\n", b"")])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250
