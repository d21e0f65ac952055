"""`interquic qlog pair` on datagrams: what was damaged on the way, by the checksums of both sides."""

import re
from dataclasses import replace
from typing import Any

import pytest
from qlog_emitted import SCENARIOS, Traced, download

from endpoint.cli.main import main
from qlog.datagrams import Datagram, Datagrams, compare_datagrams
from qlog.pair import Report, pair


def paired(traced: Traced) -> Report:
    [client] = traced.folder.glob("*_client.sqlog")
    [server] = traced.folder.glob("*_server.sqlog")
    return pair(client, server)


@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - {"corruption", "version_negotiation"}))
def test_nothing_is_damaged(name: str, traced: Traced) -> None:
    """Also where some of what arrives is not the connection's, as a Retry."""
    SCENARIOS[name](traced)
    report = paired(traced)
    assert report.consistent
    for direction in (report.client_to_server, report.server_to_client):
        assert direction.datagrams > 0
        assert direction.damaged == []


def test_lengths_that_no_datagram_has(traced: Traced) -> None:
    download(traced)
    for path in traced.folder.iterdir():
        # The first length of each list of raw.
        path.write_text(re.sub(r'"raw":\[\{"length":\d+', f'"raw":[{{"length":{1 << 63}', path.read_text()))
    assert main(["qlog", "pair", *map(str, sorted(traced.folder.iterdir()))]) in {0, 1}


class Damaging:
    """Flips a bit of every 9th datagram from the third on."""

    def __init__(self) -> None:
        self.count = 0
        self.damaged: list[bytes] = []

    def __call__(self, datagram: Any) -> list[Any]:
        self.count += 1
        if self.count % 9 != 3:
            return [datagram]
        self.damaged.append(datagram.data)
        at = len(datagram.data) // 2
        changed = datagram.data[:at] + bytes([datagram.data[at] ^ 4]) + datagram.data[at + 1 :]
        return [replace(datagram, data=changed)]


def test_what_was_damaged(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    up, down = Damaging(), Damaging()
    make = traced.scenario.pair

    def damaging(*args: Any, **named: Any) -> Any:
        made = make(*args, **named)
        made.network.meddle_up, made.network.meddle_down = up, down
        return made

    monkeypatch.setattr(traced.scenario, "pair", damaging)
    download(traced)
    report = paired(traced)
    for ends, direction in ((up, report.client_to_server), (down, report.server_to_client)):
        assert [one.length for one in direction.damaged] == [len(data) for data in ends.damaged]
        named = [packet for one in direction.damaged for packet in one.packets]
        assert len(named) >= len(ends.damaged)
        gone = [
            f"{gap.space} {number}"
            for gap in direction.gaps
            if gap.fate == "damaged"
            for number in range(gap.first, gap.last + 1)
        ]
        # The rest of a datagram may open.
        assert gone
        assert set(gone) <= set(named)
    assert report.consistent


def datagrams(*rows: tuple[float, int, int]) -> Datagrams:
    made = Datagrams()
    for row in rows:
        made.append(Datagram(*row))
    return made


def test_the_nearest_of_the_same_length() -> None:
    sent = datagrams((0.0, 1200, 1), (5.0, 1200, 2), (6.0, 80, 3), (7.0, 1200, 4), (8.0, 1200, 5))
    received = datagrams((10.0, 1200, 1), (17.1, 1200, 9), (18.0, 1200, 5), (19.0, 90, 8))
    arrived, opened, damaged = compare_datagrams(sent, received, 10.0)
    assert (arrived, opened) == (2, 0)
    assert [(one.checksum, was and was.checksum) for one, was in damaged] == [(9, 4), (8, None)]


def test_another_sum_is_no_damage(traced: Traced) -> None:
    """A stack that computes something else, as CRC-32."""
    SCENARIOS["handshake_alone"](traced)
    [path] = traced.folder.glob("*_server.sqlog")
    lists, sums = re.compile(r'(?<=_checksums":\[)[^]]*'), re.compile(r"\d+")
    path.write_text(
        lists.sub(
            lambda found: sums.sub(lambda one: str(int(one[0]) ^ 0xFFFFFFFF), found[0]), path.read_text()
        )
    )
    report = paired(traced)
    assert [one.rule for one in report.findings] == ["C08", "C08"]
    assert report.server_to_client.damaged == []


def test_in_words(traced: Traced, capsys: pytest.CaptureFixture[str]) -> None:
    SCENARIOS["corruption"](traced)
    assert main(["qlog", "pair", *(str(path) for path in sorted(traced.folder.iterdir()))]) == 0
    text = capsys.readouterr().out
    assert " compared by checksum, " in text
    assert " ms damaged: " in text
    assert ": damaged, to the sender lost" in text
