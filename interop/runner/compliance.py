"""What the runner asks of an endpoint before anything else: status 127 for a test case that nobody has."""

import random
import string
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from endpoint.cli.errors import CommandError
from endpoint.cli.testcases import Role
from interop.registry import Peer
from interop.runner.process import UNSUPPORTED, Process

_LIMIT: Final = 30.0
_NAME_LENGTH: Final = 8
# Starting interpreters is work for the processor alone.
_AT_ONCE: Final = 2


def check_all(sides: Iterable[tuple[Peer, Role]], *, seed: int) -> dict[tuple[str, Role], str]:
    """What is wrong with those that do not comply. Containers aren't asked: they wait for a simulator."""
    name = "".join(random.Random(seed).choices(string.ascii_lowercase, k=_NAME_LENGTH))  # noqa: S311 - any word
    wanted = list({(peer.name, role): (peer, role) for peer, role in sides if not peer.image}.values())
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        problems = pool.map(lambda side: _problem(side[0], side[1], name), wanted)
    return {(peer.name, role): text for (peer, role), text in zip(wanted, problems, strict=True) if text}


def _problem(peer: Peer, role: Role, testcase: str) -> str:
    with tempfile.TemporaryDirectory(prefix="interquic-") as root:
        folder = Path(root)
        # The runner's folders are there, and empty.
        variables = {"TESTCASE": testcase, "REQUESTS": "", "SSLKEYLOGFILE": str(folder / "keys.log")}
        for variable in ("QLOGDIR", "WWW", "DOWNLOADS", "CERTS"):
            (folder / variable).mkdir()
            variables[variable] = str(folder / variable)
        try:
            with Process(peer.launch(role, variables), folder / "output.txt") as process:
                status = process.wait(_LIMIT)
                said = process.output.split("\n")
        except (OSError, CommandError) as error:
            return f"{peer.name} as {role} can't be started: {error}"
    if status == UNSUPPORTED:
        return ""
    answer = f"ends with {status}" if status is not None else f"runs for more than {_LIMIT:.0f} s"
    text = f"{peer.name} as {role} {answer} for a test case that does not exist; {UNSUPPORTED} is asked for"
    last = next((line.strip() for line in reversed(said) if line.strip()), "")
    return f"{text}. It said: {last}" if last else text
