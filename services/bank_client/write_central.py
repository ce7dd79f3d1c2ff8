"""Trains the recipe on all simulated rows in one place and scores it where the federated model is scored.

No bank runs it and no run waits for it to begin: it is a process beside the network.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedfraud.central import Central, Purpose, read_central, trade_as_json
from fedfraud.fixed_point import EvaluateCodec
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.metrics import Scores, scores_from_logits
from fedfraud.model import Vector
from fedfraud.recipe import recipe_named
from fedfraud.trade import TradeTerms
from fedfraud.trade_codec import TradeCodec
from fedfraud.trade_metrics import TradeFigures, trade_figures
from fedfraud.transactions import HAVE_HOLDOUT, SCHEMAS
from services.bank_client import evaluation
from services.bank_client.dataset import Rows, split
from services.bank_client.examples import Payments
from services.bank_client.trade import replicate_seed, trade_of
from services.bank_client.write_shard import holdout_rows, merchant_key, shard_rows, shard_transactions

SEAT = "central"
"""What its training is seeded with in a seat's place."""
_MOST_ROWS = 5_000_000
"""Training rows times epochs: some fifteen CPU seconds. A run of more goes without."""
_ALL = bytes(32)
"""What the counters of all banks are called here."""
_log = Log("central")


def write_central(purpose: Purpose, path: Path) -> None:
    """Writes what it is going to compute, then its scores; nothing where they are there, or are too much work."""
    recipe = recipe_named(purpose.recipe)
    known = read_central(path)
    if known is not None and known.purpose == purpose and known.scores is not None:
        _log.info("central is known", path=path)
        return
    found = examples(purpose)
    rows = found.training
    epochs = purpose.rounds * recipe.local_epochs
    if len(rows) * epochs > _MOST_ROWS:
        path.unlink(missing_ok=True)
        _log.info("central is left out: too much work beside a run", rows=len(rows), epochs=epochs)
        return
    Central(purpose=purpose).write(path)
    try:
        scores, trade = central_figures(purpose, found)
        told = trade_as_json(trade) if trade else None
        Central(purpose=purpose, scores=scores, trade=told).write(path)
    except BaseException:
        path.unlink(missing_ok=True)  # nobody waits for what does not come
        raise
    _log.info("central is trained", rows=len(rows), epochs=epochs, path=path)


class Together(NamedTuple):
    """The training rows of all banks, one bank after the other, what the model is scored on, and where banks have
    payments each of them."""

    training: Rows
    validation: Rows
    banks: tuple[Payments, ...] = ()


def examples(purpose: Purpose) -> Together:
    """The model is scored on the public hold-out, or where there is none on all banks' validation rows. Merchants are
    as the counters of all banks show them."""
    slots = range(1, purpose.banks + 1)
    if purpose.population in HAVE_HOLDOUT:
        trained = [split(shard_rows(purpose.population, purpose.seed, slot))[0] for slot in slots]
        return Together(_together(trained), holdout_rows(purpose.population, purpose.seed))
    plan, key = purpose.feature_plan, merchant_key(purpose.seed)
    assert plan is not None  # noqa: S101  # for the type checker: what has no hold-out has a plan
    banks = [Payments(shard_transactions(purpose.seed, purpose.preset, slot), plan, key) for slot in slots]
    counters = banks[0].counts()
    for bank in banks[1:]:  # one after the other: all of them at once are half a gigabyte
        counters += bank.counts()
    for bank in banks:
        bank.learn(_ALL, counters)
    parts = [bank.under(_ALL) for bank in banks]
    training, validation = (_together([getattr(part, name) for part in parts]) for name in ("training", "validation"))
    return Together(training, validation, tuple(banks))


def _together(parts: list[Rows]) -> Rows:
    return Rows(np.concatenate([part.features for part in parts]), np.concatenate([part.labels for part in parts]))


def central_figures(purpose: Purpose, found: Together) -> tuple[Scores, TradeFigures | None]:
    """Trained as a bank trains alone: its own scaler, one optimiser, as many epochs as the run has."""
    from services.bank_client import training  # it imports torch: not where there is nothing to do

    recipe, manifest = recipe_named(purpose.recipe), _manifest(purpose)
    epochs = purpose.rounds * recipe.local_epochs
    state, vector = training.train_alone(manifest, recipe, epochs, found.training, purpose.seed, SEAT)
    rows = found.validation
    logits = evaluation.logits(manifest, recipe, state, vector, rows)
    plan = manifest.feature_plan
    trade = _trade(found.banks, logits, plan.test_days, purpose.terms) if plan else None
    return scores_from_logits(logits, rows.labels), trade


def _manifest(purpose: Purpose) -> Manifest:
    return Manifest(purpose.population, SCHEMAS[purpose.population], feature_plan=purpose.feature_plan)


def _trade(banks: tuple[Payments, ...], logits: Vector, day_count: int, terms: TradeTerms) -> TradeFigures:
    """As a final round sums it, each bank with its own alerts and cards, if all had this model; (rows,) `logits` are of
    one bank's validation payments after the other's."""
    codec, evaluate, start = TradeCodec(day_count, terms.budgets, terms.headline), EvaluateCodec(), 0
    words, histogram = np.zeros(codec.length, np.uint64), np.zeros(evaluate.length, np.uint64)
    for bank in banks:
        judged = bank.judged()
        own = logits[start : start + len(judged.fraud)]
        start += len(own)
        words += codec.encode(trade_of(judged, own, codec, replicate_seed(bank.sha256, _ALL)))
        histogram += evaluate.encode(own, judged.fraud)
    counts, summed = evaluate.decode(histogram), codec.decode(words)
    return trade_figures(evaluate.centres(), *counts, summed, terms.budgets, terms.headline, terms.admin_cents)
