"""Streams drawn side by side: each has the bits of numpy's own RandomState."""

import numpy as np

from simulation.draws import Streams

SEEDS = (0, 1, 4_999, 2**32 - 1)
ALL = np.arange(len(SEEDS))


def test_a_mix_of_draws_has_the_bits_of_each_stream_alone() -> None:
    streams, sources = Streams(SEEDS), [np.random.RandomState(seed) for seed in SEEDS]
    rates = np.array([0.0, 0.3, 2.0, 9.5])
    for _ in range(300):
        streams.refill()
        assert streams.poisson(ALL, rates).tolist() == [s.poisson(r) for s, r in zip(sources, rates, strict=True)]
        assert streams.normal(ALL).tolist() == [source.standard_normal() for source in sources]
        assert streams.uniform(ALL).tolist() == [source.uniform() for source in sources]


def test_streams_that_are_left_out_stay_where_they_are() -> None:
    streams, sources = Streams(SEEDS), [np.random.RandomState(seed) for seed in SEEDS]
    for step in range(500):
        streams.refill()
        some = np.flatnonzero(np.arange(len(SEEDS)) % (1 + step % 3) == 0)
        assert streams.normal(some).tolist() == [sources[i].standard_normal() for i in some]
