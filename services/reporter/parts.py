"""The parts beneath summary, metrics and next steps: what somebody who decides, signs or audits looks for."""

from collections.abc import Mapping

from services.reporter import advice
from services.reporter.calibration_parts import recalibration
from services.reporter.derived import comparable, curve, headline, middle_budget, shown
from services.reporter.document import Block, Bullets, Heading, Paragraph, Table
from services.reporter.fact_table import Fact
from services.reporter.facts import RunFacts
from services.reporter.reading import agreed, in_money, plural, put
from services.reporter.round_facts import RoundFacts
from services.reporter.score_facts import CurveFacts

Facts = Mapping[str, Fact]

NONE = "–"
"""A figure that is not known."""
MOST_ROUNDS = 40
"""Rounds that the table shows in full; of more it shows the committed ones thinned out, and every other one."""


def cell(facts: Facts, key: str) -> str:
    """The fact's placeholder, or a dash where it is not known or empty."""
    return put(key) if key in facts and facts[key].text else NONE


def part(text: str) -> Heading:
    """What a part begins with."""
    return Heading(text, 3)


def decision(run: RunFacts) -> list[Block]:
    """What is asked, what is recommended, and under which conditions."""
    against = advice.refused(run)
    asked = "Asked: whether the banks put this model to use. Recommended: "
    if against:
        return [
            part("Decision and recommendation"),
            Paragraph(f"{asked}**do not deploy**, as {'; '.join(against)}.", "lead"),
        ]
    return [
        part("Decision and recommendation"),
        Paragraph(f"{asked}**a pilot beside the present systems**, under these conditions:", "lead"),
        Bullets(tuple(advice.conditions(run))),
    ]


def compared(run: RunFacts) -> str:
    """Alone against federated, in a sentence or two."""
    keys = advice.alone_and_federated(run)
    if keys is None:
        return advice.uplift(run)
    alone, federated, _ = keys
    count = getattr(run.final, alone.removeprefix("final.")).count
    banks = f"{plural(count, f'{alone}.count', 'bank')} that {agreed(count, 'discloses', 'disclose')} both figures"
    return (
        f"Alone, {banks} {agreed(count, 'reaches', 'reach')} average precisions of {put(f'{alone}.worst')} to "
        f"{put(f'{alone}.best')} on {advice.where(run)} (mean {put(f'{alone}.mean')}); with the federated model the "
        f"mean is {put(f'{federated}.mean')}. {advice.uplift(run)}"
    )


def at_a_budget(run: RunFacts, facts: Facts) -> list[Block]:
    """The result as a team with so many alerts would see it, and against each bank alone and all rows in one place."""
    blocks: list[Block] = [part("Result at an alert budget, and against being alone")]
    if found := curve(run):
        budget = f"{found[0]}.budgets.{middle_budget(found[1]) + 1}"
        worth = in_money(run)
        blocks.append(
            Paragraph(
                f"With {put(f'{budget}.budget_per_thousand')} alerts in {put('derived.rule.thousand')} transactions, "
                f"on {_rows(found[0])}: {_counted(found[1], budget)}, {put(f'{budget}.precision')} of them fraud, "
                f"{put(f'{budget}.recall')} of all frauds found, {_false(found[1], budget)}."
                f"{'' if worth else ' What that is worth in money is not in the facts.'}"
            )
        )
        blocks += [Paragraph(worth)] if worth else []
    rows = [
        (label, *(cell(facts, f"{key}.{name}") for name in ("worst", "mean", "best", "count")))
        for label, key in _COMPARED
    ]
    rows = [row for row in rows if set(row[1:]) != {NONE}]
    over = ", over the banks that disclose both their own model's and the federated one's" if rows else ""
    central = cell(facts, "final.central.average_precision")
    if central != NONE and comparable(run):
        place = "hold-out" if run.final.holdout else "all validation rows"
        rows.append((f"All rows in one place, {place}", NONE, central, NONE, NONE))
    if rows:
        blocks += [
            Paragraph(f"Average precision{over}:"),
            Table(("Model and rows", "worst bank", "mean", "best bank", "banks"), tuple(rows)),
        ]
    change = cell(facts, "derived.change.central")
    if change != NONE and (head := headline(run)):
        text = f"Federated minus all rows in one place, on {head.where}: {change} in average precision."
        blocks.append(Paragraph(text))
    return blocks if len(blocks) > 1 else []


