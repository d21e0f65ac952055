"""Descriptions of peers: what is read, and what is refused with which words."""

import json
import tomllib
from pathlib import Path

import pytest

from endpoint.cli.errors import CommandError
from endpoint.cli.testcases import Role, find_case
from interop.registry import EVERY_TEST, PEERS_DIR, TESTCASES, choose_alpn, load_peers, local_peer, read_peer
from interop.roles import find_role
from interop.testcases import ALL_CASES, TEST_CASES

ROOT = Path(__file__).parent.parent.parent
WHOLE = """
language = "C"
version = "1.2"
url = "https://example.com"

[install]
steps = [["make", "PREFIX={home}", "-C", "{build}"]]

[install.needs]
make = "apt install make"

[environment]
PLACE = "{home}/share"

[client]
start = ["{home}/client", "{version}"]
testcases = ["handshake", "http3"]
alpn = ["h3"]

[client.known]
longrtt = "gives up after a second"
"""


def write(folder: Path, text: str, name: str = "some") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def test_a_description_is_read(tmp_path: Path) -> None:
    peer = read_peer(write(tmp_path, WHOLE), tmp_path / "cache")
    assert (peer.name, peer.language, peer.version, peer.url) == ("some", "C", "1.2", "https://example.com")
    assert peer.supports(Role.CLIENT, "http3")
    assert not peer.supports(Role.CLIENT, "retry")
    assert not peer.supports(Role.SERVER, "http3")
    assert peer.alpn(Role.CLIENT) == ("h3",)
    assert peer.alpn(Role.SERVER) == ()
    assert peer.known_failure(Role.CLIENT, "longrtt", "any") == "gives up after a second"
    assert peer.known_failure(Role.CLIENT, "transfer", "any") is None
    assert peer.known_failure(Role.SERVER, "longrtt", "any") is None
    assert peer.install.needs == {"make": "apt install make"}


def test_what_fails_with_one_peer_alone_is_no_excuse_with_another(tmp_path: Path) -> None:
    alone = '[client.known_with.other]\nretry = "no token"\n[client.known_with.third]\nall = "no ID"\n'
    peer = read_peer(write(tmp_path, WHOLE + alone), tmp_path / "cache")
    reasons = {
        (test, other): peer.known_failure(Role.CLIENT, test, other)
        for test in ("retry", "longrtt")
        for other in ("other", "third", "fourth")
    }
    assert reasons == {
        ("retry", "other"): "no token",
        ("retry", "third"): "no ID",
        ("retry", "fourth"): None,
        ("longrtt", "other"): "gives up after a second",
        ("longrtt", "third"): "no ID",
        ("longrtt", "fourth"): "gives up after a second",
    }


def test_a_peer_is_started_with_what_its_file_and_its_caller_say(tmp_path: Path) -> None:
    peer = read_peer(write(tmp_path, WHOLE), tmp_path / "cache")
    with pytest.raises(CommandError, match=r"some is not installed.*peers install some"):
        peer.launch(Role.CLIENT, {})
    peer.home.mkdir(parents=True)
    launch = peer.launch(Role.CLIENT, {"TESTCASE": "http3"})
    assert launch.argv == (f"{peer.home}/client", "1.2")
    assert launch.env["PLACE"] == f"{peer.home}/share"
    assert (launch.env["ROLE"], launch.env["TESTCASE"]) == ("client", "http3")
    with pytest.raises(CommandError, match="some has no server"):
        peer.launch(Role.SERVER, {})


def test_another_description_has_another_home(tmp_path: Path) -> None:
    before = read_peer(write(tmp_path, WHOLE), tmp_path / "cache").home
    assert read_peer(write(tmp_path, WHOLE), tmp_path / "cache").home == before
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "adapter.c").write_text("int main() {}")
    assert read_peer(write(tmp_path, WHOLE), tmp_path / "cache").home != before
    assert read_peer(write(tmp_path, WHOLE.replace("1.2", "1.3")), tmp_path / "cache").home != before


