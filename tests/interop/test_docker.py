"""Containers, as far as that can be told without an engine: the compose file, images, what statuses mean."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from endpoint.cli.errors import CommandError
from endpoint.cli.main import main
from endpoint.cli.testcases import Role
from interop.images import image_peer, load_images
from interop.results import Owner, Status
from interop.runner import docker
from interop.runner.carrier import Network
from interop.runner.cell import run_cell
from interop.runner.compose import compose_text, scenario_text
from interop.runner.outcome import Outcome
from interop.runner.plan import Cell
from interop.simnet.network import LEFT
from interop.testcases import ALL_CASES, MEASUREMENTS, TEST_CASES

VARIABLES = {"ROLE", "TESTCASE", "REQUESTS", "SSLKEYLOGFILE", "QLOGDIR", "CRON", "PROTOCOLS"}


def make_cell(test: str, directory: Path) -> Cell:
    return Cell(
        server=image_peer("quic-go", "martenseemann/quic-go-interop:latest"),
        client=image_peer("mine", "mine"),
        test=test,
        repeat=1,
        network=Network.DOCKER,
        seed=1,
        timeout_scale=1.0,
        log_dir=directory,
    )


def composed(test: str, *names: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(compose_text(make_cell(test, Path()), Path("/f"), names))
    return loaded


def test_what_the_contract_says_of_containers() -> None:
    services = composed("keyupdate", "one", "two")["services"]
    assert list(services) == ["sim", "server", "client"]
    server, client = services["server"], services["client"]
    for role, service in (("server", server), ("client", client)):
        assert service["environment"].keys() == VARIABLES | {f"{role.upper()}_PARAMS"}
        assert service["environment"]["ROLE"] == role
        assert service["environment"]["SSLKEYLOGFILE"] == "/logs/keys.log"
        assert service["environment"]["QLOGDIR"] == "/logs/qlog/"
        assert service["cap_add"] == ["NET_ADMIN"]
        assert (service["tty"], service["stdin_open"]) == (True, True)
    assert client["environment"]["REQUESTS"] == "https://server4:443/one https://server4:443/two"
    assert (client["environment"]["TESTCASE"], server["environment"]["TESTCASE"]) == ("keyupdate", "transfer")
    assert (client["image"], server["image"]) == ("mine", "martenseemann/quic-go-interop:latest")
    assert client["volumes"] == ["/f/downloads:/downloads", "/f/certs:/certs:ro"]
    assert server["volumes"] == ["/f/www:/www:ro", "/f/certs:/certs:ro"]
    assert client["networks"] == {
        "leftnet": {"ipv4_address": "193.167.0.100", "ipv6_address": "fd00:cafe:cafe::100"}
    }
    assert {"server46:193.167.100.100", "server46:fd00:cafe:cafe:100::100", "sim:193.167.0.2"} <= set(
        client["extra_hosts"]
    )


def test_the_simulator() -> None:
    file = composed("rebind-addr")
    simulator = file["services"]["sim"]
    assert simulator["environment"]["WAITFORSERVER"] == "server:443"
    assert simulator["environment"]["SCENARIO"] == (
        "rebind --delay=15ms --bandwidth=10Mbps --queue=25 --first-rebind=1s --rebind-freq=5s --rebind-addr"
    )
    assert simulator["networks"].keys() == file["networks"].keys() == {"leftnet", "rightnet"}
    subnets = [entry["subnet"] for entry in file["networks"]["rightnet"]["ipam"]["config"]]
    assert subnets == ["193.167.100.0/24", "fd00:cafe:cafe:100::/64"]


def test_a_dollar_is_no_variable() -> None:
    assert "https://server4:443/$$HOME" in compose_text(make_cell("handshake", Path()), Path("/f"), ["$HOME"])


def test_every_case_of_the_runner_has_its_network() -> None:
    without = [case.name for case in (*TEST_CASES, *MEASUREMENTS) if not scenario_text(case.scenario)]
    assert without == ["crosstraffic"]
    assert docker.unfaithful(ALL_CASES["handshake"]) == ""
    assert "no such network" in docker.unfaithful(ALL_CASES["ce-storm"])
    assert "stand still" in docker.unfaithful(ALL_CASES["slow-reader"])
    assert "started anew" in docker.unfaithful(ALL_CASES["server-restart"])


def test_a_case_without_network_is_not_tried(tmp_path: Path) -> None:
    result = run_cell(make_cell("shuffled", tmp_path))
    assert (result.status, result.owner) == (Status.UNSUPPORTED, Owner.RUNNER)


@pytest.mark.parametrize(
    ("client", "server", "in_time", "expected"),
    [
        (0, 0, True, Outcome(client=0, server=0)),
        (127, 143, True, Outcome(client=127, server=143)),
        (0, 137, True, Outcome(client=0, server=None)),
        (1, 0, True, Outcome(client=1, server=0, problem="client: ended with 1", owner=Owner.UNKNOWN)),
        (143, 2, True, Outcome(server=2, problem="server: ended by itself with 2", owner=Owner.SERVER)),
        (137, 0, False, Outcome(server=0, problem="client: still runs after 60 s", owner=Owner.UNKNOWN)),
    ],
)
def test_statuses(client: int, server: int, in_time: bool, expected: Outcome) -> None:
    assert docker.explain(client, server, 0.0, limit=60.0, in_time=in_time) == expected


def test_a_server_that_never_answers() -> None:
    outcome = docker.explain(137, 143, 0.0, limit=60.0, in_time=True)
    assert outcome.problem.startswith("server: the simulator ended first")


FAKE = """#!{python}
import pathlib, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(" ".join(words) + chr(10))
if "ps" in words:
    print("the-" + words[-1])
