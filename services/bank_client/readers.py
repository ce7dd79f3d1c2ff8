"""What is gathered of a bank's rows while they are read, by the kind of contract: a feature table's, or payments.

Each chunk is checked against the contract and gathered; once a rule is broken the rows that follow are checked alone.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from fedfraud.contract import ID, KNOWN_AT, known_name
from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from fedfraud.transactions import LABEL
from services.bank_client import conversion
from services.bank_client.checks import Checked
from services.bank_client.dataset import Rows
from services.bank_client.findings import Fault, Report
from services.bank_client.gathering import Codes, Gathered, Ids, spread
from services.bank_client.row_names import RowNames
from services.bank_client.sources import Chunk
from services.bank_client.transactions import NEVER, UNKNOWN, Transactions, in_order

_BUCKETS_A_MERCHANT = 6
"""Fewer cost more: of 10,000 merchants, 65,536 buckets took 0.03 of an average precision of 0.63, 16,384 a third."""


@dataclass(frozen=True)
class OwnData:
    """What was read: rows of a feature table, or payments, or neither where the report did not pass."""

    report: Report
    rows: Rows | None = None
    payments: Transactions | None = None
    ids: pa.Array | None = None
    """What each row is called, see RowNames; kept where it is asked for."""

    def table(self) -> Rows:
        """The rows of a feature table."""
        if self.rows is None:
            raise Invalid(f"rows must be of a feature table, got those of {self.report.contract}")
        return self.rows


class Reader(Protocol):
    """Gathers the chunks of one kind of contract."""

    def take(self, chunk: Chunk) -> None:
        """The next rows."""

    def end(self, figures: dict[str, Any], name: str) -> None:
        """Checks what is of all rows, and says how many there are of what."""

    def made(self, report: Report) -> OwnData:
        """The rows, once all checks passed."""


class TableReader:
    """Rows that are the model's inputs."""

    def __init__(self, checked: Checked, names: RowNames) -> None:
        self._checked = checked
        self._names = names
        self._features, self._labels, self._ids = Gathered(), Gathered(), Ids()
        self._counts = {"frauds": 0, "legitimate": 0}

    def take(self, chunk: Chunk) -> None:
        """See Reader."""
        checked, contract = self._checked, self._checked.contract
        columns: dict[str, conversion.Floats] = {}
        known: dict[str, conversion.Mask] = {}
        for feature in contract.features:
            if feature.name in known:
                columns[feature.name] = known[feature.name].astype(np.float64)
            else:
                columns[feature.name], given = checked.numbers(chunk, feature.name, feature)
                if contract.column(feature.name).missing_below is not None:
                    known[known_name(feature.name)] = given
        labels = checked.labels(chunk) if contract.is_labelled else np.zeros(len(chunk), np.int8)
        for name, found in (("frauds", labels == 1), ("legitimate", labels == 0)):
            self._counts[name] += int(np.count_nonzero(found))
        if checked.column_map.is_read(contract, ID):
            self._ids.add(chunk, checked.texts(chunk, ID))
        if contract.is_labelled and checked.column_map.is_read(contract, KNOWN_AT):
            checked.times(chunk, KNOWN_AT)
        self._names.take(chunk)
        if checked.findings:
            self._features, self._labels = Gathered(), Gathered()
        else:
            self._features.add(spread([columns[feature.name] for feature in contract.features], np.float64))
            self._labels.add(labels == 1)

    def end(self, figures: dict[str, Any], name: str) -> None:
        """See Reader."""
        figures.update(self._counts)
        _check_classes(self._checked, self._counts, name)
        if self._ids.count:
            self._ids.check(ID, self._checked.findings)

    def made(self, report: Report) -> OwnData:
        """See Reader."""
        rows = Rows(self._features.whole(np.float64), self._labels.whole(np.bool_))
        return OwnData(report, rows=rows, ids=self._names.whole())


