import errno
import os
from pathlib import Path
from typing import Any

import pytest

from endpoint.io.files import Directory, Downloads, file_name


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root = tmp_path / "www"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"content")
    (root / "folder" / "inner").write_bytes(b"inner content")
    (tmp_path / "secret").write_bytes(b"secret")
    return root


def read(site: Path, path: str) -> bytes | None:
    file = Directory(site).open(path)
    if file is None:
        return None
    with file:
        return file.read()


def test_files_of_the_directory_and_its_folders_are_served(site: Path) -> None:
    assert read(site, "/file") == b"content"
    assert read(site, "/folder/inner") == b"inner content"


@pytest.mark.parametrize(
    "path",
    [
        "/missing",
        "/",
        "",
        "file",
        "x/file",
        "/folder",
        "/file/inner",
        "/../secret",
        "/folder/../../secret",
        "//secret",
        "/./file",
        "/folder\\..\\..\\secret",
        "/file\0",
        "/" + "x" * 300,
    ],
)
def test_nothing_else_is_served(site: Path, path: str) -> None:
    assert read(site, path) is None


def test_what_is_hidden_is_served_under_another_name_only(site: Path) -> None:
    """As folders are that are put together of links, `..data` for example."""
    (site / "..data").mkdir()
    (site / "..data" / "file").write_bytes(b"linked")
    (site / "link").symlink_to(site / "..data" / "file")
    assert read(site, "/..data/file") is None
    assert not Directory(site).has_folder("/..data")
    assert read(site, "/link") == b"linked"


@pytest.mark.parametrize("path", ["/", "/folder", "/folder/", "/in"])
def test_folders_are_known(site: Path, path: str) -> None:
    (site / "in").symlink_to(site / "folder")
    assert Directory(site).has_folder(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "folder",
        "x/folder",
        "//",
        "/folder//",
        "/file",
        "/file/",
        "/missing",
        "/..",
        "/folder/..",
        "/out",
        "/a\0",
    ],
)
def test_nothing_else_is_a_folder(site: Path, path: str) -> None:
    (site / "out").symlink_to(site.parent)
    assert not Directory(site).has_folder(path)


def test_links_lead_out_of_the_directory_in_vain(site: Path) -> None:
    (site / "out").symlink_to(site.parent / "secret")
    (site / "in").symlink_to(site / "file")
    (site / "circle").symlink_to(site / "circle")
    assert read(site, "/out") is None
    assert read(site, "/in") == b"content"
    assert read(site, "/circle") is None


@pytest.mark.parametrize("path", ["/folder/inner", "/file"])
def test_links_that_come_late_lead_out_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Somebody who may write below the root puts a link in place of what was looked at just before."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root, outside):
        (folder / "folder").mkdir(parents=True)
        (folder / "folder" / "inner").write_bytes(b"content")
        (folder / "file").write_bytes(b"content")
    directory = Directory(root)
    look = os.stat

    def look_then_swap(*args: Any, **options: Any) -> os.stat_result:
        found = look(*args, **options)
        monkeypatch.undo()
        first = path.split("/")[1]
        (root / first).rename(tmp_path / "away")
        (root / first).symlink_to(outside / first)
        return found

    monkeypatch.setattr(os, "stat", look_then_swap)
    assert directory.open(path) is None


def test_a_folder_need_not_be_readable(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"content")
    (tmp_path / "folder").chmod(0o311)
    file = Directory(tmp_path).open("/folder/file")
    assert file is not None
    with file:
        assert file.read() == b"content"
    (tmp_path / "folder").chmod(0o711)


def test_a_pipe_is_no_file(site: Path) -> None:
    os.mkfifo(site / "pipe")
    assert read(site, "/pipe") is None


def test_the_root_must_be_a_directory(site: Path) -> None:
    with pytest.raises(NotADirectoryError):
        Directory(site / "file")
    with pytest.raises(FileNotFoundError):
        Directory(site / "missing")


@pytest.mark.parametrize(
    ("url", "name"),
    [("https://h/a", "a"), ("https://h:4433/x/y%20z", "y z"), ("https://h/a?b=/c", "a")],
)
def test_file_name(url: str, name: str) -> None:
    assert file_name(url) == name


@pytest.mark.parametrize(
    "url", ["https://h", "https://h/", "https://h/a/..", "https://h/%2e%2e", "https://h/a%2fb"]
)
def test_no_file_name(url: str) -> None:
    with pytest.raises(ValueError, match="file name"):
        file_name(url)


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    downloads = Downloads(tmp_path / "new" / "folder")
    target = tmp_path / "new" / "folder" / "name"
    sink = downloads.sink("name")
    sink.write(b"one ")
    sink.write(b"two")
    assert [path for path in target.parent.iterdir() if path.is_file()] == []
    sink.finish()
    assert target.read_bytes() == b"one two"
    assert downloads.completed == ["name"]
    assert downloads.received == 7
    downloads.close()
    assert list(target.parent.iterdir()) == [target]


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    downloads = Downloads(tmp_path)
    downloads.sink("empty").finish()
    downloads.close()
    assert (tmp_path / "empty").read_bytes() == b""


def test_what_is_abandoned_leaves_nothing(tmp_path: Path) -> None:
    downloads = Downloads(tmp_path)
    sink = downloads.sink("half")
    sink.write(b"half")
    sink.abandon("the server went away")
    downloads.close()
    assert list(tmp_path.iterdir()) == []
    assert downloads.abandoned == [("half", "the server went away")]


class FullDisk:
    """A file that takes nothing."""

    def write(self, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any, **_options: Any) -> FullDisk:
        return FullDisk()

    downloads = Downloads(tmp_path)
    heard: list[OSError] = []
    downloads.on_failure(heard.append)
    first, second = downloads.sink("first"), downloads.sink("second")
    monkeypatch.setattr(Path, "open", full)
    first.write(b"data")
    second.write(b"data")
    first.finish()
    second.abandon("over")
    monkeypatch.undo()
    downloads.close()
    assert [error.errno for error in heard] == [errno.ENOSPC]
    assert downloads.completed == []
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        Downloads(tmp_path / "file" / "folder")
