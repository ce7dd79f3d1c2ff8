"""Sentences of the next steps, most urgent first; each asks for something, and has its cause in the facts."""

from collections.abc import Iterator
from functools import partial

from services.reporter import advice, gaps
from services.reporter.derived import SHIFTED, curve, headline
from services.reporter.facts import RunFacts
from services.reporter.reading import agreed, put, weak
from services.reporter.sentences.risks import dropped, shared_frauds, unsteady
from services.reporter.sentences.sentence import Facts, Sentence, a_budget, known, middle, printed

_say = partial(Sentence, section="next_steps")


def sentences(run: RunFacts, facts: Facts) -> Iterator[Sentence]:
    """All of them: what this run asks for, then what any does."""
    yield _say("steps.ending", topic="review", text=_after_ending(run), standing=True, offered=False)
    yield from _after_quality(run)
    yield from _after_losses(run)
    yield from _after_trouble(run)
    how = "aggregation by which the aggregator learns sums alone: to be kept, or to be set"
    plain = run.run.aggregation == "plain"
    yield _say("steps.aggregation", topic="privacy", text=_aggregation(run), standing=plain, about=how)
    text = "Repeat the run with other seeds before deciding: a single run is a single draw."
    yield _say("steps.seeds", topic="review", text=text, standing=True)
    yield from _before_use(run)
    yield from _to_look_into(run, facts)


def _after_ending(run: RunFacts) -> str:
    if run.run.outcome == "failed":
        return "Mend what made the run fail, then start another: `start` of the operator."
    if run.run.outcome == "stopped":
        return "Start another run if the stop was no verdict on this one: it did fewer rounds than it aimed at."
    return ""


def _after_quality(run: RunFacts) -> Iterator[Sentence]:
    if (head := headline(run)) is None:
        return
    if head.scores.flagged_count == 0:
        better = " recipe `default` corrects each bank's scores for rare fraud;" if run.run.recipe != "default" else ""
        odds = put("derived.rule.even_odds")
        text = f"Do not act on probability {odds}:{better} set the threshold by an alert budget."
        about = "not to act on even odds, and what to do instead"
        yield _say("steps.silent", topic="alerts", text=text, must=True, standing=True, about=about)
    if head.scores.average_precision is not None and weak(head.scores):
        text = "Do not deploy: train longer or by another recipe until average precision is well above chance."
        yield _say("steps.weak", topic="ranking", text=text, must=True, standing=True)


def _after_losses(run: RunFacts) -> Iterator[Sentence]:
    real, doubtful = ([bank.seat for bank in banks] for banks in advice.losses(run))
    if real:
        text = (
            f"Let {advice.names(run, real)} use the bank's own model until a run serves better, and look at how the "
            "transactions there differ."
        )
        yield _say("steps.losing", topic="banks", text=text, must=True, standing=True)
    if doubtful:
        seats = advice.names(run, doubtful)
        text = f"Measure {seats} on more rows: a loss on its own rows, a gain on the hold-out."
        yield _say("steps.doubtful", topic="banks", text=text, must=True, standing=True)


def _after_trouble(run: RunFacts) -> Iterator[Sentence]:
    if any(done.outcome != "committed" for done in run.rounds):
        text = "Look at why rounds had no result: banks absent, or a deadline too short for the slowest."
        yield _say("steps.void", topic="rounds", text=text, must=True, standing=True)
    if seats := dropped(run):
        text = f"Ask {advice.names(run, [name for name, _ in seats.most_common()])} why answers were missing."
        about = "asking the banks whose answers were missing"
        yield _say("steps.missing", topic="rounds", text=text, must=True, standing=True, about=about)
    if run.refusals.count:
        numbers = {refusal.seat: number for number, refusal in enumerate(run.refusals.last, 1)}
        shown = ", ".join(put(f"refusals.last.{number}.seat") for _, number in sorted(numbers.items())[:10])
        text = f"Check the clients of {shown}: contributions were refused."
        yield _say("steps.refused", topic="review", text=text, standing=True, offered=False)


def _aggregation(run: RunFacts) -> str:
    if run.run.aggregation == "plain":
        return "Before real transactions, use secure aggregation, in which the aggregator learns sums alone."
    kept = "Keep to" if run.run.aggregation == "secure" else "Use"
    return f"{kept} secure aggregation, in which the aggregator learns sums alone, whenever rows are real."


def _before_use(run: RunFacts) -> Iterator[Sentence]:
    text = "Before any model blocks a transaction, let it score beside the present system and have its alerts reviewed."
    yield _say("steps.beside", topic="review", text=text)
    text = "Have fraud operations, model validation and data protection sign beneath before anything is decided."
    yield _say("steps.sign", topic="review", text=text)
    if found := curve(run):
        key = middle(found)
        text = f"Decide on a budget of alerts; within {a_budget(key)}, recall is {put(f'{key}.recall')}."
        yield _say("steps.budget", topic="alerts", text=text)
    head = headline(run)
    if head is not None and head.scores.average_precision is not None:
        text = (
            "Look again if average precision on reviewed transactions is below "
            f"{put('derived.trigger.average_precision')}, a loss of {put('derived.rule.precision_loss')} on this run's."
        )
        yield _say("steps.trigger", topic="review", text=text)
    text = f"Look again if the population stability index of the score is over {put('derived.rule.stability_index')}."
    yield _say("steps.drift", topic="review", text=text)
    yield _say("steps.later", topic="data", text=_later(run))


def _later(run: RunFacts) -> str:
    if run.run.feature_plan is None:
        return "Measure on transactions that are later than those of the training, with labels that had time to arrive."
    return (
        f"Measure again on transactions later than {put('run.feature_plan.last_day')}, the last day of the validation, "
        "with labels that had time to arrive."
    )


def _to_look_into(run: RunFacts, facts: Facts) -> Iterator[Sentence]:
    if silent := gaps.may_disclose(run):
        fares = agreed(len(silent), "it fares", "they fare")
        text = f"Ask whether {advice.names(run, silent)} can disclose how {fares} alone and federated."
        yield _say("steps.disclose", topic="banks", text=text, standing=True, offered=False)
    if shared_frauds(run):
        text = "Validate on more days: there are few frauds a bank to measure by."
        yield _say("steps.more_rows", topic="data", text=text)
    elif few := unsteady(run):
        text = f"Measure over a longer time at {advice.names(run, few)}: there are few frauds to measure by."
        yield _say("steps.more_rows", topic="data", text=text)
    held, pooled = "final.holdout.average_precision", "final.pooled.average_precision"
    if known(facts, held, pooled) and abs(printed(facts, held) - printed(facts, pooled)) >= SHIFTED:
        text = (
            "Find out in what the hold-out and the banks' own rows differ, and which of them new transactions are like."
        )
        yield _say("steps.shifted", topic="data", text=text)
    if known(facts, "derived.change.central") and printed(facts, "derived.change.central") < 0:
        text = (
            f"Weigh the difference to all rows in one place, {put('derived.change.central')} in average precision, "
            "against what gathering the rows would cost in privacy."
        )
        yield _say("steps.central", topic="comparison", text=text)
    if known(facts, "final.holdout_curve.calibration.1.rows") or known(facts, "final.pooled_curve.calibration.1.rows"):
        text = "Before a score is read as a probability, hold it to the calibration table on later transactions."
        yield _say("steps.calibration", topic="calibration", text=text)
