"""What is answered for a file (RFC 9110): one small site, one table for each kind of request."""

import os
from pathlib import Path

import pytest

from endpoint.http.static import Response, content_type, respond
from endpoint.io.files import Directory

NOW = 1_700_000_100.5
MODIFIED = 1_700_000_000
DATE = b"Tue, 14 Nov 2023 22:13:20 GMT"  # of MODIFIED
EARLIER = b"Tue, 14 Nov 2023 22:13:19 GMT"
CONTENT = b"0123456789"


@pytest.fixture
def site(tmp_path: Path) -> Directory:
    """Ten digits, an empty file, a folder with an index and one without."""
    (tmp_path / "secret").write_bytes(b"secret")
    root = tmp_path / "www"
    for folder in ("pages", "bare"):
        (root / folder).mkdir(parents=True)
    for folder in (".git", ".well-known", "pages/.well-known"):
        (root / folder).mkdir()
        (root / folder / "config").write_bytes(b"known")
    (root / ".env").write_bytes(b"hidden")
    (root / ".well-known" / ".env").write_bytes(b"hidden")
    (root / "digits.txt").write_bytes(CONTENT)
    (root / "empty").touch()
    (root / "ä b").write_bytes(b"named")
    (root / "pages" / "index.html").write_bytes(b"<p>")
    for path in root.rglob("*"):
        os.utime(path, ns=(MODIFIED * 10**9 + 5, MODIFIED * 10**9 + 5))
    return Directory(root)


def ask(
    site: Directory,
    path: bytes = b"/digits.txt",
    *fields: tuple[bytes, bytes],
    method: bytes = b"GET",
    now: float = NOW,
) -> tuple[Response, dict[bytes, bytes], bytes]:
    """The response, its fields, and the bytes that a server would send; holds what is true of any."""
    response = respond(site, method, path, fields, now=now)
    headers = dict(response.headers)
    assert len(headers) == len(response.headers), "no field twice"
    assert b"date" in headers
    body = b""
    if response.content is not None:
        with response.content as content:
            assert content.tell() == response.start
            body = content.read(response.length)
        assert headers[b"content-length"] == b"%d" % response.length
    assert len(body) == response.length
    return response, headers, body


def tag(site: Directory) -> bytes:
    return ask(site)[1][b"etag"]


def test_a_file(site: Directory) -> None:
    response, headers, body = ask(site)
    assert (response.status, body) == (200, CONTENT)
    etag = headers.pop(b"etag")
    assert etag.startswith(b'"')
    assert etag.endswith(b'"')
    assert headers == {
        b"date": b"Tue, 14 Nov 2023 22:15:00 GMT",
        b"content-type": b"text/plain; charset=utf-8",
        b"last-modified": DATE,
        b"accept-ranges": b"bytes",
        b"content-length": b"10",
    }


def test_head_is_get_without_content(site: Directory) -> None:
    for path in (b"/digits.txt", b"/missing", b"/pages"):
        get, get_headers, _ = ask(site, path)
        head, head_headers, body = ask(site, path, method=b"HEAD")
        assert (head.status, head_headers, head.content, body) == (get.status, get_headers, None, b"")


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        (b"/empty", 200, b""),
        (b"/digits.txt?query", 200, CONTENT),
        (b"/d%69gits.txt", 200, CONTENT),
        (b"/%C3%A4%20b", 200, b"named"),
        ("/ä b".encode(), 200, b"named"),
        (b"/pages/", 200, b"<p>"),
        (b"/pages/index.html", 200, b"<p>"),
        (b"/.well-known/config", 200, b"known"),
        (b"/.env", 404, None),
        (b"/%2eenv", 404, None),
        (b"/.git", 404, None),
        (b"/.git/", 404, None),
        (b"/.git/config", 404, None),
        (b"/.well-known/.env", 404, None),
        (b"/pages/.well-known/config", 404, None),
        (b"/", 404, None),
        (b"/bare/", 404, None),
        (b"/missing", 404, None),
        (b"/digits.txt/", 404, None),
        (b"/digits.txt/x", 404, None),
        (b"/../secret", 404, None),
        (b"/%2e%2e/secret", 404, None),
        (b"/pages%2f..%2f..%2fsecret", 404, None),
        (b"//pages", 404, None),
        (b"//", 404, None),
        (b"/pages/..", 404, None),
        (b"/%00", 404, None),
        (b"/%ff", 404, None),
        (b"/digits.txt%3Fquery", 404, None),
        (b"*", 404, None),
        (b"", 404, None),
    ],
)
def test_paths(site: Directory, path: bytes, status: int, body: bytes | None) -> None:
    response, _, got = ask(site, path)
    assert response.status == status
    assert got == (b"404 Not Found\n" if body is None else body)


