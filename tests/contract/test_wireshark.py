"""Our dissector and the checks on top of it against Wireshark's, on what real test cases leave.

Needs tshark; in CI a missing one fails.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from contract.runner import run_case
from wireshark import tshark, tshark_checks
from wireshark.equality import Datagrams, ours, theirs

from interop import checks, path_checks
from interop.checks import Check, Run

# Short captures: Wireshark is run a dozen times on each.
NAMES = ("handshake", "retry", "resumption", "zerortt", "ecn", "handshakeloss", "v2", "versionnegotiation")

PAIRS: tuple[tuple[Check, Callable[[tshark_checks.Run], list[str]]], ...] = (
    (checks.handshakes(1), tshark_checks.handshakes(1)),
    (checks.handshakes(2), tshark_checks.handshakes(2)),
    (checks.version, tshark_checks.version),
    (checks.no_retry, tshark_checks.no_retry),
    (checks.repeated_client_hello, tshark_checks.repeated_client_hello),
    (checks.only_chacha20, tshark_checks.only_chacha20),
    (checks.stream_limit, tshark_checks.stream_limit),
    (checks.retry, tshark_checks.retry),
    (checks.resumption, tshark_checks.resumption),
    (checks.early_data, tshark_checks.early_data),
    (checks.key_update, tshark_checks.key_update),
    (checks.ecn, tshark_checks.ecn),
    (checks.amplification, tshark_checks.amplification),
    (checks.only_ipv6, tshark_checks.only_ipv6),
    (checks.version_2, tshark_checks.version_2),
    (checks.version_negotiation, tshark_checks.version_negotiation),
    (path_checks.challenged_paths, tshark_checks.challenged_paths),
    (path_checks.changed_address, tshark_checks.changed_address),
    (path_checks.fresh_connection_ids, tshark_checks.fresh_connection_ids),
)


@pytest.fixture(autouse=True)
def _tshark() -> None:
    if shutil.which("tshark") is None:
        assert os.environ.get("CI") != "true", "there is no tshark: in CI the dissectors are compared"
        pytest.skip("there is no tshark: OUR DISSECTOR IS NOT COMPARED WITH WIRESHARK'S")


@pytest.mark.parametrize("test", NAMES)
@pytest.mark.usefixtures("hosts")
def test_equal(test: str, tmp_path: Path, seed: int) -> None:
    _, run = run_case(test, tmp_path, seed)
    for capture in (run.left, run.right):
        compare(ours(capture.file, capture.key_log), theirs(capture.file, capture.key_log))
    their_run = tshark_checks.Run(
        *(tshark.Capture(each.file, each.key_log) for each in (run.left, run.right))
    )
    verdicts = {
        check.__qualname__: (check(run) == [], their_check(their_run) == []) for check, their_check in PAIRS
    }
    print(verdicts)
    assert {name: both for name, both in verdicts.items() if len(set(both)) > 1} == {}


def compare(our: Datagrams, their: Datagrams) -> None:
    """On a network that loses or damages packets: whatever Wireshark has opened is the same.

    It opens nothing that comes before a ServerHello that was lost, and shows its messages when they come
    again; it also takes damaged headers for other things than we do.
    """
    assert our.keys() == their.keys()
    opened = 0
    for number, their_datagram in their.items():
        assert our[number][:4] == their_datagram[:4]
        for our_row, their_row in zip(our[number][4], their_datagram[4], strict=False):
            if their_row.number is not None:
                opened += 1
                assert replace(our_row, handshake=()) == replace(their_row, handshake=()), number
    assert opened > 0


@pytest.mark.usefixtures("hosts")
def test_the_comparison_complains(tmp_path: Path, seed: int) -> None:
    _, run = run_case("handshake", tmp_path, seed)
    their = theirs(run.left.file, run.left.key_log)
    first = their[1]
    their[1] = (*first[:4], [replace(first[4][0], number=7)])
    with pytest.raises(AssertionError):
        compare(ours(run.left.file, run.left.key_log), their)
    closed: Run = replace(run, left=replace(run.left, key_log=tmp_path / "none"))
    assert checks.stream_limit(closed) != []
