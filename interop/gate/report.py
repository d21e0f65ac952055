"""The verdict for people: lines for a terminal, a GitHub step summary, GitHub annotations."""

from collections import Counter
from collections.abc import Iterator, Sequence

from interop.gate.compare import Change, Kind
from interop.gate.decision import Decision
from interop.gate.findings import Finding, Verdict
from interop.gate.policy import Level
from interop.gate.sequential import Outcome

_SIGNS = {Level.ERROR: "❌", Level.WARNING: "⚠️", Level.OFF: ""}
_BETTER = {Kind.FIX: "Fixed", Kind.NEW: "New"}


def text(verdict: Verdict) -> str:
    """For a terminal."""
    lines = []
    for finding in verdict.findings:
        lines.append(f"{finding.level}: {_sentence(finding)}")
        if finding.replay:
            lines.append(f"  {finding.replay}")
    lines += [
        f"{_BETTER[change.kind].lower()}: {_cell(change.triple)}: {change.message}"
        for change in _better(verdict)
    ]
    lines += [
        f"by rate: {_cell(decision.triple)}: {decision.outcome}, {decision.reason}; {_error_rates(decision)}"
        for decision in _by_rate(verdict)
    ]
    return "\n".join([*lines, headline(verdict)]) + "\n"


def headline(verdict: Verdict) -> str:
    """One line."""
    count: Counter[Outcome | None] = Counter(decision.outcome for decision in verdict.decisions)
    words = [f"{count[Outcome.GREEN]} green", f"{count[Outcome.RED]} red"]
    words += [f"{count[Outcome.UNDECIDED]} undecided", f"{count[None]} free"]
    return f"gate {'green' if verdict.is_green else 'RED'}: {', '.join(words)}"


def annotations(verdict: Verdict) -> str:
    """Workflow commands: GitHub shows each finding on the page of the run."""
    return "".join(
        f"::{finding.level} title={_property(finding.title)}::{_data(_annotation(finding))}\n"
        for finding in verdict.findings
    )


def summary(verdict: Verdict) -> str:
    """Markdown for $GITHUB_STEP_SUMMARY."""
    return "\n".join(_summary(verdict)) + "\n"


def _summary(verdict: Verdict) -> Iterator[str]:
    yield f"# {'✅' if verdict.is_green else '❌'} QUIC interop: {headline(verdict)}"
    if verdict.findings:
        yield from (
            "",
            "| | server | client | test | criterion | what | check | packet | log |",
            "|---" * 9 + "|",
        )
        yield from map(_row, verdict.findings)
    replays = dict.fromkeys(finding.replay for finding in verdict.findings if finding.replay)
    if replays:
        yield from ("", "Run these again:", "", "```sh", *replays, "```")
    better = list(_better(verdict))
    if better:
        yield ""
        yield from (
            f"- {_BETTER[change.kind]}: {_cell(change.triple)}: {change.message}" for change in better
        )
    decisions = list(_by_rate(verdict))
    if decisions:
        yield from _rates(decisions)


def _rates(decisions: Sequence[Decision]) -> Iterator[str]:
    yield from ("", "<details><summary>Cells with a pass rate</summary>", "")
    yield "| cell | passed | expected | broken | evidence | outcome | false alarms | misses |"
    yield "|---" * 8 + "|"
    for decision in decisions:
        test = decision.test
        assert test is not None
        evidence = test.evidence(decision.passed, decision.failed)
        yield (
            f"| {_cell(decision.triple)} | {decision.passed} of {decision.passed + decision.failed}"
            f" | {test.rate:.1%} | {test.broken:.1%} | {evidence:+.2f} | {decision.outcome}"
            f" | {test.false_alarms:.2%} | {test.misses:.2%} |"
        )
    yield from ("", "</details>")


def _row(finding: Finding) -> str:
    server, client, test = finding.triple or ("", "", "")
    log = f"`{finding.log_dir}`" if finding.log_dir else ""
    columns = (server, client, test, finding.criterion, finding.message, finding.check, finding.packet, log)
    escaped = (column.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;") for column in columns)
    return f"| {_SIGNS[finding.level]} | {' | '.join(escaped)} |"


def _sentence(finding: Finding) -> str:
    words = [f"{finding.title}: {finding.message}"]
    if finding.check:
        words.append(f"check {finding.check}")
    if finding.packet:
        words.append(f"at packet {finding.packet}")
    return ", ".join(words)


def _annotation(finding: Finding) -> str:
    lines = [finding.message]
    if finding.check:
        lines.append(f"check: {finding.check}" + (f", packet: {finding.packet}" if finding.packet else ""))
    if finding.replay:
        lines.append(f"again: {finding.replay}")
    return "\n".join(lines)


def _by_rate(verdict: Verdict) -> Iterator[Decision]:
    return (decision for decision in verdict.decisions if decision.test is not None and decision.cells)


def _better(verdict: Verdict) -> Iterator[Change]:
    return (change for change in verdict.changes if change.kind in _BETTER)


def _error_rates(decision: Decision) -> str:
    assert decision.test is not None
    return f"false alarms {decision.test.false_alarms:.2%}, misses {decision.test.misses:.2%}"


def _cell(triple: tuple[str, str, str]) -> str:
    server, client, test = triple
    return f"{server} ← {client} {test}"


def _data(value: str) -> str:
    """As workflow commands escape a message."""
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    """As workflow commands escape a property."""
    return _data(value).replace(":", "%3A").replace(",", "%2C")
