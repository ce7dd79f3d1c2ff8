"""The parts beneath the risks: what left the banks, what the model is of, what nobody can say, when to look again."""

from services.reporter import advice, plan
from services.reporter.derived import curve, headline, middle_budget, took_part
from services.reporter.document import Block, Bullets, Table
from services.reporter.facts import RunFacts
from services.reporter.parts import Facts, part
from services.reporter.reading import noise, plural, put


def privacy(run: RunFacts, facts: Facts) -> list[Block]:
    """What left the banks, in which form, with how many others, and who dropped out."""
    mode = {
        "masked": "under masks that cancel in the sum alone: the aggregator learned sums over a cohort, no bank's own",
        "plain": "plainly, over mutual TLS: the aggregator saw each bank's integers",
    }.get(run.release.protection, "in a form that the journal does not name")
    begin = f", and began with {put('derived.rule.least_masked')} or more" if run.run.aggregation == "secure" else ""
    items = [
        f"No transaction left a bank. Contributions, integers of the kinds below, left {mode}.",
        f"In all {plural(run.totals.contributions, 'totals.contributions', 'contribution')} and "
        f"{put('derived.megabytes')} megabytes, of {plural(took_part(run), 'derived.banks_answering', 'bank')}; "
        f"keys, shares and consents that keep the masks: {put('derived.mask_megabytes')} megabytes, none of it "
        "from transactions.",
        f"A round needed the contributions of at least {put('run.quorum')} of "
        f"{put('run.expected_bank_count')} expected banks{begin}; "
        f"{plural(run.totals.answers_missing, 'totals.answers_missing', 'answer was', 'answers were')} missing in the "
        "run.",
        "In its own name a bank discloses what it chooses; the table of banks shows it, with a dash for what was not.",
        noise(run),
    ]
    rows = [
        (put(f"{key}.name"), put(f"{key}.words"), put(f"{key}.bytes"), put(f"{key}.content"))
        for key in (f"release.segments.{number}" for number in range(1, len(run.release.segments) + 1))
    ]
    blocks: list[Block] = [part("What left the banks"), Bullets(tuple(items))]
    if rows:
        blocks.append(Table(("Kind of contribution", "integers", "bytes", "what they are"), tuple(rows), prose=True))
    return blocks


def data(run: RunFacts, facts: Facts) -> list[Block]:
    """On what the model was trained and measured, and what nobody knows of it."""
    items = []
    if run.run.run_state is not None:
        rate = f" ({put('run.run_state.fraud_rate')})" if "run.run_state.fraud_rate" in facts else ""
        rows, frauds = put("run.run_state.training_rows"), put("run.run_state.training_frauds")
        items.append(f"Training: {rows} rows of all banks, {frauds} of them fraud{rate}.")
    for key, place in (("final.pooled", "Validation, all banks' rows"), ("final.holdout", "Public hold-out")):
        if f"{key}.row_count" in facts:
            rate = f", prevalence {put(f'{key}.prevalence')}" if f"{key}.prevalence" in facts else ""
            items.append(f"{place}: {put(f'{key}.row_count')} rows, {put(f'{key}.fraud_count')} of them fraud{rate}.")
    items += _spreads(run)
    if run.run.population in advice.SIMULATED:
        items.append(f"The population {put('run.population')} is made up; it stands for no bank's customers.")
    items += plan.told(run) or [
        "Not known from the journal: the period of the rows, whether validation rows are later than training rows, "
        "the delay of labels, and amounts."
    ]
    if run.run.feature_plan is not None:
        items.append("Validation leaves out payments of cards that are known as compromised by then.")
    items.append("No journal tells of defects of a bank's data, or of frauds that nobody has found.")
    return [part("Data"), Bullets(tuple(items))]


def _spreads(run: RunFacts) -> list[str]:
    """What banks disclose of their size and share of frauds, and of which rows that is."""
    of_plan = run.run.feature_plan is not None
    whats = ("Payments a bank", "Fraud rate of a bank's payments") if of_plan else ("Rows a bank", "Fraud rate a bank")
    items = []
    for name, what in zip(("rows", "fraud_rate"), whats, strict=True):
        if (spread := getattr(run.heterogeneity, name)) is not None:
            key = f"heterogeneity.{name}"
            counted = plural(spread.count, f"{key}.count", "bank")
            items.append(f"{what}: {put(f'{key}.least')} to {put(f'{key}.most')}, as disclosed by {counted}.")
    if items and of_plan:
        items[-1] += f" {plan.OF_ALL_DAYS}"
    return items


def limits(run: RunFacts) -> list[Block]:
    """What this report cannot say."""
    why = ", only by day" if run.final.trade else ": rows carry no such columns to the aggregator"
    items = [
        "Differences between banks and between models have no intervals: with few frauds, small ones can be chance.",
        f"Errors are not broken down by kind of fraud, amount or hour{why}.",
        "Single alerts are not explained: the report is about the model, not about a decision on a customer.",
        "Declined transactions have no label, so what a present system stops is not in the figures.",
        "The words are a narrative over checked figures, and no model of risk.",
    ]
    return [part("Limits"), Bullets(tuple(items))]


def monitoring(run: RunFacts) -> list[Block]:
    """When somebody has to look again."""
    items = [
        f"The population stability index of the score is over {put('derived.rule.stability_index')}.",
    ]
    head = headline(run)
    if head is not None and head.scores.average_precision is not None:
        items.append(
            f"Average precision on reviewed transactions is below {put('derived.trigger.average_precision')}, a loss "
            f"of {put('derived.rule.precision_loss')} on this run's."
        )
    if found := curve(run):
        key = f"{found[0]}.budgets.{middle_budget(found[1]) + 1}"
        items.append(
            f"At the threshold for {put(f'{key}.budget_per_thousand')} alerts in {put('derived.rule.thousand')} "
            f"transactions there are fewer than {put('derived.trigger.fewest_alerts')} or more than "
            f"{put('derived.trigger.most_alerts')} alerts in {put('derived.rule.thousand')} transactions "
            f"({put('derived.rule.alert_swing')} either way)."
        )
    else:
        items.append(f"The volume of alerts swings by more than {put('derived.rule.alert_swing')}.")
    items.append("A bank joins or leaves, a feature's meaning changes, or labels begin to arrive later.")
    return [part("When to look again"), Bullets(tuple(items))]
