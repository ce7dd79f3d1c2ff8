"""`report.md`: a concise fraud-risk report. Tables are from the facts; the prose is the template's or a model's."""

from services.reporter import advice, reading
from services.reporter.facts import RunFacts, ScoreFacts
from services.reporter.markdown import block, bullets, count, inline, table
from services.reporter.narrative import Narrative, Written

PENDING = "A model was asked for the narrative; this page is replaced when it arrives."
"""Stands in a report whose narrative is still on its way."""

_NONE = "–"


def render(run: RunFacts, written: Written | None = None, note: str = "") -> str:
    """The report: by the model if `written` is given, else by the template; `note` says why there is no narrative."""
    prose = written.narrative if written else None
    parts = [
        f"# Fraud-risk report: {inline(run.run.id)}",
        "## Executive summary",
        *_summary(run, prose),
        "## Metric interpretation",
        *_metrics(run, prose),
        "## Risks",
        *_list(
            prose.risks if prose else None, advice.risks(run), "Seen in this run:", "None seen in this run's facts."
        ),
        "## Next steps",
        *_list(prose.next_steps if prose else None, advice.next_steps(run), "From this run's facts:", ""),
        "---",
        _trace(run, written, note),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(run: RunFacts, prose: Narrative | None) -> list[str]:
    who = f"{count(len(run.banks), 'bank')}, population {inline(run.run.population)}, recipe {inline(run.run.recipe)}"
    facts = [reading.verdict(run), f"{reading.ending(run)} {who}.", _compared(run)]
    return [*facts, block(prose.executive_summary)] if prose else facts


def _compared(run: RunFacts) -> str:
    both = reading.alone_and_federated(run)
    if both is None:
        return advice.uplift(run)
    alone, federated, where = both
    return (
        f"Alone, the banks reach average precisions of {alone.worst:.3f} to {alone.best:.3f} on {where} (mean "
        f"{alone.mean:.3f}); with the federated model the mean is {federated.mean:.3f}. {advice.uplift(run)}"
    )


def _metrics(run: RunFacts, prose: Narrative | None) -> list[str]:
    head = reading.headline(run)
    if prose:
        text = block(prose.metric_interpretation)
    elif head:
        text = bullets(reading.metrics(head[1], head[0]))
    else:
        text = "No model was measured, so there is no metric to read."
    return [text, *_rounds(run), *_banks(run)]


def _list(prose: str | None, items: list[str], lead: str, empty: str) -> list[str]:
    if prose:
        return [block(prose), *([lead, bullets(items)] if items else [])]
    return [bullets(items) or empty]


def _rounds(run: RunFacts) -> list[str]:
    if not run.rounds:
        return ["No round was committed."]
    header = ["Round", "outcome", "banks", "seconds", "hold-out AP", "hold-out AUROC", "pooled AP", "pooled AUROC"]
    rows = [
        [
            _kind(r.number, r.segments),
            r.outcome,
            f"{r.banks} of {r.cohort}",
            _figure(r.seconds, 2),
            *_pair(r.holdout),
            *_pair(r.pooled),
        ]
        for r in run.rounds
    ]
    return ["Average precision (AP) and AUROC of the model that each round produced:", table(header, rows)]


def _kind(number: int, segments: list[str]) -> str:
    if number == 0:
        return "preparing"
    return str(number) if "train" in segments else f"{number} (evaluate only)"


def _pair(scores: ScoreFacts | None) -> list[str]:
    return [_figure(scores.average_precision), _figure(scores.roc_auc)] if scores else [_NONE, _NONE]


def _banks(run: RunFacts) -> list[str]:
    if not run.banks:
        return ["No bank took part."]
    header = ["Bank", "rows", "fraud rate", "alone", "federated", "uplift", "alone, hold-out", "federated, hold-out"]
    rows = [
        [
            inline(b.seat, 40),
            f"{b.rows:,}" if b.rows is not None else _NONE,
            f"{100 * b.fraud_rate:.2f} %" if b.fraud_rate is not None else _NONE,
            _figure(b.alone),
            _figure(b.federated),
            f"{b.uplift:+.3f}" if b.uplift is not None else _NONE,
            _figure(b.alone_holdout),
            _figure(b.federated_holdout),
        ]
        for b in run.banks
    ]
    lead = f"Average precision by bank, on its own validation rows unless said ({_NONE}: not disclosed or not defined):"
    return [lead, table(header, rows)]


def _figure(value: float | None, digits: int = 3) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _trace(run: RunFacts, written: Written | None, note: str) -> str:
    by = f"Narrative by {inline(written.model, 80)}; verdict, tables and lists by template." if written else ""
    by = by or f"Narrative by template{f': {inline(note)}' if note else ''}".rstrip(".") + "."
    model = run.run.model_sha256 or "none"
    roster = f" (roster: {run.run.roster})" if run.run.roster else ""
    return (
        f"Run {inline(run.run.id)} · model SHA-256 {inline(model)} · seed {run.run.seed} · recipe "
        f"{inline(run.run.recipe)} · aggregation {inline(run.run.aggregation)}{roster}. {by}"
    )