def _counted(found: CurveFacts, budget: str) -> str:
    """116 alerts, which are 16.6 a day over all banks."""
    alerts = found.budgets[middle_budget(found)]
    day = f" ({put(f'{budget}.alerts_per_day')} a day over all banks)" if alerts.alerts_per_day is not None else ""
    return plural(alerts.alerts, f"{budget}.alerts", "alert") + day


def _false(found: CurveFacts, budget: str) -> str:
    number = found.budgets[middle_budget(found)].false_alerts
    return plural(number, f"{budget}.false_alerts", "false alarm")


_COMPARED = (
    ("Each bank alone, hold-out", "final.compared_alone_holdout"),
    ("Federated, hold-out", "final.compared_federated_holdout"),
    ("Federated minus alone, hold-out", "final.uplift_holdout"),
    ("Each bank alone, own rows", "final.compared_alone"),
    ("Federated, own rows", "final.compared_federated"),
    ("Federated minus alone, own rows", "final.uplift"),
)


def banks(run: RunFacts, facts: Facts, *, said: bool) -> list[Block]:
    """Bank by bank: who gains and who loses. `said` where a sentence before it has named them already."""
    if not run.banks:
        return [part("Who gains and who loses"), Paragraph("No bank took part.")]
    header = ("Bank", "rows", "fraud rate", "alone", "federated", "uplift", "alone, hold-out", "federated, hold-out")
    names = ("rows", "fraud_rate", "alone", "federated", "uplift", "alone_holdout", "federated_holdout")
    rows = []
    for bank in run.banks:
        key = advice.seat(run, bank.seat)
        rows.append((key, *(cell(facts, f"{_key(key)}.{name}") for name in names)))
    lead = f"Average precision by bank, on its own validation rows unless said ({NONE}: not disclosed or not defined)"
    lead += "; rows and fraud rate are of its payments of all days of the plan:" if run.run.feature_plan else ":"
    return [
        part("Who gains and who loses"),
        *([] if said else [Paragraph(advice.uplift(run))]),
        Paragraph(lead),
        Table(header, tuple(rows)),
    ]


def thresholds(run: RunFacts, facts: Facts) -> list[Block]:
    """The options that there are: budgets of alerts, and what each finds and costs."""
    if (found := curve(run)) is None:
        return []
    header: tuple[str, ...] = (
        f"Alerts in {put('derived.rule.thousand')}",
        "alerts",
        "frauds found",
        "precision",
        "recall",
        "false positives",
        "from log-odds",
    )
    names: tuple[str, ...] = ("alerts", "hits", "precision", "recall", "false_alerts", "logit")
    if found[1].budgets[0].alerts_per_day is not None:
        header, names = (*header, "alerts a day, all banks"), (*names, "alerts_per_day")
    rows = [
        (put(f"{key}.budget_per_thousand"), *(cell(facts, f"{key}.{name}") for name in names))
        for key in (f"{found[0]}.budgets.{number}" for number in range(1, len(found[1].budgets) + 1))
    ]
    head = headline(run)
    count = f" ({put(f'{head.key}.row_count')} rows)" if head and found[0].startswith(head.key) else ""
    lead = (
        f"On {_rows(found[0])}{count}, the transactions with the highest scores being alerts, as many as one threshold "
        "gives within the budget:"
    )
    return [part("Threshold options"), Paragraph(lead), Table(header, tuple(rows))]


def calibration(run: RunFacts, facts: Facts) -> list[Block]:
    """Whether a score means what it says: expected and observed frauds, from the highest scores down."""
    found, fitted = curve(run), recalibration(run)
    if found is None or not found[1].calibration:
        return [part("Calibration"), *fitted] if fitted else []
    rows = [
        tuple(
            cell(facts, f"{found[0]}.calibration.{number}.{name}")
            for name in ("rows", "expected_rate", "observed_rate")
        )
        for number in range(1, len(found[1].calibration) + 1)
    ]
    lead = f"On {_rows(found[0])}, from the highest scores down; where a score can be read as a probability they agree:"
    header = ("Transactions", "share of frauds that the model expects", "share that there is")
    return [part("Calibration"), Paragraph(lead), Table(header, tuple(rows)), *fitted]


