"""Dropout: what torch.rand would have dropped, whatever way it is drawn."""

import pytest
import torch

from services.bank_client.dropout import Dropout


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [1e-9, 0.05, 0.1, 0.25, 0.3, 0.5, 0.75, 0.999, 1 - 2**-24])
@pytest.mark.parametrize("units", [1, 2, 3, 623, 624, 625, 4097, 100_000])
def test_units_are_dropped_where_torchs_uniform_draws_are_below_the_share(units: int, share: float) -> None:
    ours, theirs = generator(units), generator(units)
    divisors = Dropout(share).divisors(units, ours)
    kept = torch.rand(units, generator=theirs) >= share
    assert torch.equal(divisors, torch.where(kept, torch.tensor(1 - share), torch.inf))
    assert torch.equal(ours.get_state(), theirs.get_state())  # what is drawn next is the same too


def test_what_was_drawn_stays_when_more_or_fewer_are_drawn() -> None:
    dropout, draws, expected = Dropout(0.3), generator(1), generator(1)
    drawn = [dropout.divisors(units, draws) for units in (1000, 2001, 10, 1000)]
    assert all(torch.equal(one, Dropout(0.3).divisors(len(one), expected)) for one in drawn)


def test_a_draw_of_exactly_the_share_is_kept() -> None:
    share = torch.rand(1000, generator=generator(3))[500].item()
    assert torch.isfinite(Dropout(share).divisors(1000, generator(3))[500])
