"""The population of card payments: the public set to the bit, and banks' shares of it that are disjoint and whole."""

import hashlib
import random
from dataclasses import replace

import numpy as np
import pytest

from fedfraud.errors import Invalid
from fedfraud.transactions import PRESETS as ALL_PRESETS
from simulation.cards import Payments, World, customers_of, payments, shard

PRESETS = ALL_PRESETS["cards"]
SMALL = World(seed=3, customer_count=60, terminal_count=300, day_count=40, radius=12.0)
FULL = World()


@pytest.fixture(scope="module")
def small() -> Payments:
    return payments(SMALL, np.arange(SMALL.customer_count))


def table(*parts: Payments) -> list[tuple[int, ...]]:
    """The rows of all parts, sorted, each with its customer and number, which name it."""
    columns = ("customer", "number", "seconds", "terminal", "amount", "scenario")
    return sorted(row for part in parts for row in zip(*(getattr(part, c).tolist() for c in columns), strict=True))


def test_the_full_set_has_the_published_counts_and_bits(full_payments: Payments) -> None:
    full = full_payments
    assert len(full) == 1_754_155
    assert full.fraud.sum() == 14_681
    assert np.bincount(full.scenario).tolist() == [1_739_474, 973, 9_077, 4_631]
    assert len(np.unique(full.customer)) == 4_990  # the others pay so rarely that they never do
    assert full.amount.sum() == 94_079_370_08
    assert full.amount[full.fraud].sum() == 1_925_677_76
    assert full.amount.max() == 2_628_00
    order = np.lexsort((full.amount, full.terminal, full.customer, full.seconds))
    columns = (full.seconds, full.customer, full.terminal, full.amount, full.fraud, full.scenario)
    matrix = np.column_stack(columns)[order].astype("<i8")
    expected = "e2f69b1be19a6b4b535c4de653bf11e538a4ead82710667bc247329cb0f87d2c"
    assert hashlib.sha256(matrix.tobytes()).hexdigest() == expected


def test_ten_banks_of_the_full_set_have_each_payment_once(full_payments: Payments) -> None:
    full = full_payments
    shards = [shard(FULL, "regional", slot) for slot in range(1, 11)]
    assert sum(map(len, shards)) == len(full)
    order = np.lexsort((full.number, full.customer))
    together = Payments(**{c: np.concatenate([getattr(s, c) for s in shards]) for c in vars(full)})
    again = np.lexsort((together.number, together.customer))
    for name, column in vars(full).items():
        assert np.array_equal(column[order], getattr(together, name)[again]), name


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_deals_every_customer_once(preset: str) -> None:
    dealt = [customers_of(FULL, preset, slot) for slot in range(1, 11)]
    assert np.sort(np.concatenate(dealt)).tolist() == list(range(5_000))
    further = [customers_of(FULL, preset, slot) for slot in range(11, 21)]
    assert np.sort(np.concatenate(further)).tolist() == list(range(5_000, 10_000))


@pytest.mark.parametrize("preset", PRESETS)
def test_banks_beyond_the_tenth_share_no_payment_with_the_first_ten(small: Payments, preset: str) -> None:
    shards = [shard(SMALL, preset, slot) for slot in range(1, 11)]
    assert table(*shards) == table(small)
    more = payments(SMALL, np.arange(60, 120))
    assert table(*(shard(SMALL, preset, slot) for slot in range(11, 21))) == table(more)
    assert not set(more.customer) & set(small.customer)
    assert set(np.unique(more.scenario)) == {0, 1, 2, 3}
    assert set(more.terminal) & set(small.terminal)


def test_national_banks_are_equal_regional_ones_near_and_skewed_ones_unequal() -> None:
    sizes = {preset: [len(customers_of(FULL, preset, slot)) for slot in range(1, 11)] for preset in PRESETS}
    assert sizes["national"] == [500] * 10
    assert min(sizes["skewed"]) >= 100
    assert max(sizes["skewed"]) > 3 * min(sizes["skewed"])
    x, y = FULL.customers(5_000)[customers_of(FULL, "regional", 7), :2].T  # the second area of the second row
    assert 20 <= x.min() < x.max() < 40
    assert 50 <= y.min() < y.max() < 100


def slowly(world: World, customer: int) -> list[tuple[int, int, int]]:
    """One customer's (seconds, amount in cents, terminal), as the parameters are told: a payment after the other."""
    x, y, mean, rate = world.customers(customer + 1)[customer]
    near = [i for i, (a, b) in enumerate(world.terminals) if ((a - x) ** 2 + (b - y) ** 2) ** 0.5 < world.radius]
    draws = np.random.RandomState(world.derived("payments", customer))
    choices = random.Random(world.derived("terminals of a customer", customer))  # noqa: S311  # as published
    made = []
    for day in range(world.day_count):
        for _ in range(draws.poisson(rate)):
            seconds = int(draws.normal(43_200, 20_000))
            if 0 < seconds < 86_400:
                amount = draws.normal(mean, mean / 2)
                if amount < 0:
                    amount = draws.uniform(0, mean * 2)
                if near:
                    made.append((86_400 * day + seconds, round(100 * np.round(amount, 2)), choices.choice(near)))
    return made


def test_a_customers_payments_are_as_drawn_one_after_the_other(small: Payments) -> None:
    sparse = replace(SMALL, terminal_count=40)  # so that some customers are near no terminal
    for world, made in ((SMALL, small), (sparse, payments(sparse, np.arange(60)))):
        for customer in range(60):
            own = made.take(made.customer == customer)
            own = own.take(np.argsort(own.number))
            expected = np.array(slowly(world, customer)).reshape(-1, 3)
            assert np.array_equal(own.seconds, expected[:, 0])
            assert np.array_equal(own.terminal, expected[:, 2])
            raised = own.scenario == 3  # the amount may be so, by five or more than once by five
            assert np.array_equal(own.amount[~raised], expected[~raised, 1])
            assert (own.amount[raised] >= 5 * expected[raised, 1]).all()
    assert {c for c in range(60) if not slowly(sparse, c)} > {c for c in range(60) if not slowly(SMALL, c)}


def test_payments_are_in_order_and_their_frauds_follow_from_the_scenarios(small: Payments) -> None:
    assert (np.diff(small.seconds) >= 0).all()
    assert ((small.amount > 220_00) <= small.fraud).all()
    assert (small.amount[small.scenario == 3] % 5 == 0).all()
    assert np.array_equal(np.unique(small.scenario), [0, 1, 2, 3])


def test_another_seed_is_another_world() -> None:
    one, other = (payments(replace(SMALL, seed=seed), np.arange(60)) for seed in (1, 2))
    assert len(one) != len(other)
    assert not np.array_equal(replace(SMALL, seed=1).terminals, replace(SMALL, seed=2).terminals)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(Invalid, match=r"^a population's seed must be 0 to 2\*\*32 - 1, got -1$"):
        World(seed=-1)
    with pytest.raises(Invalid, match=r"^customers must be at least 10, got 9$"):
        World(customer_count=9)
    with pytest.raises(Invalid, match=r"^a preset of cards must be one of national, regional, skewed, got 'tiny'$"):
        customers_of(FULL, "tiny", 1)
    with pytest.raises(Invalid, match=r"^a slot must be at least 1, got 0$"):
        customers_of(FULL, "national", 0)