def test_what_is_known_of_a_peer_does_not_rebuild_it(tmp_path: Path) -> None:
    before = read_peer(write(tmp_path, WHOLE), tmp_path / "cache").home
    known = WHOLE.replace("after a second", "soon")
    assert known != WHOLE
    assert read_peer(write(tmp_path, known), tmp_path / "cache").home == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("language = ", "some.toml: "),
        ('language = "C"\n', r"\[client\] nor \[server\]"),
        (WHOLE.replace('language = "C"', "language = 3"), "language: a text is needed"),
        (WHOLE.replace('"http3"]', '"http4"]'), "client.testcases: unknown: http4; there are handshake,"),
        (WHOLE.replace('["h3"]', '["h2"]'), "client.alpn: unknown: h2"),
        (WHOLE.replace('["h3"]', '"h3"'), "client.alpn: a list of texts is needed"),
        (WHOLE + 'colour = "red"\n[client.more]\n', "client.known.colour|client.more: there is no such key"),
        (WHOLE + "[client.known_with]\nother = 3\n", r"client\.known_with\.other: a table is needed"),
        (WHOLE + "[client.known_with.other]\nretry = 3\n", r"known_with\.other\.retry: a text is needed"),
        (WHOLE.replace("steps", "stops"), "install.stops: there is no such key"),
        (WHOLE.replace('["make", "PREFIX', '"make", ["PREFIX'), "install.steps: a list of commands"),
        (WHOLE.replace("{version}", "{veersion}"), "unknown placeholder 'veersion'"),
        (WHOLE.replace("{build}", "{0}"), "unknown placeholder"),
        (WHOLE.replace('start = ["{home}/client", "{version}"]', ""), "client.start: a list of texts"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(CommandError, match=words) as refused:
        read_peer(path, tmp_path / "cache")
    assert str(path) in str(refused.value)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.toml: No such file"):
        read_peer(tmp_path / "none.toml", tmp_path)
    with pytest.raises(CommandError, match="no such folder of peers"):
        load_peers([tmp_path / "none"])


def test_a_folder_of_more_peers_adds_and_replaces(tmp_path: Path) -> None:
    write(tmp_path, WHOLE, "fresh")
    write(tmp_path, WHOLE, "aioquic")
    peers = load_peers([tmp_path], tmp_path / "cache")
    assert peers["fresh"].language == "C"
    assert peers["aioquic"].language == "C"
    assert "interquic" in peers


def test_our_peers_are_well_described() -> None:
    assert set(load_peers()) == {path.stem for path in PEERS_DIR.glob("*.toml")}
    names = set(ALL_CASES)
    peers = load_peers()
    for peer in peers.values():
        for role, spec in peer.roles.items():
            assert set(spec.known) <= names, (peer.name, role)
            for other, known in spec.known_with.items():
                assert set(known) <= names | {EVERY_TEST}, (peer.name, role, other)
                assert (Role.CLIENT if role is Role.SERVER else Role.SERVER) in peers[other].roles, other


def test_every_test_of_the_matrix_shows_values_that_peers_may_have() -> None:
    assert {value for case in ALL_CASES.values() for value in (case.client, case.server)} == set(TESTCASES)


def test_what_the_runner_has_no_value_for_is_ours() -> None:
    public = {value for case in TEST_CASES for value in (case.client, case.server)}
    for value in set(TESTCASES) - public:
        roles = [role for role in Role if find_role(value, role) is not None]
        assert roles == [role for role in Role if load_peers()["interquic"].supports(role, value)]
        assert roles
        assert not any(find_case(value, role) for role in roles)


def test_python_peers_are_those_of_the_test_suite() -> None:
    """One version each: in the peers' files, and in what tests and benchmarks install."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["peers"]
    peers = load_peers()
    assert extras == [f"{name}=={peers[name].version}" for name in ("aioquic", "qh3")]


def test_what_two_peers_speak(tmp_path: Path) -> None:
    both = local_peer("both", "run it")
    only_h3 = read_peer(
        write(tmp_path, WHOLE + WHOLE[WHOLE.index("[client]") :].replace("client", "server")), tmp_path
    )
    only_hq = read_peer(
        write(tmp_path, WHOLE.replace('["h3"]', '["hq-interop"]').replace('"http3"', '"retry"')), tmp_path
    )
    assert choose_alpn(both, both, "transfer") == "hq-interop"
    assert choose_alpn(both, both, "http3") == "h3"
    assert choose_alpn(both, only_h3, "transfer") == "h3"
    assert choose_alpn(only_hq, only_h3, "transfer") is None
    assert choose_alpn(only_hq, both, "http3") is None


def test_any_command_is_a_peer() -> None:
    peer = local_peer("mine", "run 'two words' {braces}")
    assert peer.launch(Role.SERVER, {}).argv == ("run", "two words", "{braces}")
    assert peer.supports(Role.CLIENT, "v2")
    for wrong in ("", "an 'open quote"):
        with pytest.raises(CommandError, match="mine: "):
            local_peer("mine", wrong)


def test_adapters_build_the_versions_that_their_descriptions_name() -> None:
    peers = load_peers()
    modules = (PEERS_DIR / "go" / "go.mod").read_text()
    assert f"github.com/quic-go/quic-go v{peers['quic-go'].version}\n" in modules
    assert f"golang.org/x/net v{peers['x-net'].version}\n" in modules
    package = json.loads((PEERS_DIR / "matrixai" / "package.json").read_text())
    assert package["dependencies"]["@matrixai/quic"] == peers["matrixai"].version
    for name in ("quinn", "s2n-quic", "quiche"):
        pinned = tomllib.loads((PEERS_DIR / "rust" / name / "Cargo.toml").read_text())["dependencies"][name]
        wanted = pinned if isinstance(pinned, str) else pinned["version"]
        assert wanted == f"={peers[name].version}"
