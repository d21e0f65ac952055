"""One cell and many, with peers of a few lines, on a relay; and one real cell of ourselves."""

import json
import multiprocessing
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from interop_samples import nothing_runs, script_peer

from endpoint.cli.errors import CommandError
from endpoint.cli.testcases import Role
from interop import results
from interop.install import install
from interop.registry import Install, Peer, load_peers, local_peer
from interop.results import RESULTS, CellResult, Owner, Status
from interop.runner import compliance
from interop.runner.aftermath import MAX_TRACE, conclude
from interop.runner.carrier import Network
from interop.runner.cell import blank_result, first_end, run_cell
from interop.runner.matrix import Matrix, resume
from interop.runner.outcome import Outcome
from interop.runner.plan import Cell, in_good_order, shard
from interop.runner.pool import Pool
from interop.runner.process import Process


def make_cell(server: Peer, client: Peer, log_dir: Path, test: str = "handshake", repeat: int = 1) -> Cell:
    return Cell(
        server=server,
        client=client,
        test=test,
        repeat=repeat,
        network=Network.PROXY,
        seed=1,
        timeout_scale=1.0,
        log_dir=log_dir,
    )


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    return script_peer("script", tmp_path)


def ourselves() -> Peer:
    return load_peers()["interquic"]


def test_ourselves(tmp_path: Path) -> None:
    """A whole cell: processes, relay, key logs, captures dissected, checks, traces."""
    result = run_cell(make_cell(ourselves(), ourselves(), tmp_path))
    assert (result.status, result.explanation) == (Status.SUCCEEDED, "")
    assert [check.name for check in result.checks if not check.passed] == []
    assert {"files", "handshakes", "version", "no retry", "key log", "dissected"} <= {
        check.name for check in result.checks
    }
    assert (result.qlog_findings.client, result.qlog_findings.server) == (0, 0)
    folder = tmp_path / result.log_dir
    left = sorted(path.name for path in folder.rglob("*") if path.is_file())
    small = ["pairs.json", "qlog.txt", "qvis.qlog"]
    assert left == ["keys.log", "keys.log", "output.txt", "output.txt", *small]
    (pair,) = json.loads((folder / "pairs.json").read_text())
    assert pair["findings"] == []


def test_large_traces_of_a_success_are_not_exported(tmp_path: Path) -> None:
    result = run_cell(make_cell(ourselves(), ourselves(), tmp_path, "multiplexing"))
    assert (result.status, result.explanation) == (Status.SUCCEEDED, "")
    folder = tmp_path / result.log_dir
    assert "MB of a success" in (folder / "qlog.txt").read_text()
    assert not (folder / "qvis.qlog").exists()
    assert (folder / "pairs.json").exists()


def test_a_trace_without_end_is_not_read(tmp_path: Path, peer: Peer) -> None:
    cell = make_cell(peer, peer, tmp_path)
    trace = tmp_path / cell.folder / "server" / "qlog" / "flood.sqlog"
    trace.parent.mkdir(parents=True)
    with trace.open("wb") as file:
        file.truncate(MAX_TRACE + 1)
    result = conclude(cell, blank_result(cell))
    assert result.qlog_findings.server is None
    assert "flood.sqlog: not read: 67 MB" in (tmp_path / cell.folder / "qlog.txt").read_text()


def test_a_failure_is_explained(tmp_path: Path, peer: Peer) -> None:
    result = run_cell(make_cell(peer, peer, tmp_path / "logs"))
    assert (result.status, result.owner) == (Status.FAILED, Owner.UNKNOWN)
    assert result.explanation.startswith("client: ended with 1; files: ")
    assert "; handshakes: 0 handshakes instead of 1" in result.explanation
    folder = tmp_path / "logs" / result.log_dir
    page = (folder / "explanation.md").read_text()
    assert "a version it is not" in page
    assert "--server script --client script --test handshake --network proxy --seed 1" in page
    assert "| client ends with 0 | **failed** | status 1 |" in page
    assert (folder / "sim" / "trace_node_left.pcapng").stat().st_size > 1200


def test_a_short_cell(tmp_path: Path, peer: Peer) -> None:
    cell = make_cell(peer, peer, tmp_path, "handshakeloss")
    short = replace(cell, short=True)
    assert (len(cell.case.sizes), len(short.case.sizes)) == (50, 10)
    assert short.replay == f"{cell.replay} --short"


def test_what_is_missing_is_found(tmp_path: Path) -> None:
    """Status 0 is not enough."""
    liar = script_peer("liar", tmp_path, behaviour="sys.exit(0)")
    result = run_cell(make_cell(liar, liar, tmp_path / "logs"))
    assert result.status is Status.FAILED
    failed = {check.name: check.message for check in result.checks if not check.passed and not check.strict}
    assert failed["files"].endswith("is missing")
    assert failed["handshakes"] == "0 handshakes instead of 1"


