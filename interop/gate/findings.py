"""What speaks against a change, and what does not: the gate's verdict."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from interop.gate.compare import Change, Kind, changes
from interop.gate.decision import Decision, decide, idle_rules
from interop.gate.policy import Level, Policy, Triple
from interop.gate.sequential import Outcome
from interop.results import CellResult, MatrixResult, Status
from interop.runner.plan import replay_command
from interop.testcases import ALL_CASES

_SEED: Final = "seed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to say about one cell, or about the whole if there is none.

    `check` and `packet` are those of the repetition that it is about, `replay` runs that again.
    """

    level: Level
    criterion: str
    message: str
    triple: Triple | None = None
    check: str = ""
    packet: str = ""
    replay: str = ""
    log_dir: str = ""

    @property
    def title(self) -> str:
        """The cell, and what it is about."""
        if self.triple is None:
            return self.criterion
        server, client, test = self.triple
        return f"{test}: {server} ← {client} ({self.criterion})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All that the gate has to say. Whatever changed for the better is in `changes`, too."""

    decisions: tuple[Decision, ...]
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]

    @property
    def is_green(self) -> bool:
        """Nothing speaks against it; what is undecided does."""
        return not any(finding.level is Level.ERROR for finding in self.findings)

    @property
    def undecided(self) -> list[Decision]:
        """Cells that need more repetitions."""
        return [decision for decision in self.decisions if decision.outcome is Outcome.UNDECIDED]


def judge(policy: Policy, result: MatrixResult, baseline: Sequence[MatrixResult] = ()) -> Verdict:
    """Hold a run against the policy and against past runs."""
    decisions = decide(policy, result)
    found = list(changes(policy, decisions, baseline))
    findings = [
        *_of_decisions(decisions, result),
        *_of_rules(policy, decisions),
        *_of_changes(policy, found, decisions, result),
        *_of_traces(policy, result),
    ]
    return Verdict(
        decisions=tuple(decisions),
        changes=tuple(found),
        findings=tuple(finding for finding in findings if finding.level is not Level.OFF),
    )


def _of_decisions(decisions: Sequence[Decision], result: MatrixResult) -> Iterator[Finding]:
    for decision in decisions:
        if decision.outcome not in {Outcome.RED, Outcome.UNDECIDED}:
            continue
        if decision.outcome is Outcome.UNDECIDED:
            criterion = "undecided"
        elif not decision.cells:
            criterion = "missing"
        else:
            criterion = "required" if decision.test is None else "pass rate"
        text = decision.reason
        if decision.test is not None and decision.worst is not None:
            text += f"; {decision.worst.explanation}"
        yield _about(decision.worst, result, Level.ERROR, criterion, text, decision.triple)


def _of_rules(policy: Policy, decisions: Sequence[Decision]) -> Iterator[Finding]:
    for rule in idle_rules(policy, decisions):
        text = f"{rule} of the policy fits no cell of the results"
        yield Finding(level=Level.ERROR, criterion="missing", message=text)


def _of_changes(
    policy: Policy, found: Sequence[Change], decisions: Sequence[Decision], result: MatrixResult
) -> Iterator[Finding]:
    levels = {
        Kind.REGRESSION: policy.regression,
        Kind.UNSUPPORTED: policy.unsupported,
        Kind.GONE: policy.gone,
        Kind.TIME: policy.time,
        Kind.GOODPUT: policy.goodput,
    }
    by_triple = {decision.triple: decision for decision in decisions}
    for change in found:
        decision = by_triple.get(change.triple)
        # What fails by the policy is said already.
        if change.kind in levels and (decision is None or decision.outcome is not Outcome.RED):
            worst = decision.worst if decision is not None else None
            yield _about(worst, result, levels[change.kind], change.kind, change.message, change.triple)


def _of_traces(policy: Policy, result: MatrixResult) -> Iterator[Finding]:
    for cell in result.cells:
        case = ALL_CASES.get(cell.test)
        if case is not None and case.breaches:
            continue  # its traces tell of what a side does on purpose
        sides = (
            ("server", cell.server, cell.qlog_findings.server),
            ("client", cell.client, cell.qlog_findings.client),
        )
        for side, peer, errors in sides:
            if not policy.wants_traces_of(peer):
                continue
            text = ""
            if errors is None and cell.status is Status.SUCCEEDED:
                text = f"the {side}, {peer}, left no trace"
            elif errors is not None and errors > policy.qlog_max_errors:
                text = f"{errors} errors in the traces of the {side}, {peer}"
            if text:
                triple = (cell.server, cell.client, cell.test)
                yield _about(cell, result, policy.qlog, "qlog", text, triple)


def _replay(cell: CellResult, options: Mapping[str, str]) -> str:
    """Empty where the results don't say enough; those of a run do."""
    try:
        seed, scale = int(options[_SEED]), float(options.get("timeout scale", "1"))
        peers = shlex.split(options.get("peers", ""))
    except (KeyError, ValueError):
        return ""
    return replay_command(cell.key, seed, peers, scale, short=options.get("short") == str(True))


def _about(
    cell: CellResult | None, result: MatrixResult, level: Level, criterion: str, message: str, triple: Triple
) -> Finding:
    if cell is None:
        return Finding(level=level, criterion=criterion, message=message, triple=triple)
    failed = next((check for check in cell.checks if not check.passed and not check.strict), None)
    return Finding(
        level=level,
        criterion=criterion,
        message=message,
        triple=triple,
        check=failed.name if failed is not None else "",
        packet=(failed.packet or "") if failed is not None else "",
        replay=_replay(cell, result.options),
        log_dir=cell.log_dir,
    )
