"""Options of the transport as the settings they become."""

import argparse

import pytest

from endpoint.cli.options import add_common_options, make_config
from endpoint.config import Config


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ([], Config()),
        (["--no-ecn"], Config(ecn=False)),
        (["--no-pmtud"], Config(pmtud=False)),
        # The longest: nothing larger is tried either.
        (["--max-udp-payload", "1300"], Config(max_udp_payload_size=1300, max_mtu_probe=1300)),
    ],
)
def test_transport_options(options: list[str], config: Config) -> None:
    parser = argparse.ArgumentParser()
    add_common_options(parser)
    assert make_config(parser.parse_args(options)) == config


@pytest.mark.parametrize("text", ["0", "-1", "one"])
def test_samples_are_every_so_many(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_common_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--qlog-sample", text])
    assert f"{text} is not a positive number" in capsys.readouterr().err
