"""What CI runs: our workflow, the action for others, their scripts, and the policies that they use."""

import argparse
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from interop.gate.policy import read_policy

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "interop.yml"
ACTION = ROOT / ".github" / "actions" / "interop" / "action.yml"
SCRIPT = ACTION.with_name("run.sh")


class _Loader(yaml.SafeLoader):
    """YAML as GitHub reads it: `on` is a word, not a truth value."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or first not in "oO"
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(path: Path) -> dict[str, Any]:
    document = yaml.load(path.read_text(), _Loader)  # a subclass of the safe one
    assert isinstance(document, dict)
    return document


def workflow_steps() -> list[dict[str, Any]]:
    return [step for job in load(WORKFLOW)["jobs"].values() for step in job["steps"]]


def action_steps() -> list[dict[str, Any]]:
    steps = load(ACTION)["runs"]["steps"]
    assert isinstance(steps, list)
    return steps


def scripts() -> list[str]:
    """Shell code, with a word in place of each expression."""
    snippets = [step["run"] for step in (*workflow_steps(), *action_steps()) if "run" in step]
    return [re.sub(r"\$\{\{.*?\}\}", "1", snippet) for snippet in snippets]


def test_the_workflow_has_a_gate_over_all_shards() -> None:
    document = load(WORKFLOW)
    assert set(document["on"]) == {"push", "pull_request", "workflow_dispatch"}
    cells, gate = document["jobs"]["cells"], document["jobs"]["gate"]
    shards = cells["strategy"]["matrix"]["shard"]
    assert shards == list(range(1, document["env"]["SHARDS"] + 1))
    assert cells["strategy"]["fail-fast"] is False
    assert gate["needs"] == "cells"
    assert "cancelled" in gate["if"], "a shard that failed must not skip the gate"
    uploads = [step for step in cells["steps"] if step.get("uses", "").startswith("actions/upload-artifact@")]
    assert uploads[0]["with"]["name"] == "part-${{ matrix.shard }}"
    assert uploads[0]["if"] == "always()"


def test_the_baseline_is_what_the_gate_uploads() -> None:
    """The names by which one run finds the matrix of another: an artifact of one folder begins inside it."""
    steps = load(WORKFLOW)["jobs"]["gate"]["steps"]
    (upload,) = [step for step in steps if step.get("uses", "").startswith("actions/upload-artifact@")]
    (download,) = [step for step in steps if step.get("name") == "baseline"]
    (merge,) = [step for step in steps if step.get("name") == "merge"]
    (gate,) = [step for step in steps if step.get("name") == "gate"]
    assert upload["with"]["path"] == "matrix"
    assert "matrix/parts/*" in merge["run"]
    assert "--json matrix/results.json" in merge["run"]
    assert "--log-dir matrix/" in gate["run"]
    assert f"--name {upload['with']['name']} --dir baseline\n" in download["run"]
    assert "-f baseline/results.json" in gate["run"]


def test_steps_do_one_thing_each() -> None:
    for step in (*workflow_steps(), *action_steps()):
        assert ("run" in step) is not ("uses" in step), step
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
    assert all(step["shell"] == "bash" for step in action_steps() if "run" in step)


def test_no_expression_stands_in_shell_code() -> None:
    """An input that is pasted into a script is code; as a variable it is a text. Our numbers are neither."""
    for step in (*workflow_steps(), *action_steps()):
        assert set(re.findall(r"\$\{\{(.*?)\}\}", step.get("run", ""))) <= {" matrix.shard "}


def test_every_input_of_the_action_is_used() -> None:
    inputs = set(load(ACTION)["inputs"])
    (work,) = [step for step in action_steps() if "run" in step]
    used = {value.removeprefix("${{ inputs.").removesuffix(" }}") for value in work["env"].values()}
    assert inputs <= used
    assert all(f"${{{name}" in SCRIPT.read_text() or f"${name}" in SCRIPT.read_text() for name in work["env"])


def parser_of(command: str) -> argparse.ArgumentParser:
    """That of `interquic interop COMMAND`."""
    parser = argparse.ArgumentParser()
    import_module(f"interop.cli_{command}").add_arguments(parser)
    return parser


def test_options_exist() -> None:
    """Every `interquic interop COMMAND --option` in the scripts is one of that command."""
    found = 0
    for script in (*scripts(), SCRIPT.read_text()):
        for line in script.replace("\\\n", " ").splitlines():
            command = re.search(r" interop (run|gate|merge|peers) (.*)", line)
            if command is None:
                continue
            known = parser_of(command[1]).format_help()
            for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", command[2]):
                assert f"{option} " in known or f"{option}\n" in known or f"{option}]" in known, (
                    option,
                    line,
                )
                found += 1
    assert found >= 15


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shell_code_is_sound(tmp_path: Path) -> None:
    for number, script in enumerate(scripts()):
        file = tmp_path / f"{number}.sh"
        file.write_text(f"#!/usr/bin/env bash\nset -e -o pipefail\n{script}")
        answer = subprocess.run(["shellcheck", file], capture_output=True, check=False, text=True)
        assert answer.returncode == 0, answer.stdout
    assert subprocess.run(["shellcheck", SCRIPT], check=False).returncode == 0


@pytest.mark.parametrize("name", [".ci/policy.toml", ".github/interop-policy.toml"])
def test_policies_are_sound(name: str) -> None:
    assert read_policy(ROOT / name).wants_traces_of("interquic")


def test_ci_holds_its_matrix_against_the_policy() -> None:
    """Its cases and those of its policy are the same, so that none is left out of one of them."""
    lines = [line.split() for line in (ROOT / ".ci" / "run").read_text().replace("\\\n", " ").splitlines()]
    (run,) = [words for words in lines if words[3:6] == [".venv/bin/interquic", "interop", "run"]]
    (gate,) = [words for words in lines if words[3:6] == [".venv/bin/interquic", "interop", "gate"]]
    policy = read_policy(ROOT / gate[gate.index("--policy") + 1])
    tests = parser_of("run").parse_args(run[6:]).test
    rule = read_policy(ROOT / ".ci" / "policy.toml").rules[0]
    assert policy.rules == (rule,)
    assert len(tests) == len(rule.test)


def call_script(
    directory: Path, statuses: tuple[int, int, int] = (0, 0, 0), /, **inputs: str
) -> tuple["subprocess.CompletedProcess[str]", list[str]]:
    """With a command in interquic's place that notes what it is asked for; `statuses` of run, merge, gate."""
    runs, merge, gate = statuses
    fake = directory / "interquic"
    fake.write_text(
        "#!/usr/bin/env bash\n"
        f'printf "%s\\n" "$*" >> {directory}/calls\n'
        f'case "$2" in run) exit {runs};; merge) exit {merge};; gate) exit {gate};; esac\n'
    )
    fake.chmod(0o755)
    environment = {
        "PATH": "/usr/bin:/bin",
        "COMMAND": "./start.sh --fast",
        "IMAGE": "",
        "IMAGES": "",
        "PEERS": "interquic,aioquic",
        "TESTS": "H,S",
        "LOGS": str(directory / "logs"),
        "POLICY": "",
        "BASELINE": "",
        "ARGS": "--jobs 3",
    }
    answer = subprocess.run(
        [SCRIPT, fake], env=environment | inputs, check=False, capture_output=True, text=True
    )
    calls = directory / "calls"
    return answer, calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize(
    ("runs", "merge", "gate", "policy", "expected"),
    [
        (0, 0, 0, "p.toml", 0),
        (1, 0, 0, "p.toml", 0),
        (1, 0, 1, "p.toml", 1),
        (2, 0, 0, "p.toml", 2),
        (1, 1, 0, "", 1),
    ],
)
def test_the_action_s_script(
    runs: int, merge: int, gate: int, policy: str, expected: int, tmp_path: Path
) -> None:
    """With a command in interquic's place that notes what it is asked for: who decides about the status."""
    answer, calls = call_script(tmp_path, (runs, merge, gate), POLICY=policy)
    assert answer.returncode == expected
    assert calls[0] == "interop peers install interquic aioquic"
    assert calls[1].startswith(
        "interop run --network auto --peer endpoint=./start.sh --fast --test H,S --seed 1 --server endpoint"
    )
    assert calls[1].endswith(" --jobs 3")
    if runs < 2:
        assert ("gate" if policy else "merge") in calls[3].split()


def test_the_action_with_an_image(tmp_path: Path) -> None:
    """Nothing is installed; the gate knows the images, too, for its repetitions."""
    answer, calls = call_script(tmp_path, COMMAND="", IMAGE="mine:1", IMAGES="theirs.json", POLICY="p.toml")
    assert answer.returncode == 0
    peers = "--peer endpoint=docker:mine:1 --images theirs.json"
    assert [call.split()[1] for call in calls] == ["run", "run", "gate"]
    assert all(call.startswith(f"interop run --network docker {peers} ") for call in calls[:2])
    assert f" --decide {peers} " in calls[2]


@pytest.mark.parametrize(
    "inputs",
    [{"COMMAND": ""}, {"COMMAND": "", "IMAGE": "a"}, {"IMAGE": "a", "IMAGES": "b"}, {"IMAGES": "b"}],
)
def test_the_action_wants_a_command_or_an_image(tmp_path: Path, inputs: dict[str, str]) -> None:
    answer, calls = call_script(tmp_path, **inputs)
    assert (answer.returncode, calls) == (2, [])
    assert answer.stderr.startswith("interop: either command is needed, or image and images")
