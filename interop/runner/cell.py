"""One cell: start both endpoints on the simulated network, stop them, and judge what they left."""

import random
import shutil
import subprocess
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Final

from endpoint.cli.errors import CommandError
from endpoint.cli.testcases import Role
from interop.capture import Capture, choose_key_log
from interop.checks import Run
from interop.dissect.container import CaptureError
from interop.results import CellResult, CheckResult, Owner, Status
from interop.runner import aftermath, docker, verdict
from interop.runner.carrier import Network, Site, open_site, unfaithful
from interop.runner.inputs import make_files, write_certificates, write_files
from interop.runner.outcome import Outcome
from interop.runner.plan import Cell
from interop.runner.process import UNSUPPORTED, Process
from interop.runner.servers import Servers
from interop.simnet.network import LEFT, RIGHT
from interop.testcases import Group

_SERVER_START: Final = 10.0
# For a process whose end tells nothing any more.
_STOP: Final = 3.0
_POLL: Final = 0.05


def run_cell(cell: Cell) -> CellResult:
    """Run it and explain it; whatever goes wrong on this machine is a result as well."""
    folder = _new_folder(cell)
    refusal, owner = _refusal(cell)
    if refusal:
        return blank_result(cell, Status.UNSUPPORTED, owner, refusal)
    try:
        result = _run(cell, folder)
    except (OSError, subprocess.SubprocessError, CommandError, CaptureError) as error:
        (folder / "runner.txt").write_text(traceback.format_exc())
        result = blank_result(cell, Status.FAILED, Owner.RUNNER, f"runner: {error}")
    return aftermath.conclude(cell, result)


def refuse_cell(cell: Cell, owner: Owner, problem: str) -> CellResult:
    """The result of a cell that one side is not fit for, explained as if it had run."""
    _new_folder(cell)
    return aftermath.conclude(cell, blank_result(cell, Status.FAILED, owner, problem))


def _new_folder(cell: Cell) -> Path:
    folder = cell.log_dir / cell.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def blank_result(
    cell: Cell, status: Status = Status.UNSUPPORTED, owner: Owner | None = None, explanation: str = ""
) -> CellResult:
    """A result that knows no more than the cell and this."""
    return CellResult(
        server=cell.server.name,
        client=cell.client.name,
        test=cell.test,
        status=status,
        owner=owner,
        explanation=explanation,
        seed=cell.own_seed,
        repeat=cell.repeat,
        network=cell.network.value,
        log_dir=str(cell.folder),
        known=_known(cell),
    )


def _known(cell: Cell) -> str:
    """Where either side is known to fail, both reasons: which of them it was, the cell alone doesn't tell."""
    sides = ((cell.server, Role.SERVER, cell.client), (cell.client, Role.CLIENT, cell.server))
    found = {role: peer.known_failure(role, cell.test, other.name) for peer, role, other in sides}
    reasons = {role: reason for role, reason in found.items() if reason}
    if len(reasons) < 2:
        return next(iter(reasons.values()), "")
    return "; or ".join(f"the {role} {reason}" for role, reason in reasons.items())


def _refusal(cell: Cell) -> tuple[str, Owner | None]:
    """Why there is no point in starting anything, and who is to blame."""
    case = cell.case
    if not cell.client.supports(Role.CLIENT, case.client):
        return f"{cell.client.name} as client has no test case {case.client}", Owner.CLIENT
    if not cell.server.supports(Role.SERVER, case.server):
        return f"{cell.server.name} as server has no test case {case.server}", Owner.SERVER
    if not cell.alpn:
        return "the two have no application protocol in common", Owner.UNKNOWN
    reason = docker.unfaithful(case) if cell.network is Network.DOCKER else unfaithful(cell.network, case)
    return reason, Owner.RUNNER if reason else None


def _run(cell: Cell, folder: Path) -> CellResult:
    case = cell.case
    source = random.Random(cell.own_seed)  # noqa: S311 - it has to be repeatable, not secret
    files = make_files(case, source)
    write_files(files, folder / "www")
    write_certificates(case, folder / "certs")
    for role in Role:
        (folder / role / "qlog").mkdir(parents=True)
    (folder / "downloads").mkdir()
    (folder / "sim").mkdir()
    if cell.network is Network.DOCKER:
        outcome = docker.run_endpoints(cell, folder, list(files))
    else:
        with open_site(cell.network, case) as site:
            outcome = _run_endpoints(cell, site, folder, list(files), source.getrandbits(32))
    result = replace(blank_result(cell), seconds=round(outcome.seconds, 3), checks=_ends(outcome))
    for side, status in ((Owner.SERVER, outcome.server), (Owner.CLIENT, outcome.client)):
        if status == UNSUPPORTED:
            return replace(result, owner=side, explanation=f"the {side} says so")
    if not (folder / "sim" / LEFT).exists():
        return replace(result, status=Status.FAILED, owner=outcome.owner, explanation=outcome.problem)
    run = collect(folder, files, both_logs=case.group is Group.EXTRA)
    run = replace(run, client_end=outcome.client_end)
    judged = verdict.judge(cell, run, result)
    if not outcome.problem:
        return judged
    # The verdict is clear without the checks; they tell how far the two got.
    explanation = "; ".join(text for text in (outcome.problem, judged.explanation) if text)
    return replace(judged, status=Status.FAILED, owner=outcome.owner, explanation=explanation)