@pytest.mark.parametrize(
    ("path", "location"),
    [(b"/pages", b"/pages/"), (b"/p%61ges?a=b?c", b"/p%61ges/?a=b?c"), (b"/bare", b"/bare/")],
)
def test_a_folder_is_at_its_slash(site: Directory, path: bytes, location: bytes) -> None:
    response, headers, _ = ask(site, path)
    assert (response.status, headers[b"location"]) == (301, location)


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"get"])
def test_other_methods(site: Directory, method: bytes) -> None:
    response, headers, body = ask(site, method=method)
    assert (response.status, headers[b"allow"]) == (405, b"GET, HEAD")
    assert body == b"405 Method Not Allowed\n"


@pytest.mark.parametrize(
    ("error", "status"), [(PermissionError(13, "no"), 403), (OSError(24, "too many"), 500)]
)
def test_a_file_that_can_not_be_opened(
    site: Directory, monkeypatch: pytest.MonkeyPatch, error: OSError, status: int
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(Directory, "open", refuse)
    assert ask(site)[0].status == status


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        (b"bytes=0-4", 0, 5),
        (b"bytes=9-9", 9, 10),
        (b"bytes=5-", 5, 10),
        (b"bytes=-3", 7, 10),
        (b"bytes=-30", 0, 10),
        (b"bytes=8-30", 8, 10),
        (b"Bytes= 0-9 ", 0, 10),
    ],
)
def test_a_part(site: Directory, wanted: bytes, start: int, stop: int) -> None:
    response, headers, body = ask(site, b"/digits.txt", (b"range", wanted))
    assert (response.status, response.start, body) == (206, start, CONTENT[start:stop])
    assert headers[b"content-range"] == b"bytes %d-%d/10" % (start, stop - 1)
    assert headers[b"etag"] == tag(site)


@pytest.mark.parametrize(
    ("path", "wanted", "size"),
    [
        (b"/digits.txt", b"bytes=10-", 10),
        (b"/digits.txt", b"bytes=10-11", 10),
        (b"/digits.txt", b"bytes=-0", 10),
        (b"/empty", b"bytes=0-", 0),
        (b"/empty", b"bytes=-5", 0),
    ],
)
def test_a_part_that_is_not_there(site: Directory, path: bytes, wanted: bytes, size: int) -> None:
    response, headers, _ = ask(site, path, (b"range", wanted))
    assert (response.status, headers[b"content-range"]) == (416, b"bytes */%d" % size)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"range", b"bytes=4-3")],
        [(b"range", b"bytes=-")],
        [(b"range", b"bytes=a-b")],
        [(b"range", b"lines=1-2")],
        [(b"range", b"bytes=0-1,3-4")],  # allowed to be answered as a whole (RFC 9110 §14.2)
        [(b"range", b"bytes=0-1"), (b"range", b"bytes=3-4")],
        [(b"range", b"bytes=" + b"9" * 5000 + b"-")],
    ],
)
def test_a_range_that_is_ignored(site: Directory, fields: list[tuple[bytes, bytes]]) -> None:
    response, headers, body = ask(site, b"/digits.txt", *fields)
    assert (response.status, body) == (200, CONTENT)
    assert b"content-range" not in headers


def test_head_has_no_range(site: Directory) -> None:
    assert ask(site, b"/digits.txt", (b"range", b"bytes=0-4"), method=b"HEAD")[0].status == 200


# In the values of the next tables TAG stands for the file's entity tag.
TAG = b"TAG"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (TAG, 206),
        (b'"other"', 200),
        (b"W/" + TAG, 200),
        (DATE, 206),
        (EARLIER, 200),
        (b"Tue, 14 Nov 2023 22:13:21 GMT", 200),
        (b"nonsense", 200),
    ],
)
def test_if_range(site: Directory, condition: bytes, status: int) -> None:
    value = condition.replace(TAG, tag(site))
    response, _, _ = ask(site, b"/digits.txt", (b"range", b"bytes=0-4"), (b"if-range", value))
    assert response.status == status


