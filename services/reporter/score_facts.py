"""A model on labelled rows, as facts: scores, thresholds, alert budgets, calibration."""

from services.reporter.part import Figure, Part


class ScoreFacts(Part):
    """How well one model did on one set of labelled rows; see `Scores` in model.proto."""

    average_precision: Figure = None
    roc_auc: Figure = None
    prevalence: Figure = None
    log_loss: Figure = None
    accuracy: Figure = None
    accuracy_always_legitimate: Figure = None
    recall_at_half_percent: Figure = None
    recall_at_one_percent: Figure = None
    row_count: int
    fraud_count: int
    flagged_count: int

    def same_rows(self, other: "ScoreFacts") -> bool:
        """Whether both may be of the same rows: as many of them, and as many frauds."""
        return (self.row_count, self.fraud_count) == (other.row_count, other.fraud_count)


class Threshold(Part):
    """All rows that score at least `probability` are alerts; `logit` is the same as log-odds, which tells scores near 1
    apart; `expected_hits` are the frauds that the model expects among them. `alerts_per_day` is over all banks, where a
    feature plan says of how many days the rows are."""

    probability: Figure
    logit: Figure = None
    alerts: int
    hits: int
    false_alerts: int
    alerts_per_thousand: Figure
    precision: Figure
    recall: Figure
    expected_hits: Figure
    alerts_per_day: Figure = None


class Budget(Threshold):
    """The threshold with the most alerts within a budget, in alerts a thousand rows."""

    budget_per_thousand: float


class CalibrationBand(Part):
    """Rows between two thresholds, the highest scores first: the share of frauds that the model expects, and the one
    there is."""

    rows: int
    expected_rate: Figure
    observed_rate: Figure


class CurveFacts(Part):
    """The final model's thresholds on one set of rows, by rising number of alerts; the last one has every row."""

    points: list[Threshold]
    budgets: list[Budget]
    calibration: list[CalibrationBand]


class RecalibrationFacts(Part):
    """What would make the final model's scores fit all banks' validation rows best: `slope` times their log-odds plus
    `intercept`. Log losses are with it: on those rows, on which it was fitted, and on the hold-out. It is not used."""

    slope: Figure = None
    intercept: Figure = None
    pooled_log_loss: Figure = None
    holdout_log_loss: Figure = None
