"""What `--app` names, and what is said where it names nothing."""

import sys
from pathlib import Path

import pytest

from endpoint.cli.errors import CommandError
from endpoint.cli.main import main
from endpoint.cli.serve import load_app

MODULE = """
async def app(scope, receive, send):
    pass

class Site:
    app = app

number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with modules; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    (tmp_path / "site_of_tests.py").write_text(MODULE)
    (tmp_path / "needy.py").write_text("import nothing_like_it\n")
    (tmp_path / "broken.py").write_text("\n1 / 0\n")
    (tmp_path / "mistyped.py").write_text("\nfoo(\n")
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["app", "Site.app"])
def test_an_application_of_the_current_directory(name: str) -> None:
    assert callable(load_app(f"site_of_tests:{name}"))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("site_of_tests", "not of the form MODULE:NAME"),
        (":app", "not of the form MODULE:NAME"),
        ("missing:app", "no module missing, neither here nor installed"),
        ("missing.part:app", "no module missing, neither here nor installed"),
        ("site_of_tests.part:app", "no module site_of_tests.part, neither here nor installed"),
        ("site_of_tests:none", "site_of_tests has no none"),
        ("site_of_tests:Site.none", "site_of_tests has no Site.none"),
        ("site_of_tests:number", "number is no application, but int"),
        ("needy:app", "needy needs nothing_like_it, which is missing"),
        ("../site_of_tests:app", "not of the form MODULE:NAME"),
        ("mistyped:app", "mistyped.py line 2: '(' was never closed"),
        ("broken:app", "broken.py line 2: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_application(text: str, message: str) -> None:
    with pytest.raises(CommandError) as raised:
        load_app(text)
    assert str(raised.value).startswith(f"--app {text}: ")
    assert str(raised.value).endswith(message)


@pytest.mark.usefixtures("here")
def test_an_application_has_no_other_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "--port", "0", "--app", "site_of_tests:app", "--alpn", "h3,hq-interop"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == "interquic: an application can be served over h3 only, not over hq-interop"