def rounds(run: RunFacts, facts: Facts) -> list[Block]:
    """Stability: every round, its outcome and the model that it produced."""
    if not run.rounds:
        return [part("Stability over the rounds"), Paragraph("No round was committed.")]
    header = ("Round", "outcome", "banks", "seconds", "hold-out AP", "hold-out AUROC", "pooled AP", "pooled AUROC")
    rows = []
    places = shown(run.rounds, MOST_ROUNDS)
    for number in places:
        key, done = f"rounds.{number}", run.rounds[number - 1]
        scores = (
            f"{key}.{place}.{name}" for place in ("holdout", "pooled") for name in ("average_precision", "roc_auc")
        )
        took = f"{put(f'{key}.banks')} of {put(f'{key}.cohort')}"
        rows.append(
            (_kind(key, done), done.outcome, took, cell(facts, f"{key}.seconds"), *(cell(facts, s) for s in scores))
        )
    blocks: list[Block] = [part("Stability over the rounds")]
    if "derived.change.training" in facts:
        blocks.append(
            Paragraph(
                f"Average precision changed by {put('derived.change.training')} from the first measured model to the "
                f"last; the last differs from the best round's by {put('derived.change.since_best')}."
            )
        )
    left_out = "; not all are shown, facts.json has them" if len(places) < len(run.rounds) else ""
    lead = f"Average precision (AP) and AUROC of the model that each round produced{left_out}:"
    return [*blocks, Paragraph(lead), Table(header, tuple(rows))]


def _kind(key: str, done: RoundFacts) -> str:
    if done.number == 0:
        return "counters" if "count" in done.segments else "preparing"
    return put(f"{key}.number") + ("" if "train" in done.segments else " (evaluate only)")


def sign_off() -> list[Block]:
    """Lines to be filled by hand."""
    roles = ("Fraud operations", "Model validation", "Data protection", "Decision")
    rows = tuple((role, "", "", "") for role in roles)
    return [part("Sign-off"), Table(("Role", "name", "decision", "date"), rows, prose=True)]


def lineage(run: RunFacts, facts: Facts) -> list[Block]:
    """What ties this page to the journal, and what the run was told."""
    named = [
        ("Run", "run.id"),
        ("Started", "run.started_time"),
        ("Ended", "run.ended_time"),
        ("Model's hash", "run.model_sha256"),
        ("Weights' hash", "run.vector_sha256"),
        ("Code's version", "code.version"),
        ("Code's commit", "code.commit"),
        ("Journal entry", "run.journal_sequence"),
        ("Journal head", "run.journal_head"),
        ("Seed", "run.seed"),
        ("Population", "run.population"),
        ("Recipe", "run.recipe"),
        ("Aggregation", "run.aggregation"),
        ("Roster", "run.roster"),
        ("Training rounds asked for", "run.round_count"),
        ("Quorum", "run.quorum"),
        ("Banks expected", "run.expected_bank_count"),
        ("Seconds that a round waits", "run.round_deadline_seconds"),
        ("Parameters", "run.parameter_count"),
    ]
    named += [(f"Recipe: {name.replace('_', ' ')}", f"run.hyperparameters.{name}") for name in run.run.hyperparameters]
    rows = [(label, cell(facts, key)) for label, key in named]
    layers = " × ".join(put(f"run.layers.{number}") for number in range(1, len(run.run.layers) + 1))
    rows.append(("Widths of the layers", layers))
    return [part("Lineage"), Table(("What", "value"), tuple(row for row in rows if row[1] != NONE), prose=True)]


def _rows(key: str) -> str:
    return "the public hold-out" if "holdout" in key else "all banks' validation rows"


def _key(placeholder: str) -> str:
    """banks.bank-01 of {{banks.bank-01.seat}}."""
    return placeholder.strip("{}").removesuffix(".seat")
