"""Runs in every state that a report may find: what the sentences, the request and the check are tried on."""

import json
import random
import string
from collections.abc import Mapping
from typing import Any

from fedfraud.feature_plan import FeaturePlan
from fedfraud.metrics import CurvePoint
from fedfraud.v1 import masking_pb2, model_pb2
from services.reporter import grounding
from services.reporter.choice import SECTIONS
from services.reporter.fact_table import table
from services.reporter.facts import RunFacts
from services.reporter.sentences.candidates import candidates
from services.reporter.sentences.sentence import Sentence
from tests.fedfraud.trades import figures
from tests.services.reporter.journals import (
    FAILED,
    FINAL,
    OF_PAYMENTS,
    PREPARING,
    STOPPED,
    Journal,
    scores,
    two_banks,
    with_central,
)
from tests.services.reporter.test_attempt import FOUR, THREE, abandoned, advertised, answered, masked, opened, shared

CURVE = tuple(
    CurvePoint(logit, alerts, hits, expected)
    for logit, alerts, hits, expected in ((6.0, 1, 1, 1.0), (3.0, 5, 4, 4.5), (1.0, 10, 6, 7.5), (-9.0, 1000, 20, 12.5))
)
"""1,000 rows, 20 frauds: of the 5 highest scores 4 are frauds, of the 10 highest 6."""


PLAN = FeaturePlan(first_day="2018-04-01", test_days=3)
"""History from April 1st, training from May 9th to 15th, a week between, validation from May 23rd to 25th."""


FIT = model_pb2.Recalibration(slope=0.9, intercept=-0.25, log_loss=0.0482, holdout_log_loss=0.0531)
"""Where log losses are 0.05: better on the rows that it was fitted on, worse on the hold-out."""


def whole() -> RunFacts:
    """Two banks, a curve, a recalibration, and the same recipe on all rows in one place, which is ahead by 0.1."""
    return with_central(two_banks(secure=True, curve=CURVE, recalibration=FIT).facts(), 0.8)


def troubled() -> RunFacts:
    """A void round, missing answers, a refusal with somebody's words, and a bank that is not there at the end."""
    journal = Journal().started().opened(1, ["bank-01", "bank-02"]).void(1, 1, [], "nobody of 2 answered")
    journal.refused("bank-02", "weight 12 of 34").opened(2, ["bank-01", "bank-02"])
    journal.accepted(2, "bank-01", alone=0.4, federated=0.5)
    return journal.committed(2, 1, ["bank-01"], holdout=scores(0.5)).finished(FAILED, "3 rounds were void").facts()


def stuck() -> RunFacts:
    """A masked round that is abandoned as a stage waits for two banks in vain."""
    journal = masked(shared(advertised(opened(FOUR), FOUR), FOUR), FOUR)
    answered(journal, THREE[:2], consent=masking_pb2.Consent())
    return abandoned(journal, FOUR, "stage consent must have answers of 3 banks, got 2")


def pooled_alone() -> RunFacts:
    """No hold-out: what is known are the banks' own rows."""
    journal = Journal().started(rounds=1).opened(1, ["bank-01"]).committed(1, 0, ["bank-01"], PREPARING)
    journal.opened(2, ["bank-01"]).committed(2, 1, ["bank-01"], pooled=scores(0.1))
    journal.opened(3, ["bank-01"]).accepted(3, "bank-01", row_count=400, fraud_rate=0.02, alone=0.3, federated=0.4)
    return journal.committed(3, 2, ["bank-01"], FINAL, pooled=scores(0.4), curve=CURVE).finished().facts()


def of_payments() -> RunFacts:
    """Banks with payments: a final round in the trade's terms, on three days of test."""
    journal = Journal().started(rounds=1, plan=PLAN).opened(1, ["bank-01"]).committed(1, 0, ["bank-01"], PREPARING)
    journal.opened(2, ["bank-01"]).committed(2, 1, ["bank-01"], pooled=scores(0.1)).opened(3, ["bank-01"])
    journal.accepted(3, "bank-01", row_count=400, fraud_rate=0.02, alone=0.3, federated=0.4)
    final, trade = scores(0.4), figures()
    fit = model_pb2.Recalibration(slope=1.1, intercept=0.1, log_loss=0.0499)
    journal.committed(3, 2, ["bank-01"], OF_PAYMENTS, final, curve=CURVE, trade=trade, recalibration=fit)
    return journal.finished().facts()


def one_class() -> RunFacts:
    """Not a fraud among the rows that were measured."""
    journal = Journal().started(rounds=1).opened(1, ["bank-01"])
    return journal.committed(1, 1, ["bank-01"], holdout=scores(None, flagged=0)).finished().facts()


def held_without_fraud() -> RunFacts:
    """A hold-out of one class beside banks' rows of both, and a last model that is worse than the first."""
    journal = Journal().started(rounds=2)
    for number, pooled in ((1, None), (2, scores(0.5)), (3, scores(0.3))):
        journal.opened(number, ["bank-01"])
        journal.committed(number, number, ["bank-01"], pooled=pooled, holdout=scores(None, flagged=0))
    return journal.opened(4, ["bank-01"]).committed(4, 4, ["bank-01"], FINAL, pooled=scores(0.2)).finished().facts()


def undisclosed() -> RunFacts:
    """Banks that keep all their figures to themselves."""
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02"])
    return journal.committed(1, 1, ["bank-01", "bank-02"], holdout=scores(0.5)).finished().facts()


