"""Cells whose connection is to end before the files are there, and servers that are started anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from interop_samples import make_cell

from endpoint.cli.testcases import Role
from interop.gate.findings import judge
from interop.gate.policy import read_policy
from interop.registry import local_peer
from interop.results import MatrixResult, QlogFindings
from interop.runner import docker
from interop.runner.outcome import Outcome
from interop.runner.process import Process
from interop.runner.servers import KILLED_OUTPUT, Servers
from interop.simnet.impairments import SIMPLE
from interop.simnet.proxy import Proxy


def test_how_the_client_ends() -> None:
    """Any status will do, but not a crash; what it does not support it says as ever."""
    for status in (0, 1, 127, None):
        assert Outcome(client=status, ends_early=True).explained(60.0).problem == ""
    assert Outcome(client=-11, ends_early=True).explained(60.0).problem == "client: ended with -11"
    assert docker.explain(1, 0, 1.0, limit=60.0, in_time=True, ends_early=True).problem == ""


@pytest.mark.parametrize(("test", "is_green"), [("handshake", False), ("optimistic-ack", True)])
def test_no_traces_are_missed_where_they_would_tell_of_breaches(
    tmp_path: Path, test: str, is_green: bool
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(
        'schema = 1\nqlog = { peers = ["blue"] }\ncell = [{ server = "*", client = "*", test = "*" }]\n'
    )
    matrix = MatrixResult(
        started=0.0,
        ended=0.0,
        interquic="",
        peers={},
        cells=(make_cell(test, qlog_findings=QlogFindings(client=None, server=None)),),
        options={},
    )
    verdict = judge(read_policy(file), matrix)
    assert (verdict.is_green, len(verdict.findings)) == (is_green, 0 if is_green else 1)


class Stage:
    """Servers that say a word and sleep, a client that sleeps, and a network that has carried 1000 bytes."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "output.txt"
        self.client_output = folder / "client.txt"
        self.pump = Proxy(("127.0.0.1", 9), SIMPLE, folder, seed=1)
        self.pump.network.down.statistics.delivered_bytes = 1000
        self.was_away: list[bool] = []

    def servers(self, command: str = "sh -c 'echo up; exec sleep 60'") -> Servers:
        launch = local_peer("server", command).launch(Role.SERVER, {})

        def wait(_alive: object) -> None:
            while "up" not in self.output.read_text():
                pass
            self.was_away.append(self.pump.network.server_is_away)

        return Servers(lambda output: Process(launch, output), wait, self.output)

    def client(self, command: str = "sleep 60") -> Process:
        return Process(local_peer("client", command).launch(Role.CLIENT, {}), self.client_output)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with prepared(tmp_path) as stage:
        yield stage


@contextmanager
def prepared(folder: Path) -> Iterator[Stage]:
    stage = Stage(folder)
    with stage.pump:
        yield stage


def test_a_server_is_killed_and_started_anew(stage: Stage) -> None:
    """While there is none the network holds back what comes for it."""
    with stage.servers() as servers, stage.client() as client:
        servers.begin()
        first = servers.present
        servers.begin_anew(stage.pump, client, 1000, float("inf"))
        assert servers.present is not first
        assert first.poll() is not None
        assert servers.present.poll() is None
    assert servers.present.poll() is not None
    assert stage.was_away == [False, True]
    assert not stage.pump.network.server_is_away
    assert stage.output.with_name(KILLED_OUTPUT).read_text() == stage.output.read_text() == "up\n"


@pytest.mark.parametrize(("client", "deadline"), [("true", float("inf")), ("sleep 60", 0.0)])
def test_it_is_not_where_so_many_bytes_never_come(stage: Stage, client: str, deadline: float) -> None:
    with stage.servers() as servers, stage.client(client) as process:
        servers.begin()
        first = servers.present
        servers.begin_anew(stage.pump, process, 1001, deadline)
        assert servers.present is first
        assert first.poll() is None
