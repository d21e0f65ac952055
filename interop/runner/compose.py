"""The compose file of a cell: simulator, client and server as the public interop runner lays them out.

It is written as JSON, which is YAML as well.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from endpoint.cli.testcases import Role
from interop.runner.plan import Cell
from interop.simnet import impairments
from interop.simnet.impairments import Scenario
from interop.simnet.netns import CLIENT_IPV4, CLIENT_IPV6, SERVER_IPV4, SERVER_IPV6

SIMULATOR: Final = "sim"
IMAGE: Final = "martenseemann/quic-network-simulator"

# How that simulator is told what we say with a `Scenario`.
_LINK: Final = "--delay=15ms --bandwidth=10Mbps --queue=25"
_REBIND: Final = f"rebind {_LINK} --first-rebind=1s --rebind-freq=5s"
_SCENARIOS: Final[Mapping[Scenario, str]] = {
    impairments.SIMPLE: f"simple-p2p {_LINK}",
    impairments.LONG_RTT: "simple-p2p --delay=750ms --bandwidth=10Mbps --queue=25",
    impairments.BLACKHOLE: f"blackhole {_LINK} --on=5s --off=2s",
    impairments.DROPLIST: f"droplist {_LINK} --drops_to_server=2,3,4,5,6,7",
    impairments.REBIND_PORT: _REBIND,
    impairments.REBIND_ADDRESS: f"{_REBIND} --rebind-addr",
    **{
        impairments.drop_rate(percent / 100): (
            f"drop-rate {_LINK} --rate_to_server={percent} --rate_to_client={percent}"
            " --burst_to_server=3 --burst_to_client=3"
        )
        for percent in (2, 30)
    },
    **{
        impairments.corrupt_rate(percent / 100): (
            f"corrupt-rate {_LINK} --rate_to_server={percent} --rate_to_client={percent}"
        )
        for percent in (2, 30)
    },
}
_LEFT: Final = ("leftnet", "193.167.0.2", "fd00:cafe:cafe:0::2", "193.167.0.0/24", "fd00:cafe:cafe:0::/64")
_RIGHT: Final = (
    "rightnet",
    "193.167.100.2",
    "fd00:cafe:cafe:100::2",
    "193.167.100.0/24",
    "fd00:cafe:cafe:100::/64",
)
_SERVER_NAMES: Final = (
    f"server4:{SERVER_IPV4}",
    f"server6:{SERVER_IPV6}",
    f"server46:{SERVER_IPV4}",
    f"server46:{SERVER_IPV6}",
)


def scenario_text(scenario: Scenario) -> str | None:
    """The simulator's words for this network; None for one that it doesn't have."""
    return _SCENARIOS.get(scenario)


def compose_text(cell: Cell, folder: Path, names: Sequence[str]) -> str:
    """The file. `folder` has `www`, `downloads` and `certs`; the client asks for the files of these names."""
    scenario = scenario_text(cell.case.scenario)
    assert scenario is not None, "`unfaithful` refuses the others"
    requests = " ".join(f"https://{cell.case.host}:443/{name}" for name in names)
    services = {
        SIMULATOR: {
            "image": IMAGE,
            "hostname": SIMULATOR,
            "stdin_open": True,
            "tty": True,
            "environment": {"WAITFORSERVER": "server:443", "SCENARIO": scenario},
            "cap_add": ["NET_ADMIN", "NET_RAW"],
            "expose": ["57832"],
            "networks": dict(
                [_address(_LEFT[0], _LEFT[1], _LEFT[2]), _address(_RIGHT[0], _RIGHT[1], _RIGHT[2])]
            ),
            "extra_hosts": [f"server:{SERVER_IPV4}"],
        },
        Role.SERVER.value: _endpoint(
            Role.SERVER,
            cell.server.image,
            {"TESTCASE": cell.case.server, "REQUESTS": ""},
            [f"{folder / 'www'}:/www:ro", f"{folder / 'certs'}:/certs:ro"],
            _address(_RIGHT[0], SERVER_IPV4, SERVER_IPV6),
            [f"sim:{_RIGHT[1]}", f"sim:{_RIGHT[2]}", *_SERVER_NAMES[:2]],
        ),
        Role.CLIENT.value: _endpoint(
            Role.CLIENT,
            cell.client.image,
            {"TESTCASE": cell.case.client, "REQUESTS": requests},
            [f"{folder / 'downloads'}:/downloads", f"{folder / 'certs'}:/certs:ro"],
            _address(_LEFT[0], CLIENT_IPV4, CLIENT_IPV6),
            [f"sim:{_LEFT[1]}", f"sim:{_LEFT[2]}", *_SERVER_NAMES],
        ),
    }
    networks = {
        name: {
            "driver": "bridge",
            "enable_ipv6": True,
            "ipam": {"config": [{"subnet": ipv4}, {"subnet": ipv6}]},
        }
        for name, _, _, ipv4, ipv6 in (_LEFT, _RIGHT)
    }
    # Compose would take a dollar for the start of one of its variables.
    return json.dumps({"services": services, "networks": networks}, indent=1).replace("$", "$$") + "\n"


def _endpoint(
    role: Role,
    image: str,
    variables: Mapping[str, str],
    volumes: Sequence[str],
    network: tuple[str, Mapping[str, str]],
    hosts: Sequence[str],
) -> dict[str, object]:
    common = {
        "ROLE": role.value,
        "SSLKEYLOGFILE": "/logs/keys.log",
        "QLOGDIR": "/logs/qlog/",
        f"{role.upper()}_PARAMS": "",
        "CRON": "",
        "PROTOCOLS": "",
    }
    return {
        "image": image,
        "hostname": role.value,
        "stdin_open": True,
        "tty": True,
        "volumes": list(volumes),
        "environment": common | dict(variables),
        "cap_add": ["NET_ADMIN"],
        "ulimits": {"memlock": 67108864},
        "depends_on": [SIMULATOR],
        "networks": dict([network]),
        "extra_hosts": list(hosts),
    }


def _address(network: str, ipv4: str, ipv6: str) -> tuple[str, dict[str, str]]:
    return network, {"ipv4_address": ipv4, "ipv6_address": ipv6}
