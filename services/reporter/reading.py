"""What the figures mean, in words: the verdict and the reading of each metric, from this run's facts alone."""

import math

from services.reporter.facts import RunFacts, ScoreFacts, Summary
from services.reporter.markdown import inline

# Average precision from which a verdict is given, and times the prevalence below which a ranking is hardly chance.
STRONG, USEFUL, HARDLY_CHANCE = 0.6, 0.3, 2.0


def headline(run: RunFacts) -> tuple[str, ScoreFacts] | None:
    """The scores that the verdict rests on and the rows they were measured on: the hold-out, else the banks' rows.

    A run that ended early may not have measured its last model; then it is the last one that was.
    """
    if run.final.holdout is not None:
        return "the public hold-out", run.final.holdout
    if run.final.pooled is not None:
        return "all banks' validation rows", run.final.pooled
    for done in reversed(run.rounds):
        if scores := done.holdout or done.pooled:
            return f"the rows that measured round {done.number}, the last measured", scores
    return None


def alone_and_federated(run: RunFacts) -> tuple[Summary, Summary, str] | None:
    """The banks' average precision alone and federated, and the rows it was measured on; None if undisclosed."""
    if run.final.alone_holdout and run.final.federated_holdout:
        return run.final.alone_holdout, run.final.federated_holdout, "the hold-out"
    if run.final.alone and run.final.federated:
        return run.final.alone, run.final.federated, "their own validation rows"
    return None


def ending(run: RunFacts) -> str:
    """One sentence: how the run ended."""
    why = inline(run.run.reason).rstrip(".")
    return f"The run {run.run.outcome or 'goes on'} with {_done(run)} committed" + (f": {why}." if why else ".")


def _done(run: RunFacts) -> str:
    done = sum(1 for r in run.rounds if r.outcome == "committed" and 0 < r.number <= run.run.round_count)
    return f"{done} of {run.run.round_count} training rounds"


def verdict(run: RunFacts) -> str:
    """A few sentences that somebody can decide by; that the run did not finish goes before whatever it measured."""
    early = run.run.outcome in ("failed", "stopped")
    return (f"**The run {run.run.outcome} after {_done(run)}.** " if early else "") + _judgement(run)


def _judgement(run: RunFacts) -> str:
    head = headline(run)
    if head is None:
        return "**There is no measured model, and so nothing to use.**"
    where, scores = head
    precision = scores.average_precision
    if precision is None or scores.prevalence is None:
        return f"**The model cannot be judged:** on {where} there is one class only ({_of(scores)})."
    grade = _grade(precision, scores.prevalence)
    silent = " At probability 0.5 **nothing is flagged**." if scores.flagged_count == 0 else ""
    return (
        f"**{grade}**: average precision {precision:.3f} on {where}, "
        f"where a model without skill has {scores.prevalence:.4f}.{silent}"
    )


def _grade(precision: float, prevalence: float) -> str:
    if precision < HARDLY_CHANCE * prevalence:
        return "The model does not detect fraud"
    if precision < USEFUL:
        return "The model ranks fraud above chance, but too weakly to rely on"
    if precision < STRONG:
        return "The model is useful for ranking transactions for review"
    return "The model ranks fraud well"


def metrics(scores: ScoreFacts, where: str) -> list[str]:
    """Each metric read in words, with its figure; a figure that the rows do not define is left out."""
    readings = (_precision, _auc, _recall, _flagged, _loss, _accuracy)
    return [text for reading in readings if (text := reading(scores, where))]


def _precision(scores: ScoreFacts, where: str) -> str:
    if scores.average_precision is None or not scores.prevalence:
        return ""
    times = scores.average_precision / scores.prevalence
    return (
        f"**Average precision** is {scores.average_precision:.3f} on {where}; the prevalence, which is what a model "
        f"without skill gets, is {scores.prevalence:.4f}: {times:.1f} times as good as chance. It is the figure to "
        "compare models by when fraud is rare."
    )


def _auc(scores: ScoreFacts, where: str) -> str:
    if scores.roc_auc is None:
        return ""
    return (
        f"**AUROC** is {scores.roc_auc:.3f}: in {100 * scores.roc_auc:.0f} of 100 pairs of a fraud and a legitimate "
        "transaction the fraud has the higher score; 50 would be chance. With rare fraud it flatters."
    )


def _recall(scores: ScoreFacts, where: str) -> str:
    parts = []
    for rate, recall in ((0.005, scores.recall_at_half_percent), (0.01, scores.recall_at_one_percent)):
        if recall is not None:
            alerts = rate * scores.row_count
            right = recall * scores.fraud_count / alerts
            parts.append(
                f"{100 * recall:.1f} % of frauds when the {100 * rate:.1f} % of transactions with the highest scores "
                f"are alerts ({alerts:,.0f} alerts, {100 * right:.0f} in 100 of them right)"
            )
    return f"**Recall at an alert budget**: {'; '.join(parts)}." if parts else ""


def _flagged(scores: ScoreFacts, where: str) -> str:
    if scores.flagged_count == 0:
        return (
            f"**At probability 0.5 nothing is flagged**: none of {scores.row_count:,} transactions reaches it. "
            "As a yes-or-no detector at that threshold the model detects nothing."
        )
    return f"**At probability 0.5** the model flags {scores.flagged_count:,} of {_of(scores)}."


def _loss(scores: ScoreFacts, where: str) -> str:
    if scores.log_loss is None or not scores.prevalence or scores.prevalence == 1:
        return ""
    p = scores.prevalence
    constant = -p * math.log(p) - (1 - p) * math.log(1 - p)
    better = "better" if scores.log_loss < constant else "no better"
    return (
        f"**Log loss** is {scores.log_loss:.4f} nats; always answering the prevalence gives {constant:.4f}: as "
        f"probabilities the scores are {better} than that."
    )


def _accuracy(scores: ScoreFacts, where: str) -> str:
    if scores.accuracy is None or scores.accuracy_always_legitimate is None:
        return ""
    return (
        f"**Accuracy** is {100 * scores.accuracy:.2f} %, and calling every transaction legitimate has "
        f"{100 * scores.accuracy_always_legitimate:.2f} %: where fraud is this rare, accuracy says next to nothing and "
        "is no metric to decide by."
    )


def _of(scores: ScoreFacts) -> str:
    return f"{scores.row_count:,} transactions, of which {scores.fraud_count:,} are fraud"
