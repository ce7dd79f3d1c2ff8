"""What the figures mean, in words: the verdict and the reading of each metric. Figures stand in it by key."""

from services.reporter.derived import HARDLY_CHANCE, STRONG, USEFUL, Headline, comparable, headline
from services.reporter.facts import RunFacts
from services.reporter.score_facts import ScoreFacts


def put(key: str) -> str:
    """The placeholder of a fact."""
    return f"{{{{{key}}}}}"


def agreed(number: int, one: str, many: str = "") -> str:
    """The word that goes with the number: 1 round gains, 2 rounds gain."""
    return one if number == 1 else many or one + "s"


def plural(number: int, key: str, one: str, many: str = "") -> str:
    """1 round, 2 rounds; the number by its key."""
    return f"{put(key)} {agreed(number, one, many)}"


def ending(run: RunFacts) -> str:
    """One sentence: how the run ended."""
    why = f": {put('run.reason')}" if run.run.reason.strip(" .") else ""
    return f"The run {run.run.outcome or 'goes on'} with {_done()} committed{why}."


def _done() -> str:
    return f"{put('totals.training_rounds')} of {put('run.round_count')} training rounds"


def verdict(run: RunFacts) -> str:
    """A few sentences that somebody can decide by; that the run did not finish goes before whatever it measured."""
    early = run.run.outcome in ("failed", "stopped")
    return (f"**The run {run.run.outcome} after {_done()}.** " if early else "") + _judgement(headline(run))


def _judgement(head: Headline | None) -> str:
    if head is None:
        return "**There is no measured model, and so nothing to use.**"
    scores = head.scores
    if scores.average_precision is None or scores.prevalence is None:
        return f"**The model cannot be judged:** on {head.where} there is a single class only ({_of(head)})."
    silent = f" At probability {_odds()} **nothing is flagged**." if scores.flagged_count == 0 else ""
    return (
        f"**{_grade(scores)}**: average precision {put(f'{head.key}.average_precision')} on {head.where}, "
        f"where a model without skill has {put(f'{head.key}.prevalence')}.{silent}"
    )


def central(run: RunFacts) -> str:
    """Which side is ahead, federated or all rows in one place, and by how much, or that they were judged on other rows;
    empty where nobody knows."""
    head = headline(run)
    if run.final.central is None or head is None or not head.key.startswith("final."):
        return ""
    if not comparable(run):
        rows, frauds, others, of_them = (
            put(f"{key}.{name}") for key in ("final.central", head.key) for name in ("row_count", "fraud_count")
        )
        return (
            f"The same recipe on all rows in one place was judged on {rows} rows, {frauds} of them fraud, the "
            f"federated model on {others}, {of_them} of them fraud: no comparison."
        )
    if run.final.against_central is None:
        return ""
    reached = (
        "The same recipe on all rows in one place reaches an average precision of "
        f"{put('final.central.average_precision')} on {head.where}, the federated model "
        f"{put(f'{head.key}.average_precision')}"
    )
    if run.final.against_central.ahead == "neither":
        return f"{reached}: neither is ahead at the printed precision."
    place = "ahead of" if run.final.against_central.ahead == "federated" else "behind"
    return f"{reached}: the federated model is {place} it by {put('final.against_central.by')}."


def _beside_central(run: RunFacts) -> str:
    if not (compared := central(run)):
        return ""
    told = f"**Against central**: {compared[0].lower()}{compared[1:]}"
    # facts.json of an older version may have `against_central` of other rows too
    if run.final.against_central is None or not comparable(run):
        return told
    meaning = {
        "federated": "Pooling the rows, which banks may not do, would not have ranked better here.",
        "central": f"That is what it costs here to leave the rows where they are{noise_in_it(run)}.",
        "neither": "To leave the rows where they are costs nothing here.",
    }[run.final.against_central.ahead]
    return f"{told} {meaning}"


def noise(run: RunFacts) -> str:
    """A sentence: what is known of noise. Only counts of merchants may have some; whether they do, no journal says."""
    if run.run.feature_plan is None:
        return "No noise was added to what banks sent: there is no bound in the sense of differential privacy."
    return (
        "The federation adds no noise; a bank may add noise to its counts of merchants by its own setting, which it "
        "tells nobody. On the model and the scores there is no bound in the sense of differential privacy."
    )


def noise_in_it(run: RunFacts) -> str:
    """What else a loss against central may come from, where counters were summed; as part of a sentence."""
    return ", noise that banks may have added to their counts included" if run.run.feature_plan else ""