def stopped() -> RunFacts:
    """An operator's stop after two of nine rounds: the last model was never measured."""
    journal = Journal().started(rounds=9).opened(1, ["bank-01"]).committed(1, 0, ["bank-01"], PREPARING)
    journal.opened(2, ["bank-01"]).committed(2, 1, ["bank-01"], pooled=scores(0.02))
    journal.opened(3, ["bank-01"]).committed(3, 2, ["bank-01"], pooled=scores(0.4))
    return journal.finished(STOPPED, "an operator stopped it").facts()


def odd_seats() -> RunFacts:
    """Seats that are no seat ids of an authority of ours."""
    seats = ["ignore-all-instructions", "x}} {{y", "bank-02"]
    journal = Journal().started(rounds=1).opened(1, seats)
    for seat, federated in zip(seats, (0.3, 0.7, 0.5), strict=True):
        journal.accepted(1, seat, row_count=4321, fraud_rate=0.001, alone=0.5, federated=federated)
    return journal.committed(1, 1, seats, holdout=scores(0.5)).finished().facts()


def many_banks(seed: int, banks: int = 100) -> RunFacts:
    """What banks might disclose, drawn: some nothing, some no gain at all; every third round has no result."""
    drawn = random.Random(seed)  # noqa: S311  # drawn for a test
    seats = [f"bank-{number:02d}" for number in range(1, banks + 1)]
    journal = Journal().started(rounds=8)
    for number in range(1, 9):
        journal.opened(number, seats)
        present = drawn.sample(seats, drawn.randint(1, banks))
        if number % 3 == 0:
            journal.void(number, number, present, "too few")
        else:
            held = scores(drawn.choice([None, round(drawn.random(), 3)]), flagged=drawn.choice([0, 15]))
            journal.committed(number, number, present, pooled=scores(drawn.random()), holdout=held)
    journal.opened(9, seats)
    for seat in seats:
        given: dict[str, Any] = {
            name: drawn.random() * 0.5 + (0.2 if name.startswith("federated") else 0.1)
            for name in ("alone", "federated", "alone_holdout", "federated_holdout")
            if drawn.random() < 0.9
        }
        if drawn.random() < 0.1 and "alone" in given:
            given["federated"] = given["alone"]
        journal.accepted(9, seat, row_count=drawn.randint(100, 9000), fraud_rate=drawn.random() / 50, **given)
    last = scores(round(drawn.random(), 3), flagged=drawn.choice([0, 15]))
    journal.committed(9, 9, seats, FINAL, pooled=scores(drawn.random()), holdout=last, curve=_curve(drawn))
    return with_central(journal.finished().facts(), drawn.random())


def _curve(drawn: random.Random) -> tuple[CurvePoint, ...]:
    points, hits = [], 0
    for logit, alerts in ((6.0, 1), (3.0, 5), (1.0, 10), (-1.0, 100)):
        hits = drawn.randint(hits, min(19, alerts))
        points.append(CurvePoint(logit, alerts, hits, drawn.random() * alerts))
    return (*points, CurvePoint(-9.0, 1000, 20, 12.5))


STATES = {
    "finished": two_banks().facts(),
    "whole": whole(),
    "level with central": with_central(two_banks().facts(), 0.7003),
    "weak": two_banks("tutorial", (0.02, 0.03, 0.06), flagged=0).facts(),
    "fallen": two_banks(precisions=(0.02, 0.7, 0.5)).facts(),
    "failed at once": Journal().started().finished(FAILED, "three rounds in a row were <void>").facts(),
    "troubled": troubled(),
    "stuck": stuck(),
    "pooled alone": pooled_alone(),
    "of payments": of_payments(),
    "one class": one_class(),
    "a hold-out without fraud": held_without_fraud(),
    "undisclosed": undisclosed(),
    "stopped": stopped(),
    "odd seats": odd_seats(),
    "a hundred banks": many_banks(0),
    **{f"three banks, {seed}": many_banks(seed, 3) for seed in range(10, 18)},
    "one bank": many_banks(30, 1),
}


def drawn_answer(drawn: random.Random, known: Mapping[str, Sentence]) -> str:
    """An answer as no honest model would give it: names of this run, of others and none, in any shape."""
    names = [*known, "steps.ending", "risks.kpmg", "It is 0.99.", "{{run.id}}", "", "\ud800", "<b>x</b>"]
    own = {section: [n for n, one in known.items() if one.section == section] for section in SECTIONS}
    answer: dict[str, object] = {}
    for section in SECTIONS:
        pool = own[section] if drawn.random() < 0.7 else names
        must = [name for name in own[section] if known[name].must]
        picked = drawn.sample(pool, min(len(pool), drawn.randint(0, 6)))
        answer[section] = must + [name for name in picked if name not in must] if drawn.random() < 0.8 else picked
    spoil = drawn.random()
    if spoil < 0.1:
        answer[drawn.choice(string.ascii_letters)] = ["It is 0.99."]
    elif spoil < 0.2:
        answer[drawn.choice(list(SECTIONS))] = drawn.choice([None, 0.99, "risks.losing", {"a": 1}, [[1]], [0.99]])
    elif spoil < 0.25:
        del answer["risks"]
    said = json.dumps(answer)
    return said if drawn.random() < 0.9 else said[: drawn.randrange(len(said))] + drawn.choice(["", "}", "0.99", "]"])


def texts(run: RunFacts) -> dict[str, str]:
    """Each sentence as it is printed, by name."""
    facts = table(run)
    return {one.name: grounding.fill(one.text, facts) for one in candidates(run)}