def test_a_case_that_a_side_refuses(tmp_path: Path, peer: Peer) -> None:
    result = run_cell(make_cell(peer, peer, tmp_path / "logs", "chacha20"))
    assert (result.status, result.owner) == (Status.UNSUPPORTED, Owner.SERVER)


def test_a_case_that_the_description_lacks_starts_nothing(tmp_path: Path, peer: Peer) -> None:
    spec = replace(peer.roles[Role.CLIENT], testcases=("transfer",), start=("no such program",))
    modest = replace(peer, roles={**peer.roles, Role.CLIENT: spec})
    result = run_cell(make_cell(peer, modest, tmp_path / "logs"))
    assert (result.status, result.owner) == (Status.UNSUPPORTED, Owner.CLIENT)
    assert result.explanation == "script as client has no test case handshake"


def test_a_known_failure_is_not_unexpected(tmp_path: Path, peer: Peer) -> None:
    spec = replace(peer.roles[Role.CLIENT], known={"handshake": "it is no QUIC"})
    result = run_cell(
        make_cell(peer, replace(peer, roles={**peer.roles, Role.CLIENT: spec}), tmp_path / "logs")
    )
    assert (result.status, result.known, result.unexpected) == (Status.FAILED, "it is no QUIC", False)


def test_a_failure_that_either_side_may_have_caused(tmp_path: Path, peer: Peer) -> None:
    """Both reasons are told: the first alone might be the wrong one."""
    roles = {
        role: replace(spec, known={"handshake": f"has no {role} hello"}) for role, spec in peer.roles.items()
    }
    both = replace(peer, roles=roles)
    told = blank_result(make_cell(both, both, tmp_path)).known
    assert told == "the server has no server hello; or the client has no client hello"


def test_a_failure_that_is_known_of_one_pair_alone(tmp_path: Path, peer: Peer) -> None:
    spec = replace(peer.roles[Role.SERVER], known_with={"script": {"handshake": "it is no QUIC"}})
    choosy = replace(peer, roles={**peer.roles, Role.SERVER: spec})
    assert blank_result(make_cell(choosy, peer, tmp_path)).known == "it is no QUIC"
    assert blank_result(make_cell(choosy, replace(peer, name="other"), tmp_path)).known == ""


def test_a_server_that_ends(tmp_path: Path, peer: Peer) -> None:
    gone = script_peer("gone", tmp_path, unknown=3)
    result = run_cell(make_cell(gone, peer, tmp_path / "logs", "chacha20"))
    assert (result.status, result.owner) == (Status.FAILED, Owner.SERVER)
    assert result.explanation == "server: ended with 3 before the test"


def test_a_client_that_does_not_end(tmp_path: Path, peer: Peer) -> None:
    slow = script_peer("slow", tmp_path, behaviour="time.sleep(60)")
    started = time.monotonic()
    result = run_cell(replace(make_cell(peer, slow, tmp_path / "logs"), timeout_scale=0.05))
    assert result.status is Status.FAILED
    assert result.explanation.startswith("client: still runs after 3 s; files: ")
    assert time.monotonic() - started < 20.0


def test_the_limit_is_for_the_stop_as_well() -> None:
    assert Outcome(client=0, server=None, seconds=59.9).explained(60.0).problem == ""
    late = Outcome(client=0, server=None, seconds=61.04).explained(60.0)
    assert late.problem == "not over after 60 s: the server stopped at 61.0 s"


def test_a_server_may_end_once_the_client_has(tmp_path: Path) -> None:
    parent = load_peers()["interquic"]

    def start(name: str, *command: str) -> Process:
        spec = replace(parent.roles[Role.CLIENT], start=command)
        launch = replace(parent, roles={Role.CLIENT: spec}).launch(Role.CLIENT, {})
        return Process(launch, tmp_path / name)

    with start("a", "true") as over, start("b", "false") as gone, start("c", "sleep", "60") as lasting:
        assert gone.wait(10.0) == 1
        deadline = time.monotonic() + 10.0
        assert first_end(over, gone, deadline) == (0, None)
        assert first_end(lasting, gone, deadline) == (None, 1)
        assert first_end(lasting, lasting, time.monotonic() + 0.01) == (None, None)


