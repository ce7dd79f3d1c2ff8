"""The Fraud Detection Handbook's published split: its table beside ours, then what ten banks gain on the same payments.

    python benchmarks/handbook.py --presets national,regional --recipe cards --rounds 20

First scikit-learn's models on the book's own features, with the published figures beside them: the check of simulator,
features and split. Then FraudNet on the features of the cards population, whose merchant windows are daily counters in
hashed buckets behind a strict delay: each bank alone or federated, with its own counters or the summed ones, and all
rows in one place. Intervals are 95 % of a bootstrap that draws customers, the same for all lines of a preset.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending, options
from benchmarks.federation import federate
from fedfraud.feature_plan import FeaturePlan
from fedfraud.manifest import Manifest
from fedfraud.metrics import average_precision, counts_of_logits, scores_from_logits
from fedfraud.recipe import DEFAULTS, RECIPES, Recipe, recipe_named
from fedfraud.transactions import CARDS, PRESETS
from services.bank_client import evaluation
from services.bank_client.dataset import Rows
from services.bank_client.features import DAY, bucket_of, counts, examples, features, planned, split
from services.bank_client.noise import drawn
from services.bank_client.training import train_alone
from services.bank_client.transactions import Transactions
from services.bank_client.write_shard import merchant_key, transactions_of
from simulation.cards import SHARDS, Payments, World, customers_of, payments

PLAN = FeaturePlan(first_day="2018-06-17")
"""Training 2018-07-25 to 31, test 2018-08-08 to 14, as published."""
WORLD = World()
MANIFEST = Manifest("cards", CARDS)
BUDGET = 100
"""Cards that are looked at a day, over all banks."""
PUBLISHED = {
    "logistic regression": (0.871, 0.606, 0.291),
    "decision tree, depth 2": (0.763, 0.496, 0.241),
    "decision tree": (0.788, 0.309, 0.243),
    "random forest": (0.867, 0.658, 0.287),
}
"""AUROC, average precision and card precision@100: Le Borgne et al. 2022, chapter 3."""

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """Validation rows of one bank or of all: which day, whose, and whether a fraud."""

    rows: Rows
    day: Integers
    customer: Integers

    @classmethod
    def pooled(cls, parts: "list[Judged]") -> "Judged":
        """All rows, one bank after the other."""
        joined = Rows(*(np.concatenate([getattr(p.rows, c) for p in parts]) for c in ("features", "labels")))
        return cls(joined, np.concatenate([p.day for p in parts]), np.concatenate([p.customer for p in parts]))


@dataclass(frozen=True)
class Bank:
    """Training and test rows of one bank."""

    training: Rows
    judged: Judged


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    presets = options.several(options.one_of(PRESETS["cards"]))
    parser.add_argument("--presets", type=presets, default="national,regional", help="how ten banks get customers")
    parser.add_argument("--recipe", type=options.one_of(RECIPES), default="cards")
    parser.add_argument("--rounds", type=options.rounds, default=DEFAULTS["cards"][1])
    parser.add_argument("--seed", type=options.seed, default=7, help="of the training; the payments are the public set")
    parser.add_argument("--replicates", type=options.times, default=500, help="of the bootstrap")
    parser.add_argument(
        "--noise",
        type=options.several(options.scale),
        default=[],
        help="scales of noise on the banks' counts, for example .5,1: what it costs",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    full = published_days(payments(WORLD, np.arange(WORLD.customer_count)))
    print(f"the payments of {PLAN.day_count} days, {len(full):,} of them, in {time.perf_counter() - start:.1f} s")
    _print_published(full)
    for preset in arguments.presets:
        print(f"\n{preset}: average precision on all banks' test rows together, and a bank at a time")
        if arguments.noise:
            _print_noise(preset, full, recipe_named(arguments.recipe), arguments)
        else:
            _print_federated(preset, full, recipe_named(arguments.recipe), arguments)


def published_days(full: Payments) -> Payments:
    """The payments of the plan's days."""
    seen = transactions_of(full, WORLD)
    first = int(np.searchsorted(seen.time, PLAN.start_time))
    return full.take(np.arange(first, first + len(planned(seen, PLAN))))


def book_features(seen: Transactions, rows: NDArray[np.intp]) -> Floats:
    """The book's: the terminal's windows end to the second seven days before, over the payments of all banks."""
    nothing = np.zeros((PLAN.bucket_count, PLAN.counted_days, 2), np.int64)
    columns = features(seen, PLAN, np.zeros(len(seen.merchant_ids), np.int64), nothing, rows)
    order = np.argsort(seen.merchant, kind="stable")
    span = np.int64((2 * PLAN.day_count + 1) * DAY)  # so that no window reaches into another terminal's payments
    moments = (seen.merchant * span + seen.time - seen.time[0] + PLAN.day_count * DAY)[order]
    frauds = np.concatenate([[0], np.cumsum(seen.label[order] == 1)])
    now = seen.merchant[rows] * span + seen.time[rows] - seen.time[0] + (PLAN.day_count - PLAN.label_delay_days) * DAY
    for i, days in enumerate(PLAN.windows):
        first, end = (np.searchsorted(moments, edge, side="right") for edge in (now - days * DAY, now))
        columns[:, 9 + 2 * i] = end - first
        columns[:, 10 + 2 * i] = (frauds[end] - frauds[first]) / np.maximum(end - first, 1)
    return columns


