"""Policies: what a file may say, and one line for what it may not."""

import textwrap
from pathlib import Path

import pytest

from interop.gate import policy as policy_module
from interop.gate.measures import Measure
from interop.gate.policy import Expect, Level, Policy, PolicyError, default_broken, read_policy
from interop.testcases import STANDARD


def read(tmp_path: Path, text: str) -> Policy:
    file = tmp_path / "policy.toml"
    file.write_text(textwrap.dedent(text))
    return read_policy(file)


def test_the_example_of_the_documentation_is_a_policy(tmp_path: Path) -> None:
    assert policy_module.__doc__ is not None
    example = policy_module.__doc__.partition("TOML file.\n")[2].rpartition("\n\nWhat a rule")[0]
    policy = read(tmp_path, example)
    assert [rule.expect for rule in policy.rules] == [Expect.PASSES, Expect.RATE]
    assert policy == read(
        tmp_path,
        """
        schema = 1
        qlog = { peers = "interquic" }
        [[cell]]
        server = ["interquic"]
        client = ["interquic", "aio*"]
        test = "standard"
        [[cell]]
        server = "interquic"
        client = "qh3"
        test = "L1"
        rate = 0.95
        seconds = { median = 80.0, noise = 9.0 }
        reason = "qh3 gives up on some handshakes"
        """,
    ), "what it writes out are the defaults"


def test_the_last_rule_that_fits_counts(tmp_path: Path) -> None:
    policy = read(
        tmp_path,
        """
        schema = 1
        [[cell]]
        server = "*"
        client = "*"
        test = "*"
        [[cell]]
        server = "red"
        client = ["blue", "green"]
        test = ["C20", "transfer*"]
        expect = "any"
        reason = "has no AES"
        """,
    )
    for triple, number in (
        (("red", "blue", "chacha20"), 2),
        (("red", "green", "transferloss"), 2),
        (("red", "grey", "chacha20"), 1),
        (("blue", "red", "handshake"), 1),
    ):
        rule = policy.rule(triple)
        assert rule is not None
        assert rule.number == number
    assert policy.rules[0].named() == []
    assert policy.rules[1].named() == [("red", "blue", "chacha20"), ("red", "green", "chacha20")]


def test_groups_of_tests_are_names(tmp_path: Path) -> None:
    policy = read(tmp_path, 'schema = 1\ncell = [{server = "a", client = "b", test = "standard"}]')
    assert policy.rules[0].named() == [("a", "b", case.name) for case in STANDARD]
    assert policy.rule(("a", "b", "goodput")) is None


def test_rates_and_measures(tmp_path: Path) -> None:
    policy = read(
        tmp_path,
        """
        schema = 1
        [sequential]
        alpha = 0.02
        max_repetitions = 50
        [criteria]
        time = "off"
        [time]
        share = 2
        [[cell]]
        server = "a"
        client = "b"
        test = "goodput"
        rate = 0.9
        goodput = { median = 9.3 }
        """,
    )
    (rule,) = policy.rules
    assert rule.sequential is not None
    test = rule.sequential
    assert (test.rate, test.broken, test.alpha, test.beta, test.max_repetitions) == (0.9, 0.5, 0.02, 0.01, 50)
    assert rule.goodput == Measure(9.3)
    assert policy.time is Level.OFF
    assert (policy.time_tolerance.share, policy.time_tolerance.sigmas) == (2, 4.0)


def test_what_is_broken_depends_on_what_was_sound() -> None:
    assert default_broken(0.95) == default_broken(0.8) == 0.5
    assert default_broken(0.4) == 0.25


RULE = 'server = "a"\nclient = "b"\ntest = "handshake"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("schema = ", "not TOML"),
        ("", "the file: 'schema' is a required property"),
        ("schema = 2\n[[cell]]\n" + RULE, "schema: 1 was expected"),
        ("schema = 1\ncell = []", "cell: [] should be non-empty"),
        ("schema = 1\nstrict = true\n[[cell]]\n" + RULE, "the file: Additional properties are not allowed"),
        ("schema = 1\n[[cell]]\nrte = 0.9\n" + RULE, "cell[0]: Additional properties are not allowed ('rte'"),
        ("schema = 1\n[[cell]]\nrate = 1.5\n" + RULE, "cell[0].rate: 1.5 is greater than"),
        ("schema = 1\n[[cell]]\nserver = 'a'\nclient = 'b'", "cell[0]: 'test' is a required property"),
        ("schema = 1\n[[cell]]\nserver = 3\nclient = 'b'\ntest = '*'", "cell[0].server: 3 is not"),
        ("schema = 1\n[[cell]]\nexpect = 'fail'\n" + RULE, "cell[0].expect: 'fail' is not one of"),
        ("schema = 1\n[[cell]]\nrate = 0.9\nexpect = 'pass'\n" + RULE, "cell[0]: either expect or rate"),
        ("schema = 1\n[[cell]]\nbroken = 0.9\n" + RULE, "cell[0]: broken needs a rate"),
        ("schema = 1\n[[cell]]\nrate = 0.4\nbroken = 0.5\n" + RULE, "cell[0]: 0 < broken < rate < 1"),
        ("schema = 1\n[[cell]]\nserver='a'\nclient='b'\ntest='hanshake'", "cell[0]: no test 'hanshake'"),
        ("schema = 1\n[[cell]]\nserver='a'\nclient='b'\ntest='hans*'", "cell[0]: no test fits 'hans*'"),
        ("schema = 1\n[criteria]\ntime = 'loud'\n[[cell]]\n" + RULE, "criteria.time: 'loud' is not one of"),
        ("schema = 1\n[sequential]\nalpha = 0\n[[cell]]\n" + RULE, "sequential.alpha: 0 is less than"),
    ],
)
def test_mistakes_say_where(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'policy.toml'}: ")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_policy_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none\.toml: No such file"):
        read_policy(tmp_path / "none.toml")