def weak(scores: ScoreFacts) -> bool:
    """Whether the ranking is too near to chance to be used."""
    if scores.average_precision is None or scores.prevalence is None:
        return True
    return scores.average_precision < max(USEFUL, HARDLY_CHANCE * scores.prevalence)


def _grade(scores: ScoreFacts) -> str:
    precision = scores.average_precision or 0.0
    if precision < HARDLY_CHANCE * (scores.prevalence or 0.0):
        return "The model does not detect fraud"
    if precision < USEFUL:
        return "The model ranks fraud above chance, but too weakly to rely on"
    if precision < STRONG:
        return "The model is useful for ranking transactions for review"
    return "The model ranks fraud well"


def metrics(run: RunFacts) -> list[str]:
    """Each metric read in words, with its figure; a figure that the rows do not define is left out."""
    return list(named_metrics(run).values())


def named_metrics(run: RunFacts) -> dict[str, str]:
    """The same by the metric's name."""
    if (head := headline(run)) is None:
        return {}
    found = {name: reading(head) for name, reading in _READINGS.items()} | {"central": _beside_central(run)}
    return {name: text for name, text in found.items() if text}


def _precision(head: Headline) -> str:
    if head.scores.average_precision is None or not head.scores.prevalence:
        return ""
    multiple = f", {put('derived.chance_multiple')} as good as chance" if head.scores.prevalence < 1 else ""
    return (
        f"**Average precision** is {put(f'{head.key}.average_precision')} on {head.where}; the prevalence, which is "
        f"what a model without skill gets, is {put(f'{head.key}.prevalence')}{multiple}. It is the figure to compare "
        "models by when fraud is rare."
    )


def _auc(head: Headline) -> str:
    if head.scores.roc_auc is None:
        return ""
    return (
        f"**AUROC** is {put(f'{head.key}.roc_auc')}: the chance that a fraud has a higher score than a legitimate "
        f"transaction; without skill it is {_odds()}. With rare fraud it flatters."
    )


def _flagged(head: Headline) -> str:
    if head.scores.flagged_count == 0:
        return (
            f"**At probability {_odds()} nothing is flagged**: none of {put(f'{head.key}.row_count')} transactions "
            "reaches it. As a yes-or-no detector at that threshold the model detects nothing."
        )
    return (
        f"**At probability {_odds()}** the model flags {put(f'{head.key}.flagged_count')} of "
        f"{put(f'{head.key}.row_count')} transactions; {put(f'{head.key}.fraud_count')} of all of them are fraud, "
        "flagged or not."
    )


def _loss(head: Headline) -> str:
    p = head.scores.prevalence
    if head.scores.log_loss is None or not p or p >= 1:
        return ""
    return (
        f"**Log loss** is {put(f'{head.key}.log_loss')} nats; always answering the prevalence gives "
        f"{put('derived.constant_log_loss')}, a difference of {put('derived.change.log_loss')}. Less is better."
    )


def _accuracy(head: Headline) -> str:
    if head.scores.accuracy is None or head.scores.accuracy_always_legitimate is None:
        return ""
    return (
        f"**Accuracy** is {put(f'{head.key}.accuracy')}, and calling every transaction legitimate has "
        f"{put(f'{head.key}.accuracy_always_legitimate')}: where fraud is rare, accuracy says next to nothing and "
        "is no metric to decide by."
    )


_READINGS = {"precision": _precision, "auc": _auc, "flagged": _flagged, "loss": _loss, "accuracy": _accuracy}


def _of(head: Headline) -> str:
    return (
        f"{put(f'{head.key}.row_count')} transactions, of which {put(f'{head.key}.fraud_count')} "
        f"{'is' if head.scores.fraud_count == 1 else 'are'} fraud"
    )


def _odds() -> str:
    return put("derived.rule.even_odds")


def in_money(run: RunFacts) -> str:
    """What the headline budget is worth, in a sentence; empty where it is not known."""
    trade = run.final.trade
    if trade is None or trade.headline.value_detection_rate.value is None or trade.headline.savings.value is None:
        return ""
    return (
        f"In money, on all banks' validation payments: {put('final.trade.headline_budget')} alerts a day of each bank "
        f"stop {_with('value_detection_rate')} of the frauds' amount, and save {_with('savings')} of what the cheaper "
        f"of no alerts and an alert on every payment costs, at {put('final.trade.admin_euro')} euro an alert."
    )


def _with(name: str) -> str:
    key = f"final.trade.headline.{name}"
    return f"{put(f'{key}.value')} ({put(f'{key}.low')} to {put(f'{key}.high')})"