def book_table(full: Payments) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """AUROC, average precision and card precision@100 of each of scikit-learn's models."""
    seen = transactions_of(full, WORLD)
    training, test = split(seen, PLAN)
    scaler = StandardScaler().fit(book_features(seen, training))
    inputs, asked = (scaler.transform(book_features(seen, rows)) for rows in (training, test))
    judged = Judged(Rows(asked, seen.label[test] == 1), _day(seen)[test], seen.customer[test])
    for name, model in (
        ("logistic regression", LogisticRegression(random_state=0)),
        ("decision tree, depth 2", DecisionTreeClassifier(max_depth=2, random_state=0)),
        ("decision tree", DecisionTreeClassifier(random_state=0)),
        ("random forest", RandomForestClassifier(random_state=0, n_jobs=-1)),
    ):
        scores = model.fit(inputs, seen.label[training]).predict_proba(asked)[:, 1]
        figures = scores_from_logits(scores, judged.rows.labels)
        yield name, (figures.roc_auc or 0.0, figures.average_precision or 0.0, card_precision(judged, scores))


def card_precision(judged: Judged, scores: Floats, budget: int = BUDGET) -> float:
    """Card precision@budget: of each day's cards with the highest score, the share that has a fraud that day; a card
    that was found is not looked at again. The mean over the days."""
    found: set[int] = set()
    shares = []
    for day in np.unique(judged.day):
        rows = np.flatnonzero((judged.day == day) & ~np.isin(judged.customer, list(found)))
        cards, place = np.unique(judged.customer[rows], return_inverse=True)
        highest, fraud = np.full(len(cards), -np.inf), np.zeros(len(cards), np.bool_)
        np.maximum.at(highest, place, scores[rows])
        np.logical_or.at(fraud, place, judged.rows.labels[rows])
        looked_at = np.argsort(-highest, kind="stable")[:budget]
        hits = cards[looked_at[fraud[looked_at]]]
        found |= set(hits.tolist())
        shares.append(len(hits) / budget)
    return float(np.mean(shares))


def dealt(preset: str, full: Payments, *, shared: bool, scale: float = 0.0) -> list[Bank]:
    """The ten banks, with features from the summed counters or from their own; `scale` is that of noise on counts."""
    parts = [full.take(np.isin(full.customer, customers_of(WORLD, preset, slot))) for slot in range(1, SHARDS + 1)]
    banks = [transactions_of(part, WORLD) for part in parts]
    buckets = [bucket_of(bank.merchant_ids, merchant_key(WORLD.seed), PLAN.bucket_count) for bank in banks]
    own = [counts(bank, PLAN, bucket) for bank, bucket in zip(banks, buckets, strict=True)]
    if scale:
        own = [counted + drawn(counted.shape, scale, bytes([i]), b"") for i, counted in enumerate(own)]
    total = np.sum(own, axis=0) if shared else None
    found = []
    for part, bank, bucket, counted in zip(parts, banks, buckets, own, strict=True):
        training, validation = examples(bank, PLAN, bucket, counted if total is None else total)
        test = split(bank, PLAN)[1]
        found.append(Bank(training, Judged(validation, _day(bank)[test], part.customer[test])))
    return found


def federated_logits(banks: list[Bank], recipe: Recipe, rounds: int, seed: int) -> list[Floats]:
    """Each bank's test rows scored by the model that the banks trained together."""
    *_, model = federate(MANIFEST, recipe, seed, [bank.training for bank in banks], rounds)
    return [evaluation.logits(MANIFEST, recipe, model.run_state, model.vector, bank.judged.rows) for bank in banks]


def alone_logits(banks: list[Bank], recipe: Recipe, rounds: int, seed: int) -> list[Floats]:
    """Each bank's test rows scored by its own model, trained as long."""
    found = []
    for i, bank in enumerate(banks, start=1):
        epochs = rounds * recipe.local_epochs
        state, vector = train_alone(MANIFEST, recipe, epochs, bank.training, seed, f"bank-{i:02d}")
        found.append(evaluation.logits(MANIFEST, recipe, state, vector, bank.judged.rows))
    return found


