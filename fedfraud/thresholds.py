"""How many banks must hold a secret's shares, give them back, and agree on an opening, for a cohort of n.

Up to 64 banks everybody holds a share of everybody's secrets and a threshold of floor(2n/3) + 1 opens them. Above that
a bank has `holders` peers, after Bell et al. 2020 (doi:10.1145/3372297.3417885): the smallest even number that, with
CORRUPT_PERCENT of the banks in league with the aggregator and DROP_PERCENT gone, leaves a chance of

- 2**-40 that some bank has a threshold of corrupt holders, who could read its masks,
- 2**-30 that some bank has fewer than a threshold of holders left, so that the round fails,
- 2**-40 that losing both kinds parts the honest banks: n * (corrupt + dropped)**(holders / 2), theirs for a ring with
  holders / 2 neighbours on each side. Holders that each bank draws for itself part less easily.

All of it in integers: everyone computes the same numbers.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import comb

from fedfraud.errors import Invalid

LEAST_BANKS = 4
COMPLETE_UP_TO = 64
CORRUPT_PERCENT = 20
DROP_PERCENT = 10
PRIVACY_BITS = 40
SUCCESS_BITS = 30


@dataclass(frozen=True)
class Sizes:
    """`holders`: peers that hold a bank's shares, it holds one itself besides; `threshold`: shares that open a secret;
    `quorum`: the least banks that must agree on an opening and be in it."""

    holders: int
    threshold: int
    quorum: int


@lru_cache(maxsize=64)
def sizes(banks: int) -> Sizes:
    """For a cohort of this many banks; fewer than four are refused."""
    if banks < LEAST_BANKS:
        raise Invalid(f"a masked sum must have a cohort of at least {LEAST_BANKS} banks, got {banks}")
    quorum = 2 * banks // 3 + 1
    if banks <= COMPLETE_UP_TO:
        return Sizes(banks - 1, quorum, quorum)
    return Sizes(*_least(banks), quorum)


def _least(banks: int) -> tuple[int, int]:
    """Holders and threshold."""
    corrupt, dropped = banks * CORRUPT_PERCENT // 100, banks * DROP_PERCENT // 100
    for holders in range(2, banks, 2):
        threshold = _threshold(banks, corrupt, holders)
        lost = _ways(banks - 1, dropped, holders, holders - threshold + 1)
        fails = (banks * lost) << SUCCESS_BITS > comb(banks - 1, holders)
        parts = (banks * (corrupt + dropped) ** (holders // 2)) << PRIVACY_BITS > banks ** (holders // 2)
        if not fails and not parts:
            return holders, threshold
    return banks - 1, 2 * banks // 3 + 1


def _threshold(banks: int, corrupt: int, holders: int) -> int:
    """The least above half of the holders that corrupt holders do not reach."""
    threshold = holders // 2 + 1
    while (banks * _ways(banks - 1, corrupt, holders, threshold)) << PRIVACY_BITS > comb(banks - 1, holders):
        threshold += 1
    return threshold


def _ways(banks: int, marked: int, drawn: int, least: int) -> int:
    """In how many draws of `drawn` from the banks at least `least` of the marked ones are."""
    return sum(comb(marked, k) * comb(banks - marked, drawn - k) for k in range(least, min(marked, drawn) + 1))
