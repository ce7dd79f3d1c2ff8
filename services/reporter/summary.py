"""What follows from a run's facts by arithmetic: sums, spreads, who gains, thresholds. Pure."""

import math
from typing import Any, Literal

from fedfraud.metrics import ALERT_RATES, CurvePoint
from services.reporter.derived import derived
from services.reporter.derived_facts import DerivedFacts
from services.reporter.facts import AgainstCentral, BankFacts, Heterogeneity, RunFacts, Spread, Summary, Totals
from services.reporter.round_facts import RoundFacts
from services.reporter.rounding import difference, sign
from services.reporter.score_facts import Budget, CalibrationBand, CurveFacts, ScoreFacts, Threshold

_BANDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Where calibration is read: shares of the rows, the highest scores first."""


NOT_DISCLOSED = "not disclosed"
"""Stands in the reason why an uplift is not known where the bank may know it."""


def seat_order(seat: str) -> tuple[int, str]:
    """By number: bank-100 comes after bank-99."""
    return len(seat), seat


def complete(run: RunFacts, last: RoundFacts | None) -> RunFacts:
    """The run with all that follows from the rest; `last` is the last committed round that left a model."""
    run.final.holdout, run.final.pooled = (last.holdout, last.pooled) if last else (None, None)
    _follow(run)
    for bank in run.banks:
        bank.no_uplift = _no_uplift(run, bank) if run.run.outcome and bank.uplift is None else None
    run.totals = _totals(run)
    run.heterogeneity = Heterogeneity(
        rows=_spread([bank.rows for bank in run.banks]), fraud_rate=_spread([bank.fraud_rate for bank in run.banks])
    )
    run.derived = _derived(run)
    return run


def _follow(run: RunFacts) -> None:
    """All comparisons: alone, federated and central, and who gains."""
    final = run.final
    for name in ("alone", "federated", "alone_holdout", "federated_holdout", "uplift", "uplift_holdout"):
        setattr(final, name, _summary([getattr(bank, name) for bank in run.banks]))
    for place in ("", "_holdout"):
        _compare(run, place)
    signs = [sign(bank.uplift) for bank in run.banks if bank.uplift is not None]
    final.banks_compared, final.banks_uncompared = len(signs), len(run.banks) - len(signs)
    final.banks_gaining, final.banks_losing, final.banks_unchanged = signs.count(1), signs.count(-1), signs.count(0)
    final.against_central = _against(final.holdout or final.pooled, final.central)


def brought_up(run: RunFacts) -> RunFacts:
    """Facts as they were read: those of a version before `derived` get it, and comparisons as they are made now."""
    if run.derived is not None:
        return run
    for bank in run.banks:
        bank.uplift = difference(bank.federated, bank.alone)
        bank.uplift_holdout = difference(bank.federated_holdout, bank.alone_holdout)
    _follow(run)
    run.derived = _derived(run)
    return run


def _derived(run: RunFacts) -> DerivedFacts:
    found: dict[str, Any] = {}
    for one in derived(run):
        place, _, name = one.name.rpartition(".")
        (found.setdefault(place, {}) if place else found)[name] = one.value
    return DerivedFacts.model_validate(found)


def _compare(run: RunFacts, place: Literal["", "_holdout"]) -> None:
    """Alone and federated over the same banks: those that disclose both."""
    final, both = run.final, [bank for bank in run.banks if getattr(bank, f"uplift{place}") is not None]
    alone, federated = (_summary([getattr(bank, f"{name}{place}") for bank in both]) for name in ("alone", "federated"))
    setattr(final, f"compared_alone{place}", alone)
    setattr(final, f"compared_federated{place}", federated)
    if alone and federated and (uplift := getattr(final, f"uplift{place}")):
        uplift.mean = difference(federated.mean, alone.mean)


def _against(federated: ScoreFacts | None, central: ScoreFacts | None) -> AgainstCentral | None:
    if federated is None or central is None or not federated.same_rows(central):
        return None
    if None in (federated.average_precision, central.average_precision):
        return None
    change = difference(federated.average_precision, central.average_precision) or 0.0
    ahead: dict[int, Literal["federated", "central", "neither"]] = {1: "federated", -1: "central", 0: "neither"}
    return AgainstCentral(ahead=ahead[sign(change)], by=abs(change))


def _no_uplift(run: RunFacts, bank: BankFacts) -> str:
    """Why nobody can say whether the bank gains: what follows from what it discloses, and when it answered."""
    last = run.rounds[-1] if run.rounds else None
    if last is None or not _is_final(run, last):
        return "the run ended before the final round, in which banks compare"
    if last.outcome != "committed":
        return "the final round, in which banks compare, had no result"
    if bank.last_answered_round != last.round:
        asked = "no answer in" if bank.seat in last.dropped else "not asked in"
        return f"{asked} the final round, in which banks compare"
    frauds = round(bank.rows * bank.fraud_rate) if bank.rows and bank.fraud_rate is not None else None
    both = bank.alone_holdout is not None and bank.federated_holdout is not None
    if both or frauds == 0:
        # Frauds are of all the bank's rows. Were a single one among those of the validation, there were two classes.
        kind = "no frauds" if frauds is not None and frauds <= 1 else "a single class"
        return f"{kind} among the bank's validation rows, so average precision is not defined there"
    if bank.federated is not None or bank.federated_holdout is not None:
        return f"no time to train alone in the final round, or {NOT_DISCLOSED}"
    # Without a hold-out nothing tells a bank that is silent from one whose rows define no figure.
    single = "" if run.final.holdout else ", or a single class among the bank's validation rows"
    return f"{NOT_DISCLOSED}{single}"


def _is_final(run: RunFacts, done: RoundFacts) -> bool:
    """After the training rounds, scoring without training; where banks have payments it has a trade segment too."""
    return done.number > run.run.round_count and "evaluate" in done.segments and "train" not in done.segments


def curve(points: tuple[CurvePoint, ...], days: int | None = None) -> CurveFacts | None:
    """The thresholds as facts, of rows of so many days; None without any, or where there is one class only."""
    if not points or not 0 < points[-1].hit_count < points[-1].alert_count:
        return None
    thresholds = [_threshold(point, points[-1], days) for point in points]
    return CurveFacts(points=thresholds, budgets=_budgets(thresholds), calibration=_calibration(thresholds))


def _threshold(point: CurvePoint, every: CurvePoint, days: int | None) -> Threshold:
    return Threshold(
        logit=point.logit,
        probability=1 / (1 + math.exp(-max(min(point.logit, 700.0), -700.0))),
        alerts=point.alert_count,
        hits=point.hit_count,
        false_alerts=point.alert_count - point.hit_count,
        alerts_per_thousand=1000 * point.alert_count / every.alert_count,
        precision=point.hit_count / point.alert_count,
        recall=point.hit_count / every.hit_count,
        expected_hits=point.expected_hit_count,
        alerts_per_day=point.alert_count / days if days else None,
    )


def _within(thresholds: list[Threshold], rate: float) -> Threshold | None:
    """The threshold with the most alerts that are at most this share of the rows."""
    most = rate * thresholds[-1].alerts * (1 + 1e-12)
    return next((threshold for threshold in reversed(thresholds) if threshold.alerts <= most), None)


def _budgets(thresholds: list[Threshold]) -> list[Budget]:
    known = [(rate, threshold) for rate in ALERT_RATES if (threshold := _within(thresholds, rate))]
    return [Budget(budget_per_thousand=1000 * rate, **threshold.model_dump()) for rate, threshold in known]


def _calibration(thresholds: list[Threshold]) -> list[CalibrationBand]:
    bands, alerts, hits, expected = [], 0, 0, 0.0
    for rate in _BANDS:
        end = _within(thresholds, rate)
        if end is None or end.alerts <= alerts:
            continue
        rows, more = end.alerts - alerts, (end.expected_hits or 0.0) - expected
        bands.append(CalibrationBand(rows=rows, expected_rate=more / rows, observed_rate=(end.hits - hits) / rows))
        alerts, hits, expected = end.alerts, end.hits, end.expected_hits or 0.0
    return bands


def _totals(run: RunFacts) -> Totals:
    outcomes = [done.outcome for done in run.rounds]
    trained = [done for done in run.rounds if done.outcome == "committed" and "train" in done.segments]
    return Totals(
        rounds_committed=outcomes.count("committed"),
        rounds_void=outcomes.count("void"),
        rounds_abandoned=outcomes.count("abandoned"),
        training_rounds=len(trained),
        contributions=sum(done.contributions for done in run.rounds),
        bytes=sum(done.bytes for done in run.rounds),
        seconds=math.fsum(done.seconds or 0.0 for done in run.rounds),
        answers_missing=sum(len(done.dropped) for done in run.rounds),
    )


def _summary(figures: list[float | None]) -> Summary | None:
    known = [figure for figure in figures if figure is not None]
    if not known:
        return None
    return Summary(best=max(known), mean=math.fsum(known) / len(known), worst=min(known), count=len(known))


def _spread(figures: list[int | None] | list[float | None]) -> Spread | None:
    known = [float(figure) for figure in figures if figure is not None]
    if not known:
        return None
    least, most = min(known), max(known)
    ratio = most / least if least else None
    return Spread(least=least, mean=math.fsum(known) / len(known), most=most, ratio=ratio, count=len(known))