def test_a_date_of_the_present_second_is_no_strong_validator(site: Directory) -> None:
    fields = ((b"range", b"bytes=0-4"), (b"if-range", DATE))
    assert ask(site, b"/digits.txt", *fields, now=MODIFIED + 0.9)[0].status == 200
    assert ask(site, b"/digits.txt", *fields, now=MODIFIED + 1.0)[0].status == 206


def test_a_file_from_the_future_is_of_now(site: Directory) -> None:
    _, headers, _ = ask(site, now=MODIFIED - 1)
    assert headers[b"last-modified"] == headers[b"date"] == EARLIER


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b"if-match", b"*")], 200),
        ([(b"if-match", TAG)], 200),
        ([(b"if-match", b'"a", ' + TAG)], 200),
        ([(b"if-match", b'"a"'), (b"if-match", TAG)], 200),
        ([(b"if-match", b'"a"')], 412),
        ([(b"if-match", b"W/" + TAG)], 412),
        ([(b"if-match", b"nonsense")], 412),
        ([(b"if-unmodified-since", DATE)], 200),
        ([(b"if-unmodified-since", EARLIER)], 412),
        ([(b"if-unmodified-since", b"nonsense")], 200),
        ([(b"if-none-match", b"*")], 304),
        ([(b"if-none-match", TAG)], 304),
        ([(b"if-none-match", b'"a,b", W/' + TAG)], 304),
        ([(b"if-none-match", b'"a"')], 200),
        ([(b"if-modified-since", DATE)], 304),
        ([(b"if-modified-since", EARLIER)], 200),
        ([(b"if-modified-since", b"Tuesday, 14-Nov-23 22:13:20 GMT")], 304),
        ([(b"if-modified-since", b"Tue Nov 14 22:13:20 2023")], 304),
        ([(b"if-modified-since", b"Tue Nov 14 22:13:19 2023")], 200),
        ([(b"if-modified-since", b"")], 200),
        ([(b"if-modified-since", b"Tue, 99 Nov 99999 22:13:20 GMT")], 200),
        # Precedence (RFC 9110 §13.2.2): entity tags decide, dates beside them are not looked at.
        ([(b"if-match", TAG), (b"if-unmodified-since", EARLIER)], 200),
        ([(b"if-none-match", b'"a"'), (b"if-modified-since", DATE)], 200),
        ([(b"if-none-match", TAG), (b"if-modified-since", EARLIER)], 304),
        ([(b"if-match", b'"a"'), (b"if-none-match", TAG)], 412),
        ([(b"if-match", TAG), (b"if-none-match", TAG)], 304),
        ([(b"if-unmodified-since", EARLIER), (b"if-none-match", TAG)], 412),
        ([(b"if-none-match", TAG), (b"range", b"bytes=0-4")], 304),
        ([(b"if-match", b'"a"'), (b"range", b"bytes=90-")], 412),
    ],
)
def test_conditions(site: Directory, fields: list[tuple[bytes, bytes]], status: int) -> None:
    etag = tag(site)
    fields = [(name, value.replace(TAG, etag)) for name, value in fields]
    response, headers, body = ask(site, b"/digits.txt", *fields)
    assert response.status == status
    if status == 304:
        assert (body, headers[b"etag"], response.content) == (b"", etag, None)
        assert b"content-length" not in headers


def test_another_content_has_another_tag(site: Directory, tmp_path: Path) -> None:
    before = tag(site)
    path = tmp_path / "www" / "digits.txt"
    path.write_bytes(CONTENT + b"!")
    os.utime(path, ns=(MODIFIED * 10**9 + 5, MODIFIED * 10**9 + 5))
    longer = tag(site)
    os.utime(path, ns=(MODIFIED * 10**9 + 6, MODIFIED * 10**9 + 6))
    assert len({before, longer, tag(site)}) == 3


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.webp", "image/webp"),
        ("a.wasm", "application/wasm"),
        ("a.json", "application/json"),
        ("a.woff2", "font/woff2"),
        ("a.tar.gz", "application/gzip"),
        ("a.html.xz", "application/x-xz"),
        ("a.tar.Z", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
        ("README", "application/octet-stream"),
    ],
)
def test_content_types(name: str, kind: str) -> None:
    assert content_type(name) == kind
