"""A bank's rows as examples to train and to validate on: features that its dataset has, or that follow from its
payments and the counters that all banks summed."""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from services.bank_client import features, noise
from services.bank_client.dataset import Rows, divide
from services.bank_client.merchant_key import fingerprint
from services.bank_client.trade import Judged, first_half
from services.bank_client.transactions import Integers, Transactions, by_first_payment


class Examples(NamedTuple):
    """Rows with their features."""

    training: Rows
    validation: Rows


class FeatureTable:
    """A dataset that has the features: counters change nothing. It takes the memory of `rows` over."""

    def __init__(self, rows: Rows) -> None:
        self.row_count, self.fraud_count, self.sha256 = len(rows), rows.fraud_count, rows.sha256
        self.merchant_key = ""
        self._examples = Examples(*divide(rows))

    def counts(self) -> Integers:
        """There is nothing to count."""
        raise Invalid("counts must be of transactions, this bank's dataset has features")

    def knows(self, counters_sha256: bytes) -> bool:
        """Whether the examples under these counters can be had; here under none."""
        return not counters_sha256

    def learn(self, counters_sha256: bytes, counters: Integers) -> None:
        """No counters belong to a table."""
        raise Invalid(f"features must not follow from counters, got {counters_sha256.hex()[:12]}")

    def under(self, counters_sha256: bytes) -> Examples:
        """What a round of the federation is about."""
        if counters_sha256:
            raise Invalid(f"features must not follow from counters, got {counters_sha256.hex()[:12]}")
        return self._examples

    def alone(self) -> Examples:
        """What the bank has without the federation: the same."""
        return self._examples

    def for_choice(self) -> NDArray[np.bool_]:
        """(validation rows,) every other one of each class: a table does not say what comes later."""
        labels, chosen = self._examples.validation.labels, np.zeros(len(self._examples.validation), np.bool_)
        for label in (False, True):
            chosen[np.flatnonzero(labels == label)[::2]] = True
        return chosen

    def judged(self) -> Judged:
        """Rows of a table have neither day nor card."""
        raise Invalid("figures of the trade must be of transactions, this bank's dataset has features")


class Payments:
    """Transactions under a feature plan: what is known of a merchant follows from counters, its own or all banks'."""

    def __init__(
        self,
        transactions: Transactions,
        plan: FeaturePlan,
        merchant_key: bytes,
        noise_scale: float = 0.0,
        noise_secret: bytes = b"",
    ) -> None:
        """`noise_scale` is that of what is added to each count that leaves, drawn from the secret; 0 for none.

        Days that are not the plan's are left alone; a bank without an example to train on is refused.
        """
        self._transactions, self._plan = features.planned(transactions, plan), plan
        self._buckets = features.bucket_of(transactions.merchant_ids, merchant_key, plan.bucket_count)
        self.merchant_key = fingerprint(merchant_key)
        self.row_count, self.fraud_count = len(self._transactions), self._transactions.fraud_count
        self.sha256 = _sha256(self._transactions, self._buckets)
        self._noise_scale, self._noise_secret = noise_scale, noise_secret
        self._known: tuple[bytes, Examples] | None = None
        training, _ = features.split(self._transactions, plan)
        if not len(training):
            raise Invalid(
                f"payments must have a known label in the plan's training days, {plan.train_days} from day "
                f"{plan.train_start} after {plan.first_day}, got none in {self.row_count} payments of its days"
            )

    def counts(self) -> Integers:
        """(buckets, counted days, 2): what leaves in a count segment, with the bank's noise if it chose any."""
        counts = self._own_counts()
        if self._noise_scale:
            counts += noise.drawn(counts.shape, self._noise_scale, self._noise_secret, self.sha256)
        return counts

    def _own_counts(self) -> Integers:
        return features.counts(self._transactions, self._plan, self._buckets)

    def knows(self, counters_sha256: bytes) -> bool:
        """Whether the examples under these counters can be had."""
        return self._known is not None and self._known[0] == counters_sha256

    def learn(self, counters_sha256: bytes, counters: Integers) -> None:
        """Computes the examples under the summed counters, (buckets, counted days, 2), and keeps these alone."""
        self._known = counters_sha256, self._examples(counters)

    def under(self, counters_sha256: bytes) -> Examples:
        """What a round of the federation is about."""
        if self._known is None or self._known[0] != counters_sha256:
            raise Invalid(f"features must follow from counters that the bank has, got {counters_sha256.hex()[:12]}")
        return self._known[1]

    def alone(self) -> Examples:
        """What the bank has without the federation: merchants as its own payments alone show them."""
        return self._examples(self._own_counts())

    def for_choice(self) -> NDArray[np.bool_]:
        """(validation rows,) those of the first half of the test days."""
        return first_half(self.judged().day, self._plan.test_days)

    def judged(self) -> Judged:
        """The payments that validation rows are of, in the same order: their day, card, amount and label. Cards are
        numbered by their first payment there: what is drawn for each follows from the rows, not their source."""
        _, rows = features.split(self._transactions, self._plan)
        paid = self._transactions.take(rows)
        day = (paid.time - self._plan.start_time) // features.DAY - self._plan.test_start
        return Judged(day, by_first_payment(paid.customer), paid.amount, paid.label == 1)

    def _examples(self, counters: Integers) -> Examples:
        return Examples(*features.examples(self._transactions, self._plan, self._buckets, counters))


Dataset = FeatureTable | Payments


def _sha256(transactions: Transactions, buckets: Integers) -> bytes:
    """Of the columns in their order, with merchants by bucket and customers by their first payment: all that the bank's
    figures follow from, and nothing of how its source numbers or orders them."""
    digest = hashlib.sha256()
    for column in (
        transactions.time,
        by_first_payment(transactions.customer),
        buckets[transactions.merchant],
        transactions.amount,
        transactions.label,
        transactions.known_at,
    ):
        digest.update(column.astype("<i8").tobytes())
    return digest.digest()
