"""The population of card payments: the Fraud Detection Handbook's simulator, dealt out to banks by customer.

Written from the parameters that Le Borgne, Siblini, Lebichot and Bontempi publish ("Reproducible Machine Learning for
Credit Card Fraud Detection – Practical Handbook", 2022, chapter 3). World() is their data set, payment by payment.
Each customer has random numbers of its own, so that a bank makes its own customers' payments alone. Banks beyond the
tenth have further customers, who pay at the same terminals.
"""

import hashlib
import random
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.transactions import preset_of
from simulation.draws import Streams

SHARDS = 10
LEAST_SHARE = 0.02
"""Of the customers, in the smallest bank of the skewed preset."""

AREA = 100.0
RADIUS = 5.0
DAY = 86_400
LABEL_DELAY = 7 * DAY
"""Seconds from a payment until its bank knows whether it was a fraud."""
NOON, SPREAD = 43_200, 20_000
LARGE_AMOUNT = 22_000
"""Cents; a payment above is scenario 1."""
TERMINALS_A_DAY, TERMINAL_DAYS = 2, 28
CUSTOMERS_A_DAY, CUSTOMER_DAYS = 3, 14
CUSTOMER_SHARE, CUSTOMER_FACTOR = 3, 5
"""One payment in three of a compromised customer is a fraud, of five times the amount."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
_NONE: NDArray[np.intp] = np.empty(0, np.intp)


@dataclass(frozen=True)
class Payments:
    """Columns (rows,) in order of time, then customer, then `number`, the customer's payments in the order drawn.

    `seconds` are since the world's first day; `amount` is in cents; `scenario` is 0 where a payment is legitimate.
    """

    seconds: Integers
    customer: Integers
    number: Integers
    terminal: Integers
    amount: Integers
    scenario: Integers

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def fraud(self) -> NDArray[np.bool_]:
        """Which payments are frauds."""
        return self.scenario > 0

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Payments":
        """The rows of these numbers, or of this mask, in their order."""
        return Payments(**{name: column[rows] for name, column in vars(self).items()})


@dataclass(frozen=True)
class World:
    """Who pays where: the published numbers, which are also the full public set with seed 0."""

    seed: int = 0
    customer_count: int = 5_000
    terminal_count: int = 10_000
    day_count: int = 183
    first_day: str = "2018-04-01"
    radius: float = RADIUS

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise Invalid(f"a population's seed must be 0 to 2**32 - 1, got {self.seed}")
        if self.customer_count < max(SHARDS, CUSTOMERS_A_DAY):
            raise Invalid(f"customers must be at least {SHARDS}, got {self.customer_count}")

    @cached_property
    def terminals(self) -> Floats:
        """(terminals, 2) places."""
        draws = np.random.RandomState(self.derived("terminals", 1))
        return AREA * draws.random_sample((self.terminal_count, 2))

    def customers(self, count: int) -> Floats:
        """(count, 4) of the first customers: place, mean amount in euro, mean payments a day."""
        drawn = np.random.RandomState(self.derived("customers", 0)).random_sample((count, 4))
        return np.array([0.0, 0.0, 5.0, 0.0]) + np.array([AREA, AREA, 95.0, 4.0]) * drawn

    def derived(self, what: str, published: int, generation: int = 0) -> int:
        """The seed of one stream: the published one for seed 0, and for others a number of their own."""
        if self.seed == 0 and generation == 0:
            return published
        words = f"fedfraud cards {self.seed} {what} {published} {generation}".encode()
        return int.from_bytes(hashlib.sha256(words).digest()[:4], "little")


def shard(world: World, preset: str, slot: int) -> Payments:
    """The payments of one bank's customers; slots are numbered from 1."""
    return payments(world, customers_of(world, preset, slot))