def _run_endpoints(cell: Cell, site: Site, folder: Path, names: list[str], seed: int) -> Outcome:
    case = cell.case
    limit = case.limit * cell.timeout_scale
    started = time.monotonic()
    variables = _variables(folder, Role.SERVER, case.server) | dict(site.server_environment)
    variables["WWW"] = str(folder / "www")
    server_launch = cell.server.launch(Role.SERVER, variables)
    with Servers(
        start=lambda output: Process(server_launch, output, site.server_prefix),
        wait=lambda alive: site.wait_for_server(_SERVER_START * cell.timeout_scale, alive),
        output=folder / "server" / "output.txt",
    ) as servers:
        try:
            servers.begin()
        except (TimeoutError, ValueError) as error:
            return _no_server(servers.present, error, "before the test")
        with site.network(folder / "sim", seed) as pump:
            authority = site.authority(pump)
            variables = _variables(folder, Role.CLIENT, case.client)
            variables["REQUESTS"] = " ".join(f"https://{authority}/{name}" for name in names)
            variables["DOWNLOADS"] = str(folder / "downloads")
            variables["ALPN"] = cell.alpn
            launch = cell.client.launch(Role.CLIENT, variables)
            with Process(launch, folder / "client" / "output.txt", site.client_prefix) as client:
                client.pause(case.pauses)
                if case.restart_after:
                    try:
                        servers.begin_anew(pump, client, case.restart_after, started + limit)
                    except (TimeoutError, ValueError) as error:
                        return _no_server(servers.present, error, "when it was started anew")
                client_status, early = first_end(client, servers.present, started + limit)
                client_end = pump.now
                client.stop(_STOP)
            server_status = servers.present.stop()
    outcome = Outcome(
        client=client_status,
        server=server_status,
        seconds=time.monotonic() - started,
        client_end=client_end,
        ends_early=case.ends_early,
    )
    return outcome.explained(limit, early)


def _no_server(server: Process, error: Exception, when: str) -> Outcome:
    """The outcome where one does not answer."""
    status = server.stop(_STOP)
    problem = f"server: {error}" if status == 0 else f"server: ended with {status} {when}"
    return Outcome(server=status, problem=problem, owner=Owner.SERVER)


def first_end(client: Process, server: Process, deadline: float) -> tuple[int | None, int | None]:
    """Return when either has ended, which ends the run: the client's status, or that of a server before it.

    Both are None at the deadline. Once the client has ended a server may end by itself, too.
    """
    while time.monotonic() < deadline:
        status = client.wait(_POLL)
        if status is not None:
            return status, None
        if server.poll() is not None:
            return None, server.poll()
    return None, None


def _variables(folder: Path, role: Role, testcase: str) -> dict[str, str]:
    return {
        "TESTCASE": testcase,
        "REQUESTS": "",
        "SSLKEYLOGFILE": str(folder / role / "keys.log"),
        "QLOGDIR": f"{folder / role / 'qlog'}/",
        f"{role.upper()}_PARAMS": "",
        "CRON": "",
        "PROTOCOLS": "",
        "CERTS": str(folder / "certs"),
    }


def _ends(outcome: Outcome) -> tuple[CheckResult, ...]:
    """The runner does not look at how the server ended; we do, without a verdict on it."""
    client = CheckResult(
        name="client ends with 0", passed=outcome.client == 0, message=f"status {outcome.client}"
    )
    server = CheckResult(
        name="server ends with 0",
        passed=outcome.server == 0,
        strict=True,
        message="killed" if outcome.server is None else f"status {outcome.server}",
    )
    return (server,) if outcome.ends_early else (client, server)


def collect(folder: Path, files: dict[str, bytes], *, both_logs: bool = False) -> Run:
    """What is left of a cell in its folder, for the checks. `files` is what the client should have.

    The runner opens captures with one key log. `both_logs`: with what either side knows, if it is of use.
    """
    logs = (folder / Role.CLIENT / "keys.log", folder / Role.SERVER / "keys.log")
    texts = [log.read_text(errors="replace") if log.exists() else "" for log in logs]
    # One that is of no use is none, to the runner as well.
    key_log = choose_key_log(*logs) or folder / "no-keys.log"
    if both_logs and key_log.exists():
        key_log = folder / "both-keys.log"
        key_log.write_text("\n".join(texts))
    downloads = folder / "downloads"
    return Run(
        left=Capture(folder / "sim" / LEFT, key_log),
        right=Capture(folder / "sim" / RIGHT, key_log),
        expected=files,
        downloaded={path.name: path.read_bytes() for path in downloads.iterdir() if path.is_file()},
        key_logs=(texts[0], texts[1]),
    )
