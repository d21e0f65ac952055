"""A cell as containers of the public runner's kind, with its simulator, by `docker compose`."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from endpoint.cli.errors import CommandError
from endpoint.cli.testcases import Role
from interop.results import Owner
from interop.runner.compose import IMAGE, SIMULATOR, compose_text, scenario_text
from interop.runner.outcome import Outcome
from interop.runner.plan import Cell
from interop.runner.process import GRACE
from interop.simnet.network import LEFT, RIGHT
from interop.testcases import TestCase

_OUTPUT: Final = "docker.txt"
# For everything but a cell itself; stopping takes its grace.
_ANSWER: Final = 30.0 + GRACE
# What docker makes of SIGKILL and SIGTERM.
_KILLED: Final = 137
_STOPPED: Final = frozenset({_KILLED, 143})


def missing() -> str:
    """Why no containers can be started here; empty if they can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if _docker("compose", "version").returncode:
        return "docker has no compose plugin"
    if _docker("info").returncode:
        return "no docker engine answers"
    return ""


def unfaithful(case: TestCase) -> str:
    """Why the public simulator can't do the case; empty if it can."""
    if case.pauses:
        return "containers aren't made to stand still"
    if case.restart_after:
        return "containers aren't started anew"
    if scenario_text(case.scenario) is None:
        return "the public runner's simulator has no such network"
    return ""


def run_endpoints(cell: Cell, folder: Path, names: Sequence[str]) -> Outcome:
    """Run the containers until one of them ends; logs and captures are in `folder` afterwards.

    Raises CommandError where docker refuses, TimeoutExpired where it hangs.
    """
    file = folder / "compose.json"
    file.write_text(compose_text(cell, folder, names))
    compose = ("compose", "--project-name", f"interquic-{os.getpid()}", "--file", str(file))
    limit = cell.case.limit * cell.timeout_scale
    try:
        _get_images({IMAGE, cell.server.image, cell.client.image})
        started = time.monotonic()
        in_time = _up(compose, folder / _OUTPUT, limit)
        seconds = time.monotonic() - started
        client, server = (_status(compose, role, folder) for role in (Role.CLIENT, Role.SERVER))
        _fetch(compose, folder)
    finally:
        _docker(*compose, "down", "--timeout", "1", "--volumes")
    ends_early = cell.case.ends_early
    return explain(client, server, seconds, limit=limit, in_time=in_time, ends_early=ends_early)


def explain(
    client: int, server: int, seconds: float, *, limit: float, in_time: bool, ends_early: bool = False
) -> Outcome:
    """What two containers' statuses mean. `in_time`: one of the three ended before the limit did."""
    was_stopped = client in _STOPPED
    outcome = Outcome(
        client=None if was_stopped else client,
        server=None if server == _KILLED else server,
        seconds=seconds,
        ends_early=ends_early,
    )
    if not (in_time and was_stopped):
        return outcome.explained(limit)
    if server not in _STOPPED:
        return outcome.explained(limit, early=server)
    problem = "server: the simulator ended first, as it does where no server answers"
    return replace(outcome, problem=problem, owner=Owner.SERVER)


def _get_images(images: Iterable[str]) -> None:
    """Not in the limit of time: what an image weighs says nothing about the endpoint.

    Compose would ask the registry for every image with the tag `latest`, for one that was built here, too.
    """
    for image in sorted(images):
        if _docker("image", "inspect", image).returncode:
            _checked("pull", "--quiet", image, timeout=None)


def _up(compose: Sequence[str], output: Path, limit: float) -> bool:
    """Start everything and wait; whether a container ended by itself in time. Then all are stopped."""
    command = ["docker", *compose, "up", "--abort-on-container-exit", "--timeout", f"{GRACE:.0f}"]
    with output.open("wb") as file:
        try:
            subprocess.run(  # noqa: S603 - docker, with a file of ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            _docker(*compose, "stop", "--timeout", f"{GRACE:.0f}")
            return False
    return True


def _status(compose: Sequence[str], role: Role, folder: Path) -> int:
    container = _checked(*compose, "ps", "--all", "--quiet", role.value)
    words = _checked("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container).split()
    # One that docker could not start has a status, too: 0.
    if not container or words[0] == "created":
        said = (folder / _OUTPUT).read_text(errors="replace").split("\n")
        raise CommandError(f"docker did not start the {role}: {next(filter(None, reversed(said)), '')}")
    return int(words[1])


def _fetch(compose: Sequence[str], folder: Path) -> None:
    """Logs are no mount but a folder in each container."""
    for service in (SIMULATOR, *Role):
        # An endpoint that refuses a test case may have ended before it made the folder.
        _docker(*compose, "cp", f"{service}:/logs/.", f"{folder / service}/")
    for role in Role:
        said = _checked(*compose, "logs", "--no-color", "--no-log-prefix", role.value)
        (folder / role / "output.txt").write_text(said)
    for name in (LEFT, RIGHT):
        captured = folder / SIMULATOR / Path(name).with_suffix(".pcap")
        if captured.exists():
            captured.rename(folder / SIMULATOR / name)


def _checked(*words: str, timeout: float | None = _ANSWER) -> str:
    done = _docker(*words, timeout=timeout)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise CommandError(f"docker {' '.join(words)}: {said[-1] if said else f'status {done.returncode}'}")
    return done.stdout.strip()


def _docker(*words: str, timeout: float | None = _ANSWER) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - docker, with a file of ours
        ["docker", *words],  # noqa: S607 - wherever the user has it
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