@pytest.mark.parametrize(
    ("test", "status", "explanation"),
    [
        ("transfer", Status.FAILED, "files: "),
        ("multiplexing", Status.UNSUPPORTED, "neither side left a key log"),
    ],
)
def test_a_key_log_that_is_none(tmp_path: Path, test: str, status: Status, explanation: str) -> None:
    """As if there were none: the endpoint's, not the machine's fault."""
    odd = 'pathlib.Path(os.environ["SSLKEYLOGFILE"]).write_bytes(b"\\xff \\n"); sys.exit(0)'
    peer = script_peer("odd", tmp_path, behaviour=odd)
    result = run_cell(make_cell(peer, peer, tmp_path / "logs", test))
    assert (result.status, result.owner is Owner.RUNNER) == (status, False)
    assert result.explanation.startswith(explanation)


def test_a_relay_cannot_be_a_preferred_address(tmp_path: Path, peer: Peer) -> None:
    result = run_cell(make_cell(peer, peer, tmp_path / "logs", "connectionmigration"))
    assert (result.status, result.owner) == (Status.UNSUPPORTED, Owner.RUNNER)
    assert "preferred address" in result.explanation


def test_compliance(tmp_path: Path, peer: Peer) -> None:
    rude = script_peer("rude", tmp_path, unknown=0)
    problems = compliance.check_all([(peer, Role.CLIENT), (rude, Role.CLIENT), (rude, Role.SERVER)], seed=1)
    assert set(problems) == {("rude", Role.CLIENT), ("rude", Role.SERVER)}
    assert problems[("rude", Role.CLIENT)].startswith(
        "rude as client ends with 0 for a test case that does not"
    )


def test_children_of_an_endpoint_end_with_it(tmp_path: Path) -> None:
    program = f"sh -c 'tail -f {tmp_path}/pid & echo $! > {tmp_path}/pid; wait'"
    parent = load_peers()["interquic"]
    spec = replace(parent.roles[Role.CLIENT], start=("sh", "-c", program))
    launch = replace(parent, roles={Role.CLIENT: spec}).launch(Role.CLIENT, {})
    with Process(launch, tmp_path / "output.txt") as process:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            time.sleep(0.01)
        process.stop()
    assert nothing_runs(str(tmp_path))


def test_a_process_that_stands_still(tmp_path: Path) -> None:
    parent = load_peers()["interquic"]
    spec = replace(parent.roles[Role.CLIENT], start=("sleep", "60"))
    launch = replace(parent, roles={Role.CLIENT: spec}).launch(Role.CLIENT, {})
    with Process(launch, tmp_path / "output.txt") as process:
        process.pause([(0.05, 30.0)])
        time.sleep(0.3)
        # SIGTERM can't end a process that is stopped: `stop` lets it go on first.
        assert process.stop(grace=5.0) == -signal.SIGTERM


def test_order_and_shards(tmp_path: Path, peer: Peer) -> None:
    tests = ("handshake", "transfer", "handshakeloss", "goodput")
    cells = in_good_order(
        [make_cell(peer, peer, tmp_path, test, repeat) for test in tests for repeat in (1, 2)]
    )
    assert [cell.test for cell in cells[:4]] == ["handshakeloss", "transfer", "goodput", "handshake"]
    assert [cell.repeat for cell in cells] == [1] * 4 + [2] * 4
    parts = [shard(cells, number, 3) for number in (1, 2, 3)]
    assert sorted(cell.key for part in parts for cell in part) == sorted(cell.key for cell in cells)


def test_every_pair_has_a_folder_of_its_own(tmp_path: Path, peer: Peer) -> None:
    names = ("a", "a_b", "b_c", "c", "a_", "_b", "b")
    pairs = [(replace(peer, name=one), replace(peer, name=other)) for one in names for other in names]
    folders = {make_cell(server, client, tmp_path).folder for server, client in pairs}
    assert len(folders) == len(pairs)
    assert str(make_cell(pairs[0][0], pairs[3][1], tmp_path).folder) == "a_c/handshake/1"


def test_a_replay_has_the_seed_of_the_repetition(tmp_path: Path, peer: Peer) -> None:
    third = make_cell(peer, peer, tmp_path, repeat=3)
    assert third.replay.endswith("--seed 3")
    assert replace(third, repeat=1, seed=3).own_seed == third.own_seed
    assert third.own_seed != make_cell(peer, peer, tmp_path).own_seed


def make_matrix(cells: list[Cell], log_dir: Path) -> Matrix:
    options = {"seed": "1", "timeout scale": "1.0"}
    done, started = resume(log_dir, options, cells)
    return Matrix(cells=cells, log_dir=log_dir, options=options, jobs=2, seed=1, done=done, started=started)