class PaymentsReader:
    """Payments, to be sorted by time."""

    def __init__(self, checked: Checked, plan: FeaturePlan | None, names: RowNames) -> None:
        self._checked = checked
        self._names = names
        self._columns = {name: Gathered() for name in ("time", "amount", "label", "known_at")}
        self._customers, self._merchants, self._ids = Codes(), Codes(), Ids()
        self._counts = {"frauds": 0, "legitimate": 0, "unknown_labels": 0, "refunds_left_out": 0, "out_of_order": 0}
        self._span = (2**62, -(2**62))
        self._plan = plan
        self._within = 0
        self._order: np.ndarray[Any, np.dtype[np.int64]] | None = None

    def take(self, chunk: Chunk) -> None:
        """See Reader."""
        checked = self._checked
        chunk = self._without_refunds(chunk)
        if not len(chunk):
            return
        amount = checked.numbers(chunk, "amount")[0]
        times, labels = checked.times(chunk, "time"), self._labels(chunk)
        customers, merchants = checked.texts(chunk, "customer_id"), checked.texts(chunk, "merchant_id")
        known_at = self._known_at(chunk, times, labels)
        if not checked.column_map.origin(ID).row_number:
            self._ids.add(chunk, checked.texts(chunk, ID))
        self._count(times, labels)
        self._names.take(chunk)
        if checked.findings:
            self._columns = {name: Gathered() for name in self._columns}
            self._customers, self._merchants = Codes(), Codes()
            return
        known_at = np.where(labels == UNKNOWN, NEVER, known_at)
        self._customers.add(customers)
        self._merchants.add(merchants)
        made: tuple[np.ndarray[Any, Any], ...] = (times, _cents(amount), labels, known_at)
        for column, part in zip(self._columns.values(), made, strict=True):
            column.add(part)

    def _without_refunds(self, chunk: Chunk) -> Chunk:
        """Payments below 0 are left out where the map says so: the rows that stay keep their numbers in `skipped`."""
        checked = self._checked
        if not checked.column_map.skip_refunds:
            return chunk
        kept = ~checked.negative(chunk, "amount")
        self._counts["refunds_left_out"] += int(np.count_nonzero(~kept))
        if kept.all():
            return chunk
        numbers = tuple(chunk.row(index) for index in np.flatnonzero(kept).tolist())
        return Chunk(chunk.file, {name: c.filter(kept) for name, c in chunk.columns.items()}, 0, numbers=numbers)

    def _labels(self, chunk: Chunk) -> np.ndarray[Any, np.dtype[np.int8]]:
        checked = self._checked
        return checked.labels(chunk) if checked.contract.is_labelled else np.full(len(chunk), UNKNOWN, np.int8)

    def _known_at(self, chunk: Chunk, times: conversion.Times, labels: np.ndarray[Any, np.dtype[np.int8]]) -> Any:  # noqa: ANN401  # an array
        checked = self._checked
        if not checked.contract.is_labelled:
            return np.full(len(chunk), NEVER)
        days = checked.column_map.origin(KNOWN_AT).days_after_payment
        if days is not None:  # a label that is here is known by now
            return np.minimum(times + int(days * conversion.DAY), checked.now)
        known_at = checked.times(chunk, KNOWN_AT)
        checked.known_in_time(chunk, KNOWN_AT, times, labels, known_at)
        return known_at

    def _count(self, times: conversion.Times, labels: np.ndarray[Any, np.dtype[np.int8]]) -> None:
        for name, value in (("frauds", 1), ("legitimate", 0), ("unknown_labels", UNKNOWN)):
            self._counts[name] += int(np.count_nonzero(labels == value))
        times = times[times != conversion.NO_TIME]
        if len(times):
            self._counts["out_of_order"] += int(np.count_nonzero(np.diff(times, prepend=self._span[1]) < 0))
            self._span = min(self._span[0], int(times.min())), max(self._span[1], int(times.max()))
        if self._plan:
            days = (times - self._plan.start_time) // conversion.DAY
            self._within += int(np.count_nonzero((days >= 0) & (days < self._plan.day_count)))

    def end(self, figures: dict[str, Any], name: str) -> None:
        """See Reader."""
        figures.update(self._counts)
        findings = self._checked.findings
        if not findings:
            figures.update(customers=self._customers.count(), merchants=self._merchants.count())
        if self._span[0] <= self._span[1]:
            first, last = map(conversion.time_text, self._span)
            figures.update(first_time=first, last_time=last, rows_within_the_plan=self._within)
            if self._plan and not self._within:
                begin, end = (
                    conversion.time_text(self._plan.start_time + days * conversion.DAY)[:10]
                    for days in (0, self._plan.day_count - 1)
                )
                rule = f"{name} must have payments from {begin} to {end}, the days of the feature plan"
                findings.add(Fault("span", f"{rule}, got some from {first[:10]} to {last[:10]}", name, "time"))
        _check_classes(self._checked, self._counts, name)
        if self._ids.count:
            numbers = self._ids.check(ID, findings)
            self._order = numbers if self._ids.numeric else None

    def made(self, report: Report) -> OwnData:
        """See Reader."""
        kinds = (("time", np.int64), ("amount", np.int64), ("label", np.int8), ("known_at", np.int64))
        columns: dict[str, np.ndarray[Any, Any]] = {name: self._columns[name].whole(kind) for name, kind in kinds}
        columns.update(customer=self._customers.whole(), merchant=self._merchants.whole())
        ties = [self._order] if self._order is not None else self._contents(columns)
        report = replace(report, warnings=self._warnings(report.source, columns))
        order, self._order = in_order(columns["time"], ties), None
        for name in columns:
            columns[name] = columns[name][order]
        payments = Transactions(
            **columns,
            customer_ids=tuple(self._customers.known.to_pylist()),
            merchant_ids=tuple(self._merchants.known.to_pylist()),
        )
        return OwnData(report, payments=payments, ids=self._names.whole(order))

    def _warnings(self, name: str, columns: dict[str, np.ndarray[Any, Any]]) -> tuple[str, ...]:
        """Merchants of one bucket are seen as one, and other banks' merchants fall into the same buckets."""
        if self._plan is None:
            return ()
        days = (columns["time"] - self._plan.start_time) // conversion.DAY
        within = columns["merchant"][(days >= 0) & (days < self._plan.day_count)]
        count, buckets = int(np.count_nonzero(np.bincount(within))), self._plan.bucket_count
        if count * _BUCKETS_A_MERCHANT <= buckets:
            return ()
        return (
            f"{name} should have at most {buckets // _BUCKETS_A_MERCHANT:,} merchants in the days of the feature plan, "
            f"a sixth of its {buckets:,} buckets, got {count:,}: {-math.expm1(-(count - 1) / buckets):.0%} of them "
            "share a bucket, and so what is known of them, with another of this bank's alone",
        )

    def _contents(self, columns: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """What rows of one second are ordered by where ids are no numbers: all that they hold, so that the source's
        order is none of it. Rows that are equal in all of it may change places."""
        customers, merchants = self._customers.ranks(), self._merchants.ranks()
        named = [customers[columns["customer"]], merchants[columns["merchant"]]]
        return [*named, *(columns[name] for name in ("amount", "label", "known_at"))]


def _cents(amount: conversion.Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray(np.rint(amount * 100).astype(np.int64))


def _check_classes(checked: Checked, counts: dict[str, int], name: str) -> None:
    """Too few frauds, or nothing else, teach nothing and are measured by nothing."""
    least = checked.contract.least_frauds
    if counts["frauds"] < least:
        sentence = f"{name} must have at least {least} rows with {LABEL} 1, got {counts['frauds']}"
        checked.findings.add(Fault("frauds", sentence, name, LABEL))
    if least and not counts["legitimate"]:
        sentence = f"{name} must have rows of both classes, got none with {LABEL} 0"
        checked.findings.add(Fault("classes", sentence, name, LABEL))
