"""Run one of the interop runner's test cases between two hosts, from the server's start to the captures."""

import datetime as dt
import random
import string
import time
from pathlib import Path

from image.runner import Container

from endpoint.testing.certificates import make_chain
from interop.capture import Capture
from interop.checks import Run
from interop.simnet.forwarder import Forwarder, wait_for_server
from interop.simnet.netns import Host
from interop.simnet.network import LEFT, RIGHT
from interop.testcases import TestCase

WORDS = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty", "kelp")


def run_case(case: TestCase, hosts: tuple[Host, Host], directory: Path, seed: int) -> tuple[list[str], Run]:
    """Complaints about the endpoints' behaviour as processes, and what the checks need."""
    source = random.Random(seed)
    files = make_files(case, source)
    with (
        Container(directory / "client", "client", hosts[0].command) as client,
        Container(directory / "server", "server", hosts[1].command) as server,
    ):
        write_inputs(case, client, server, files)
        started = time.monotonic()
        server.start(case.server)
        try:
            wait_for_server(hosts[1])
        except (TimeoutError, ValueError) as error:
            raise AssertionError(f"{error}: {server.output}") from error
        with Forwarder(*hosts, case.scenario, directory, seed=source.getrandbits(32)):
            client.start(case.client, requests=" ".join(f"https://{case.host}:443/{name}" for name in files))
            client_status = client.wait(case.limit - (time.monotonic() - started))
            server_status, _ = server.terminate()
        seconds = time.monotonic() - started
    output = f"client:\n{client.output}\nserver:\n{server.output}"
    print(f"{case.name}: {seconds:.1f} s\n{output}")
    complaints = [
        f"{container.role} ended with {status}"
        for container, status in ((client, client_status), (server, server_status))
        if status != 0
    ]
    if seconds > case.limit:
        complaints.append(f"{seconds:.1f} s, the limit is {case.limit} s")
    logs = (client.logs / "keys.log", server.logs / "keys.log")
    return complaints, Run(
        left=Capture(directory / LEFT, logs[0]),
        right=Capture(directory / RIGHT, logs[0]),
        expected=files,
        downloaded=client.downloaded,
        key_logs=(logs[0].read_text(), logs[1].read_text()),
    )


def make_files(case: TestCase, source: random.Random) -> dict[str, bytes]:
    """Random content under names as the runner makes them."""
    files: dict[str, bytes] = {}
    while len(files) < len(case.sizes):
        if case.name_length:
            name = "".join(source.choices(string.ascii_lowercase, k=case.name_length))
        else:
            name = "-".join((*source.choices(WORDS, k=3), str(len(files))))
        files[name] = source.randbytes(case.sizes[len(files)])
    return files


def write_inputs(case: TestCase, client: Container, server: Container, files: dict[str, bytes]) -> None:
    """The server's files, and the same new certificates for both."""
    for name, content in files.items():
        (server.www / name).write_bytes(content)
    long = case.certificates > 1
    chain = make_chain(
        dt.datetime.now(dt.UTC) - dt.timedelta(hours=1),
        length=case.certificates,
        padding_names=20 if long else 0,
    )
    for container in (client, server):
        chain.write(container.certs)