elif "image" in words:
    sys.exit(words[-1] == "mine")
elif "up" in words:
    print("no room", file=sys.stderr)
elif "inspect" in words:
    print("{state} 0" if words[-1] == "the-client" else "exited 143")
elif "cp" in words:
    if words[-2].startswith("server"):
        sys.exit("no such folder")
    names = ["trace_node_left.pcap", "trace_node_right.pcap"] if words[-2].startswith("sim") else ["keys.log"]
    for name in names:
        pathlib.Path(words[-1], name).write_text(name)
elif "logs" in words:
    print(words[-1] + " said this")
"""


def fake_docker(directory: Path, monkeypatch: pytest.MonkeyPatch, state: str = "exited") -> Path:
    """A program in docker's place, and the folder of a cell; `state` is that of the client."""
    for name in ("bin", "cell/sim", "cell/client", "cell/server"):
        (directory / name).mkdir(parents=True)
    fake = directory / "bin" / "docker"
    fake.write_text(FAKE.format(python=sys.executable, log=str(directory / "log"), state=state))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    return directory / "cell"


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docker is asked for, and where its answers go. A server that refuses leaves no folder of logs."""
    folder = fake_docker(tmp_path, monkeypatch)
    assert docker.missing() == ""
    outcome = docker.run_endpoints(make_cell("handshake", tmp_path), folder, ["file"])
    assert replace(outcome, seconds=0.0) == Outcome(client=0, server=143)
    assert (folder / "sim" / LEFT).read_text() == "trace_node_left.pcap"
    assert (folder / "client" / "keys.log").exists()
    assert (folder / "client" / "output.txt").read_text() == "client said this"
    commands = (tmp_path / "log").read_text().splitlines()
    assert all(str(folder / "compose.json") in line for line in commands if "--file" in line)
    # Only what is not here is asked of a registry: an image that was built here is in none.
    assert [line for line in commands if line.startswith("pull")] == ["pull --quiet mine"]
    assert len([line for line in commands if "up --abort-on-container-exit --timeout 10" in line]) == 1
    assert commands[-1].endswith("down --timeout 1 --volumes")


def test_a_container_that_docker_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit status is 0, which is no success; what docker said is the explanation."""
    folder = fake_docker(tmp_path, monkeypatch, state="created")
    with pytest.raises(CommandError, match="docker did not start the client: no room"):
        docker.run_endpoints(make_cell("handshake", tmp_path), folder, ["file"])
    assert (tmp_path / "log").read_text().splitlines()[-1].endswith("down --timeout 1 --volumes")


def test_the_public_list(tmp_path: Path) -> None:
    file = tmp_path / "implementations.json"
    entries = {
        "a": {"image": "a:1", "url": "https://a", "role": "both"},
        "b": {"image": "b", "role": "server"},
    }
    file.write_text(json.dumps(entries))
    first, second = load_images(file)
    assert first == replace(image_peer("a", "a:1", "https://a"), home=first.home)
    assert (second.image, list(second.roles)) == ("b", [Role.SERVER])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "Expecting property name"),
        ("[]", "an object is needed"),
        ('{"a": {"role": "both"}}', "a: an image is needed"),
        ('{"../a": {"image": "a", "role": "both"}}', "'../a' is no name"),
        ('{"a": {"image": "a", "role": "proxy"}}', "a: the role is one of both, client, server"),
    ],
)
def test_a_list_that_is_none(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "implementations.json"
    file.write_text(content)
    with pytest.raises(CommandError, match=complaint):
        load_images(file)


def test_no_docker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["interop", "run", "--network", "docker", "--peer", "a=docker:b"]) == 2
    assert capsys.readouterr().err == "interquic: --network docker: there is no docker command\n"


def test_an_image_needs_docker(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["interop", "run", "--network", "proxy", "--peer", "a=docker:b"]) == 2
    assert "docker:IMAGE and --network docker need each other" in capsys.readouterr().err