def customers_of(world: World, preset: str, slot: int) -> Integers:
    """A bank's customers, rising: the world's are dealt to slots 1 to 10, as many others to each ten slots more.

    national: at random in equal parts; regional: by home, five by two areas; skewed: at random in unequal parts.
    """
    preset = preset_of("cards", preset)
    if slot < 1:
        raise Invalid(f"a slot must be at least 1, got {slot}")
    generation, place = divmod(slot - 1, SHARDS)
    count, first = world.customer_count, generation * world.customer_count
    if preset == "regional":
        x, y = world.customers(first + count)[first:, :2].T
        return first + np.flatnonzero((x // (AREA / 5) + 5 * (y // (AREA / 2))).astype(np.int64) == place)
    draws = np.random.RandomState(world.derived(preset, 2, generation))
    shares = np.full(SHARDS, 1 / SHARDS)
    if preset == "skewed":
        shares = LEAST_SHARE + (1 - SHARDS * LEAST_SHARE) * draws.dirichlet(np.ones(SHARDS))
    ends = np.rint(np.cumsum(shares) * count).astype(np.int64)
    return first + np.sort(np.split(draws.permutation(count), ends[:-1])[place])


def payments(world: World, customers: Integers) -> Payments:
    """All payments of these customers, labelled."""
    compromised = _compromised(world, customers)
    others = np.setdiff1d([customer for _, _, three in compromised for customer in three], customers).astype(np.int64)
    paid = _paid(world, np.union1d(customers, others))
    paid = paid.take(np.argsort(paid.seconds, kind="stable"))
    labelled = _labelled(world, paid, compromised)
    return labelled.take(~np.isin(paid.customer, others)) if len(others) else labelled


def _compromised(world: World, customers: Integers) -> list[tuple[int, int, Integers]]:
    """(day, seed, the three customers) of each day on which some of these are compromised: which of their payments
    are frauds is drawn for the three together."""
    found, count = [], world.customer_count
    for generation in np.unique(customers // count).tolist():
        for day in range(world.day_count - 1):
            seed = world.derived("compromised customers", day, generation)
            drawn = np.random.RandomState(seed).choice(count, CUSTOMERS_A_DAY, replace=False)
            three = generation * count + drawn.astype(np.int64)
            if np.isin(three, customers).any():
                found.append((day, seed, three))
    return sorted(found, key=lambda entry: entry[0])


def _labelled(world: World, paid: Payments, compromised: list[tuple[int, int, Integers]]) -> Payments:
    """The three scenarios, one after the other; a later one takes a payment over."""
    day = paid.seconds // DAY
    scenario, amount = np.where(paid.amount > LARGE_AMOUNT, 1, 0), paid.amount.copy()
    at_terminal, of_customer = _rows_by(paid.terminal), _rows_by(paid.customer)
    for start in range(world.day_count - 1):
        draws = np.random.RandomState(world.derived("compromised terminals", start))
        for terminal in draws.choice(world.terminal_count, TERMINALS_A_DAY, replace=False).tolist():
            scenario[_during(at_terminal.get(terminal, _NONE), day, start, TERMINAL_DAYS)] = 2
    for start, seed, three in compromised:
        rows = np.sort(np.concatenate([of_customer.get(customer, _NONE) for customer in three.tolist()]))
        rows = _during(rows, day, start, CUSTOMER_DAYS)
        chosen = rows[random.Random(seed).sample(range(len(rows)), len(rows) // CUSTOMER_SHARE)]  # noqa: S311  # as published
        scenario[chosen] = 3
        amount[chosen] *= CUSTOMER_FACTOR
    return replace(paid, scenario=scenario, amount=amount)


def _rows_by(column: Integers) -> dict[int, NDArray[np.intp]]:
    """The rows of each value, rising."""
    order = np.argsort(column, kind="stable")
    values, starts = np.unique(column[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, starts[1:]), strict=True)) if len(values) else {}


def _during(rows: NDArray[np.intp], day: Integers, start: int, days: int) -> NDArray[np.intp]:
    return rows[(day[rows] >= start) & (day[rows] < start + days)]


def _paid(world: World, customers: Integers) -> Payments:
    """Their payments by customer, in the order drawn, none of them a fraud."""
    people = world.customers(int(customers.max(initial=-1)) + 1)[customers]
    means, rates = people[:, 2], people[:, 3]
    streams = Streams([world.derived("payments", int(customer)) for customer in customers])
    everyone, rows = np.arange(len(customers)), []
    for day in range(world.day_count):
        streams.refill()
        left = streams.poisson(everyone, rates)
        while len(which := np.flatnonzero(left > 0)):
            left[which] -= 1
            seconds = (NOON + SPREAD * streams.normal(which)).astype(np.int64)
            kept = (seconds > 0) & (seconds < DAY)
            which = which[kept]
            amounts = means[which] + means[which] / 2 * streams.normal(which)
            below = np.flatnonzero(amounts < 0)
            amounts[below] = 2 * means[which[below]] * streams.uniform(which[below])
            rows.append(np.array([which, day * DAY + seconds[kept], np.rint(amounts * 100).astype(np.int64)]))
    which, seconds, amounts = np.concatenate([np.empty((3, 0), np.int64), *rows], axis=1)
    order = np.argsort(which, kind="stable")
    counts = np.bincount(which, minlength=len(customers))
    used = [_used(world, *of) for of in zip(customers.tolist(), people[:, :2], counts.tolist(), strict=True)]
    number = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    columns = (seconds[order], customers[which[order]], number, np.concatenate([np.empty(0, np.int64), *used]))
    paid = Payments(*columns, amounts[order], np.zeros(len(order), np.int64))
    return paid.take(paid.terminal >= 0)


def _used(world: World, customer: int, home: Floats, count: int) -> Integers:
    """The terminals of a customer's payments; -1 for one that no terminal is near."""
    across, along = world.terminals.T - home[:, np.newaxis]
    near = np.flatnonzero(np.sqrt(across * across + along * along) < world.radius)
    if not len(near):
        return np.full(count, -1)
    # As random.choice draws: the first bits of 32 random ones, until they are a place in the list.
    source, bits = random.Random(world.derived("terminals of a customer", customer)), len(near).bit_length()  # noqa: S311  # a simulation's own draws
    places = np.empty(0, np.int64)
    while len(places) < count:
        words = np.frombuffer(source.randbytes(8 * (count + 16)), "<u4") >> np.uint32(32 - bits)
        places = np.concatenate([places, words[words < len(near)].astype(np.int64)])
    return near[places[:count]]