def test_a_matrix_goes_on_where_it_was_interrupted(tmp_path: Path, peer: Peer) -> None:
    """The second run has the cell that is done and runs the other one only."""
    slow = script_peer("slow", tmp_path, behaviour="time.sleep(60)")
    logs = tmp_path / "logs"
    cells = [make_cell(peer, peer, logs), make_cell(peer, slow, logs)]
    matrix = make_matrix(cells, logs)

    def interrupt(result: CellResult | None, _pool: Pool) -> None:
        if result is not None:
            raise KeyboardInterrupt

    first = matrix.run(interrupt)
    assert matrix.interrupted
    assert [cell.client for cell in first.cells] == ["script"]
    assert results.read(logs / RESULTS) == first
    assert multiprocessing.active_children() == []

    brave = script_peer("slow", tmp_path)
    ran: list[str] = []

    def note(result: CellResult | None, _pool: Pool) -> None:
        if result is not None:
            ran.append(result.client)

    second = make_matrix([cells[0], make_cell(peer, brave, logs)], logs).run(note)
    assert ran == ["slow"]
    assert [cell.client for cell in second.cells] == ["script", "slow"]


def test_a_run_with_another_seed_is_another_run(tmp_path: Path, peer: Peer) -> None:
    logs = tmp_path / "logs"
    make_matrix([], logs).run(lambda _result, _pool: None)
    with pytest.raises(CommandError, match="that run has seed 1, this one 2"):
        resume(logs, {"seed": "2", "timeout scale": "1.0"}, [make_cell(peer, peer, logs)])


def test_a_run_does_not_lose_what_an_earlier_one_has(tmp_path: Path, peer: Peer) -> None:
    """Fewer cells, another network or another version are another run."""
    logs = tmp_path / "logs"
    cell = make_cell(peer, peer, logs)
    refused = replace(cell, test="chacha20")
    make_matrix([refused], logs).run(lambda _result, _pool: None)
    options = {"seed": "1", "timeout scale": "1.0"}
    assert list(resume(logs, options, [cell, refused])[0]) == [refused.key]
    for cells in ([cell], [replace(refused, network=Network.NETNS)]):
        with pytest.raises(CommandError, match=r"leave out \(script ← script chacha20 on proxy\)"):
            resume(logs, options, cells)
    newer = replace(peer, version="2")
    with pytest.raises(CommandError, match="has script local, here it is 2"):
        resume(logs, options, [replace(refused, server=newer, client=newer)])


def test_cells_of_peers_that_do_not_comply_fail_at_once(tmp_path: Path, peer: Peer) -> None:
    rude = script_peer("rude", tmp_path, unknown=0)
    logs = tmp_path / "logs"
    result = make_matrix([make_cell(rude, peer, logs)], logs).run(lambda _result, _pool: None)
    assert [(cell.status, cell.owner) for cell in result.cells] == [(Status.FAILED, Owner.SERVER)]
    assert "rude as server ends with 0" in (logs / result.cells[0].log_dir / "explanation.md").read_text()


def test_a_run_keeps_the_versions_that_it_uses(tmp_path: Path, peer: Peer) -> None:
    """Somebody installs another one meanwhile."""
    versions = [
        replace(peer, install=Install(steps=(("true",),)), home=tmp_path / "cache" / f"script-{digest}")
        for digest in ("0123456789ab", "ba9876543210")
    ]
    install(versions[0])
    seen: list[bool] = []

    def update(_result: CellResult | None, _pool: Pool) -> None:
        install(versions[1])
        seen.append(versions[0].home.is_dir())

    logs = tmp_path / "logs"
    make_matrix([make_cell(versions[0], versions[0], logs)], logs).run(update)
    assert seen
    assert all(seen)
    install(versions[1])
    assert not versions[0].home.exists()


def test_what_a_command_that_is_none_says(tmp_path: Path) -> None:
    peer = local_peer("typo", f"{sys.executable} {tmp_path}/strat.py")
    problems = compliance.check_all([(peer, Role.CLIENT)], seed=1)
    assert problems[("typo", Role.CLIENT)].endswith("strat.py': [Errno 2] No such file or directory")


def test_a_worker_that_is_killed_is_a_result(tmp_path: Path, peer: Peer) -> None:
    killer = script_peer(
        "killer", tmp_path, behaviour="os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"
    )
    with Pool(1) as pool:
        found = [result for result in pool.run([make_cell(peer, killer, tmp_path / "logs")], 0.1) if result]
    assert [(cell.status, cell.owner) for cell in found] == [(Status.FAILED, Owner.RUNNER)]
    assert found[0].explanation == f"runner: the worker ended with {-signal.SIGKILL}"
    page = (tmp_path / "logs" / found[0].log_dir / "explanation.md").read_text()
    assert "Whose failure: runner. runner: the worker ended with -9" in page
    assert "Run just this again:" in page
    assert nothing_runs(str(tmp_path))
