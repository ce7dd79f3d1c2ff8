"""What the report computes of other facts, as facts."""

from services.reporter.part import Figure, Part


class ChangeFacts(Part):
    """Differences of figures as they are printed: of the last model from the first measured and from the best round's,
    from central, of the hold-out from the banks' rows, of the log loss from that of always answering the prevalence."""

    training: Figure = None
    since_best: Figure = None
    central: Figure = None
    holdout_pooled: Figure = None
    log_loss: Figure = None


class TriggerFacts(Part):
    """When to look again: average precision below, and alerts a thousand rows below or above which."""

    average_precision: Figure = None
    fewest_alerts: Figure = None
    most_alerts: Figure = None


class RuleFacts(Part):
    """Bounds that the report goes by, whatever the run."""

    even_odds: Figure = None
    thousand: int | None = None
    few_frauds: int | None = None
    least_masked: int | None = None
    stability_index: Figure = None
    alert_swing: Figure = None
    precision_loss: Figure = None


class DerivedFacts(Part):
    """What the report computes of the other facts and prints: sums, ratios, differences and the bounds it goes by."""

    banks: int | None = None
    banks_answering: int | None = None
    rounds_without_result: int | None = None
    megabytes: Figure = None
    mask_megabytes: Figure = None
    most_clipped: Figure = None
    constant_log_loss: Figure = None
    chance_multiple: Figure = None
    change: ChangeFacts = ChangeFacts()
    trigger: TriggerFacts = TriggerFacts()
    rule: RuleFacts = RuleFacts()
