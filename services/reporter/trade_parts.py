"""The report's parts in the trade's terms: what alerts come to a day and budget, in cards and money, with intervals."""

from services.reporter.document import Block, Paragraph, Table
from services.reporter.facts import RunFacts
from services.reporter.parts import Facts, cell, part
from services.reporter.reading import plural, put

_TRADE, _CENTRAL = "final.trade", "final.central_trade"
_HEADLINE = (
    ("Cards alerted that are found, a day", "card_precision"),
    ("Cards with a fraud that are found, a day", "card_recall"),
    ("Alerts that are frauds", "precision"),
    ("Frauds that are alerts", "recall"),
    ("False alarms a hit", "false_alarms_per_hit"),
    ("Frauds' amount that alerts stop", "value_detection_rate"),
    ("Savings", "savings"),
)


def trade(run: RunFacts, facts: Facts) -> list[Block]:
    """Budgets of alerts a day, figures of one of them with intervals, its days, and the ranking with intervals."""
    if run.final.trade is None:
        return []
    days = plural(run.final.trade.day_count, f"{_TRADE}.day_count", "day")
    return [
        part("Alerts a day, cards and money"),
        Paragraph(
            f"All banks' validation payments of {days} after training: {put(f'{_TRADE}.total.payments')} "
            f"payments, {put(f'{_TRADE}.total.frauds')} of them frauds, of "
            f"{put(f'{_TRADE}.total.fraud_euro')} euro. A budget is of each bank: so many alerts a day, the payments "
            "with the highest scores, and so many cards a day, by their highest score. An alert stops its own payment; "
            "a card that was found is not looked at again. Shares of cards are means over the days."
        ),
        _budgets(run, facts),
        Paragraph(
            f"With {put(f'{_TRADE}.headline_budget')} a day, and how scores rank; intervals hold "
            f"{put(f'{_TRADE}.interval_share')} of {put(f'{_TRADE}.replicate_count')} bootstrap replicates by card. "
            f"Savings: an alert is taken to cost {put(f'{_TRADE}.admin_euro')} euro, right or wrong, a fraud without "
            "one its amount; against the cheaper of no alerts and an alert on every payment. A share of payments being "
            "alerts is met exactly, payments of equal scores counted in proportion; a threshold option has whole "
            "thresholds within its budget, so that its recall can be lower."
        ),
        _estimates(run, facts),
        *_beside_central(run, facts),
        Paragraph(f"By day, with {put(f'{_TRADE}.headline_budget')} a day:"),
        _days(run, facts),
    ]


def _budgets(run: RunFacts, facts: Facts) -> Table:
    assert run.final.trade is not None  # noqa: S101  # for the type checker
    names = ("alerts", "hits", "found_cards", "card_precision", "card_recall", "stopped_euro", "savings")
    header = ("A day", "alerts", "hits", "cards found", "card precision", "card recall", "euro stopped", "savings")
    keys = [f"{_TRADE}.budgets.{number}" for number in range(1, len(run.final.trade.budgets) + 1)]
    return Table(header, tuple((put(f"{key}.budget"), *(cell(facts, f"{key}.{n}") for n in names)) for key in keys))


def _estimates(run: RunFacts, facts: Facts) -> Table:
    assert run.final.trade is not None  # noqa: S101  # for the type checker
    rank = run.final.trade.rank
    rows = [(label, f"{_TRADE}.headline.{name}") for label, name in _HEADLINE]
    rows += [("Average precision", f"{_TRADE}.rank.average_precision"), ("AUROC", f"{_TRADE}.rank.roc_auc")]
    for number in range(1, len(rank.alert_rates) + 1):
        key = f"{_TRADE}.rank.alert_rates.{number}"
        rows += [(f"Recall, {put(f'{key}.rate')} of payments being alerts", f"{key}.recall")]
        rows += [(f"Precision, {put(f'{key}.rate')} of payments being alerts", f"{key}.precision")]
    for number in range(1, len(rank.false_alarm_rates) + 1):
        key = f"{_TRADE}.rank.false_alarm_rates.{number}"
        rows += [(f"Recall, {put(f'{key}.rate')} of legitimate payments being alerts", f"{key}.recall")]
    rows += [
        ("Brier score", f"{_TRADE}.rank.brier"),
        ("Frauds expected for each there is", f"{_TRADE}.rank.calibration"),
    ]
    ends = ("value", "low", "high")
    return Table(
        ("Figure", "value", "from", "to"),
        tuple((label, *(cell(facts, f"{key}.{end}") for end in ends)) for label, key in rows),
    )


def has_central(run: RunFacts) -> bool:
    """Whether the model of all rows in one place was judged on the same payments, under the same budget and cost."""
    own, other = run.final.trade, run.final.central_trade
    if own is None or other is None:
        return False
    same = ("headline_budget", "admin_euro", "day_count", "total")
    return all(getattr(own, name) == getattr(other, name) for name in same)


def _beside_central(run: RunFacts, facts: Facts) -> list[Block]:
    """What leaving the rows at the banks costs in these terms (simulation only)."""
    if not has_central(run):
        return []
    names = [(label, f"headline.{name}") for label, name in _HEADLINE] + [
        ("Average precision", "rank.average_precision")
    ]
    rows = tuple(
        (label, *(cell(facts, f"{key}.{name}.{end}") for key in (_TRADE, _CENTRAL) for end in ("value", "low", "high")))
        for label, name in names
    )
    return [
        Paragraph(
            "Beside the same recipe trained on all rows in one place, which only a simulation can do; on the same "
            f"payments, each bank with {put(f'{_TRADE}.headline_budget')} a day:"
        ),
        Table(("Figure", "federated", "from", "to", "in one place", "from", "to"), rows),
    ]


def _days(run: RunFacts, facts: Facts) -> Table:
    assert run.final.trade is not None  # noqa: S101  # for the type checker
    header = ("Day", "payments", "frauds", "fraud euro", "hits", "euro stopped", "cards found", "of cards with a fraud")
    names = ("payments", "frauds", "fraud_euro", "headline.hits", "headline.stopped_euro", "headline.found_cards")
    keys = [f"{_TRADE}.days.{number}" for number in range(1, len(run.final.trade.days) + 1)]
    cells = [[cell(facts, f"{key}.{name}") for name in (*names, "headline.fraud_cards")] for key in keys]
    return Table(header, tuple((put(f"{key}.day"), *row) for key, row in zip(keys, cells, strict=True)))