def central_logits(banks: list[Bank], recipe: Recipe, rounds: int, seed: int) -> list[Floats]:
    """Each bank's test rows scored by a model of all rows in one place, trained as long."""
    parts = [bank.training for bank in banks]
    rows = Rows(*(np.concatenate([getattr(part, column) for part in parts]) for column in ("features", "labels")))
    state, vector = train_alone(MANIFEST, recipe, rounds * recipe.local_epochs, rows, seed, "central")
    return [evaluation.logits(MANIFEST, recipe, state, vector, bank.judged.rows) for bank in banks]


def replicated(judged: Judged, scores: Floats, replicates: int) -> Floats:
    """(replicates,) average precisions, each over as many customers, drawn with replacement; the same draws for all
    scores of these rows."""
    draws = np.random.Generator(np.random.PCG64(0))
    customers, customer = np.unique(judged.customer, return_inverse=True)
    bins, place = np.unique(scores, return_inverse=True)
    found = []
    for _ in range(replicates):
        times = np.bincount(draws.integers(len(customers), size=len(customers)), minlength=len(customers))[customer]
        fraud, legitimate = (
            np.bincount(place[of], times[of], len(bins)).astype(np.int64)
            for of in (judged.rows.labels, ~judged.rows.labels)
        )
        found.append(average_precision(legitimate, fraud))
    return np.array(found)


def _print_published(full: Payments) -> None:
    seen = transactions_of(full, WORLD)
    training, test = split(seen, PLAN)
    frauds = [int((seen.label[rows] == 1).sum()) for rows in (training, test)]
    print(f"training {len(training):,} payments, {frauds[0]} frauds; test {len(test):,}, {frauds[1]} frauds\n")
    print(f"{'the book, chapter 3':24} {'AUROC':>16} {'AP':>16} {'card p@100':>16}   largest difference")
    for name, figures in book_table(full):
        cells = "".join(f"{ours:>9.3f} /{theirs:6.3f}" for ours, theirs in zip(figures, PUBLISHED[name], strict=True))
        most = max(abs(ours - theirs) for ours, theirs in zip(figures, PUBLISHED[name], strict=True))
        print(f"{name:24}{cells}   {most:.3f}", flush=True)


def _print_federated(preset: str, full: Payments, recipe: Recipe, arguments: argparse.Namespace) -> None:
    own, shared = dealt(preset, full, shared=False), dealt(preset, full, shared=True)
    pooled = Judged.pooled([bank.judged for bank in own])
    header = f"{'':14} {'AP':>6} {'95 % of it':>16} {'of central':>11} {'95 % of it':>16}"
    print(f"{header} {'mean':>6} {'worst':>6} {'cp@100':>7}")
    central: tuple[float, Floats] | None = None
    alone: list[float] = []
    for name, score, banks in (
        ("central", central_logits, shared),
        ("alone", alone_logits, own),
        ("weights only", federated_logits, own),
        ("counters only", alone_logits, shared),
        ("both", federated_logits, shared),
    ):
        start = time.process_time()
        parts = score(banks, recipe, arguments.rounds, arguments.seed)
        seconds = time.process_time() - start
        every = np.concatenate(parts)
        precision, sampled = _precision(every, pooled.rows.labels), replicated(pooled, every, arguments.replicates)
        central = central or (precision, sampled)
        each = [_precision(part, bank.judged.rows.labels) for part, bank in zip(parts, banks, strict=True)]
        alone = each if name == "alone" else alone
        gains = f"  {sum(np.greater(each, alone))} of {len(each)} banks gain" if alone and name != "alone" else ""
        line = f"{name:14} {precision:6.3f} {_interval(sampled)} {precision / central[0]:11.3f}"
        line += f" {_interval(sampled / central[1])} {np.mean(each):6.3f} {min(each):6.3f}"
        print(f"{line} {card_precision(pooled, every):7.3f}  {seconds:.0f} CPU s{gains}", flush=True)


def _print_noise(preset: str, full: Payments, recipe: Recipe, arguments: argparse.Namespace) -> None:
    """What ten banks that share weights and counters reach when each adds noise to each of its counts."""
    for scale in (0.0, *arguments.noise):
        banks = dealt(preset, full, shared=True, scale=scale)
        pooled = Judged.pooled([bank.judged for bank in banks])
        every = np.concatenate(federated_logits(banks, recipe, arguments.rounds, arguments.seed))
        precision, interval = _precision(every, pooled.rows.labels), replicated(pooled, every, arguments.replicates)
        print(f"scale {scale:<6g} {precision:6.3f} {_interval(interval)}", flush=True)


def _precision(scores: Floats, labels: NDArray[np.bool_]) -> float:
    return average_precision(*counts_of_logits(scores, labels)[1:])


def _interval(drawn: Floats) -> str:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{low:7.3f} to {high:.3f}"


def _day(seen: Transactions) -> Integers:
    return (seen.time - PLAN.start_time) // DAY


if __name__ == "__main__":
    ending.run(main)
