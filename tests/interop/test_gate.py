"""The gate on histories made up: what each verdict follows from, and what CI sees of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from interop_samples import FAILED, MATRIX, make_cell

from interop.gate import report
from interop.gate.findings import Verdict, judge
from interop.gate.policy import Policy, read_policy
from interop.gate.rounds import Repetition, go_on, wanted
from interop.gate.sequential import Outcome
from interop.results import CellResult, MatrixResult, Owner, QlogFindings, Status

RATE = 'rate = 0.95\nserver = "red"\nclient = "blue"\ntest = "handshake"'
ALL = 'server = "red"\nclient = "blue"\ntest = "*"'


def policy(directory: Path, *rules: str, before: str = "") -> Policy:
    file = directory / "policy.toml"
    file.write_text("schema = 1\n" + before + "\n" + "".join(f"[[cell]]\n{rule}\n" for rule in rules))
    return read_policy(file)


def matrix(*cells: CellResult) -> MatrixResult:
    return replace(MATRIX, cells=cells, options={"seed": "7", "network": "proxy", "timeout scale": "1.0"})


def history(pattern: str, sample: CellResult | None = None) -> list[CellResult]:
    """Repetitions of a handshake: + for a success, - for a failure, ? for what the machine spoilt."""
    good = make_cell() if sample is None else sample
    bad = replace(good, status=Status.FAILED, owner=Owner.SERVER, explanation="files: one is missing")
    ends = {"+": good, "-": bad, "?": replace(bad, owner=Owner.RUNNER, explanation="runner: no namespace")}
    return [replace(ends[sign], repeat=n) for n, sign in enumerate(pattern, start=1)]


def criteria(verdict: Verdict) -> list[str]:
    return [f"{finding.level} {finding.criterion}" for finding in verdict.findings]


@pytest.mark.parametrize(
    ("pattern", "rule", "outcome", "more"),
    [
        ("+", ALL, Outcome.GREEN, 0),
        ("-", ALL, Outcome.RED, 0),
        ("++++++++-", ALL, Outcome.RED, 0),
        ("?", ALL, Outcome.UNDECIDED, 1),
        ("?+", ALL, Outcome.GREEN, 0),
        ("?-", ALL, Outcome.RED, 0),
        ("???", ALL, Outcome.RED, 0),
        ("+", RATE, Outcome.UNDECIDED, 3),
        ("-", RATE, Outcome.UNDECIDED, 1),
        ("--", RATE, Outcome.RED, 0),
        ("++++++++", RATE, Outcome.GREEN, 0),
        ("+++-+++++", RATE, Outcome.UNDECIDED, 3),
        ("+++-++++++++", RATE, Outcome.GREEN, 0),
        ("?+?+++++++", RATE, Outcome.GREEN, 0),
        ("-", ALL + '\nexpect = "any"', None, 0),
    ],
)
def test_decisions(pattern: str, rule: str, outcome: Outcome | None, more: int, tmp_path: Path) -> None:
    verdict = judge(policy(tmp_path, rule), matrix(*history(pattern)))
    (decision,) = verdict.decisions
    assert (decision.outcome, decision.more) == (outcome, more), decision.reason
    assert verdict.is_green is (outcome in {Outcome.GREEN, None})


def test_what_no_rule_fits_is_free(tmp_path: Path) -> None:
    verdict = judge(policy(tmp_path, RATE), matrix(*history("++++++++"), FAILED))
    assert [decision.outcome for decision in verdict.decisions] == [Outcome.GREEN, None]
    assert verdict.is_green


def test_known_failures_are_no_failures(tmp_path: Path) -> None:
    assert judge(policy(tmp_path, ALL), matrix(*history("-", make_cell(known="never could")))).is_green


def test_unsupported_is_not_passed(tmp_path: Path) -> None:
    cell = make_cell(status=Status.UNSUPPORTED, explanation="the client says so")
    verdict = judge(policy(tmp_path, ALL), matrix(cell))
    assert verdict.findings[0].message == "is unsupported: the client says so"
    assert not verdict.is_green


def test_what_the_policy_names_has_to_be_there(tmp_path: Path) -> None:
    """A gate must not be green because nothing ran."""
    rule = 'server = "red"\nclient = "blue"\ntest = ["handshake", "retry"]'
    verdict = judge(policy(tmp_path, rule), matrix(make_cell()))
    assert criteria(verdict) == ["error missing"]
    assert verdict.findings[0].triple == ("red", "blue", "retry")
    free = 'server = "red"\nclient = "blue"\ntest = "retry"\nexpect = "any"'
    assert judge(policy(tmp_path, rule, free), matrix(make_cell(), make_cell("retry"))).is_green


def test_a_rule_that_fits_nothing_is_red(tmp_path: Path) -> None:
    verdict = judge(policy(tmp_path, ALL, 'server = "grey*"\nclient = "*"\ntest = "*"'), matrix(make_cell()))
    assert [finding.message for finding in verdict.findings] == [
        "rule 2 (grey* * *) of the policy fits no cell of the results"
    ]
    assert not verdict.is_green


def test_findings_name_check_packet_and_replay(tmp_path: Path) -> None:
    verdict = judge(policy(tmp_path, ALL), matrix(replace(FAILED, repeat=3, network="proxy")))
    (finding,) = verdict.findings
    assert (finding.check, finding.packet) == ("files", "left 17 (0.5 s)")
    assert finding.replay == (
        "interquic interop run --server red --client blue --test transfer --network proxy --seed 9"
    )
    assert finding.log_dir == "red_blue/transfer/1"


def test_a_replay_has_the_options_of_the_run(tmp_path: Path) -> None:
    options = {"seed": "7", "timeout scale": "2.0", "short": "True", "peers": "--peer 'red=./a b'"}
    (finding,) = judge(policy(tmp_path, ALL), replace(matrix(FAILED), options=options)).findings
    assert finding.replay.endswith("--seed 7 --timeout-scale 2.0 --short --peer 'red=./a b'")
    (finding,) = judge(policy(tmp_path, ALL), replace(matrix(FAILED), options={"seed": "x"})).findings
    assert finding.replay == ""


@pytest.mark.parametrize(
    ("before", "now", "rule", "expected"),
    [
        ("+++", "+", ALL, []),
        ("+++", "-", ALL + '\nexpect = "any"', ["error regression"]),
        ("+++", "-", ALL, ["error required"]),
        ("++-", "+-", ALL + '\nexpect = "any"', []),
        ("+++", "+++++++++++-", RATE, []),
        ("???", "+", ALL, []),
    ],
)
def test_regressions(before: str, now: str, rule: str, expected: list[str], tmp_path: Path) -> None:
    """What fails by a rule is said once; a cell with a rate is judged by its rate alone."""
    baseline = [matrix(cell) for cell in history(before)]
    verdict = judge(policy(tmp_path, rule), matrix(*history(now)), baseline)
    assert criteria(verdict) == expected


def changes_of(now: Sequence[CellResult], before: Sequence[CellResult], directory: Path) -> Verdict:
    return judge(policy(directory, ALL + '\nexpect = "any"'), matrix(*now), [matrix(*before)])


def test_fixes_news_and_losses(tmp_path: Path) -> None:
    no = Status.UNSUPPORTED
    before = [*history("-"), make_cell("retry"), make_cell("v2"), make_cell("http3", no)]
    now = [*history("+"), make_cell("retry", no), make_cell("http3"), make_cell("ecn")]
    verdict = changes_of(now, before, tmp_path)
    assert [(change.kind.value, change.triple[2]) for change in verdict.changes] == [
        ("fix", "handshake"),
        ("unsupported", "retry"),
        ("new", "http3"),
        ("new", "ecn"),
        ("gone", "v2"),
    ]
    assert criteria(verdict) == ["error unsupported", "error gone"]


@pytest.mark.parametrize(("seconds", "slower"), [(2.0, False), (2.9, False), (3.1, True), (0.1, False)])
def test_times(seconds: float, slower: bool, tmp_path: Path) -> None:
    """Past runs took 2.0 ± 0.15 s; a second, which is more than half or four deviations, is no difference."""
    past = (2.0, 2.1, 1.9, 2.0, 9.0)
    before = [make_cell(repeat=n, seconds=past[n]) for n in range(len(past))]
    verdict = changes_of([make_cell(seconds=seconds)], before, tmp_path)
    assert criteria(verdict) == (["warning time"] if slower else [])
    assert verdict.is_green


def test_failures_have_no_time(tmp_path: Path) -> None:
    verdict = changes_of(history("-", make_cell(seconds=60.0)), history("-", make_cell()), tmp_path)
    assert criteria(verdict) == []


@pytest.mark.parametrize(
    ("rates", "worse"), [((9.3,), False), ((8.5,), False), ((8.2,), True), ((1.0, 9.3, 9.2), False)]
)
def test_goodput_is_the_median_of_the_repetitions(
    rates: tuple[float, ...], worse: bool, tmp_path: Path
) -> None:
    rule = ALL + "\ngoodput = { median = 9.3, noise = 0.05 }"
    cells = [make_cell("goodput", repeat=n, goodput_mbps=rate) for n, rate in enumerate(rates, start=1)]
    verdict = judge(policy(tmp_path, rule), matrix(*cells))
    assert criteria(verdict) == (["error goodput"] if worse else [])


def test_a_baseline_counts_before_the_policy_s_numbers(tmp_path: Path) -> None:
    rules = policy(tmp_path, ALL + "\nseconds = { median = 1.0 }", before='criteria = { time = "error" }')
    now = matrix(make_cell(seconds=9.0))
    assert criteria(judge(rules, now)) == ["error time"]
    assert judge(rules, now, [matrix(make_cell(seconds=8.5))]).is_green


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        (QlogFindings(client=0, server=0), []),
        (QlogFindings(client=9, server=0), []),
        (QlogFindings(client=0, server=1), ["error qlog"]),
        (QlogFindings(client=0, server=None), ["error qlog"]),
    ],
)
def test_traces(findings: QlogFindings, expected: list[str], tmp_path: Path) -> None:
    rules = policy(tmp_path, ALL, before='qlog = { peers = "r*" }')
    verdict = judge(rules, matrix(make_cell(qlog_findings=findings)))
    assert criteria(verdict) == expected


def test_a_summary_has_all_of_it(tmp_path: Path) -> None:
    rules = policy(tmp_path, ALL, RATE)
    verdict = judge(rules, matrix(*history("-++"), replace(FAILED, network="proxy")), [matrix(make_cell())])
    text = report.summary(verdict)
    assert text.startswith("# ❌ QUIC interop: gate RED: 0 green, 1 red, 1 undecided, 0 free\n")
    assert (
        "| ❌ | red | blue | transfer | required | failed: files: &lt;b>amber\\|cedar&lt;/b> differs"
        " | files | left 17 (0.5 s) | `red_blue/transfer/1` |"
    ) in text
    assert "--test transfer --network proxy --seed 7" in text
    assert "| red ← blue handshake | 2 of 3 | 95.0% | 50.0% | +1.02 | undecided | 0." in text
    table = [line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")]
    assert set(table) == {9, 10}
    assert "- New: red ← blue transfer: is not in the baseline" in text


def test_annotations_are_escaped(tmp_path: Path) -> None:
    """One line each: GitHub ends a command at the end of a line, and its title at a comma or colon."""
    bad = replace(FAILED, network="proxy", explanation="50 % of\nit: a, b")
    text = report.annotations(judge(policy(tmp_path, ALL), matrix(bad)))
    assert text == (
        "::error title=transfer%3A red ← blue (required)::failed: 50 %25 of%0Ait: a, b"
        "%0Acheck: files, packet: left 17 (0.5 s)"
        "%0Aagain: interquic interop run --server red --client blue --test transfer --network proxy"
        " --seed 7\n"
    )


@pytest.mark.parametrize(
    ("pattern", "outcome", "repetitions"),
    [
        ("+" * 30, Outcome.GREEN, 8),
        ("-" * 30, Outcome.RED, 2),
        ("+-" * 15, Outcome.RED, 6),
        ("-" + "+" * 29, Outcome.GREEN, 12),
        ("?" * 30, Outcome.RED, 3),
    ],
)
def test_rounds_go_on_until_it_is_decided(
    pattern: str, outcome: Outcome, repetitions: int, tmp_path: Path
) -> None:
    asked: list[int] = []

    def run(wishes: Sequence[Repetition]) -> MatrixResult:
        asked.extend(wish.number for wish in wishes)
        return matrix(*(history(pattern)[wish.number - 1] for wish in wishes))

    rules = policy(tmp_path, RATE)
    result = go_on(rules, matrix(history(pattern)[0]), run)
    (decision,) = judge(rules, result).decisions
    assert (decision.outcome, len(decision.cells)) == (outcome, repetitions)
    assert asked == list(range(2, repetitions + 1)), "no repetition twice, none left out"


def test_rounds_end_on_a_machine_that_spoils_everything(tmp_path: Path) -> None:
    rules = policy(tmp_path, RATE)
    result = go_on(rules, matrix(*history("+?")), lambda wishes: matrix(*_spoilt(wishes)))
    assert len(result.cells) < 10
    assert not judge(rules, result).is_green


def _spoilt(wishes: Sequence[Repetition]) -> list[CellResult]:
    return [replace(history("?")[0], repeat=wish.number) for wish in wishes]


def test_rounds_end_when_they_are_interrupted(tmp_path: Path) -> None:
    rules = policy(tmp_path, RATE)
    result = go_on(rules, matrix(*history("+")), lambda _wishes: matrix())
    assert len(result.cells) == 1


def test_what_is_decided_does_not_run_again(tmp_path: Path) -> None:
    rules = policy(tmp_path, ALL, RATE)
    assert wanted(rules, matrix(*history("++++++++"), FAILED)) == []
    assert wanted(rules, matrix(*history("-"), FAILED)) == [Repetition(("red", "blue", "handshake"), 2)]
