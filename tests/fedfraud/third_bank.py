"""Bank 3 of ten in an attempt at a masked sum: it takes part or refuses, alone or among honest banks at any stage."""

from collections.abc import Sequence

from fedfraud.masking import Consent, Masked, roll_sha256, shared_sha256, signed
from fedfraud.masking_bank import Masker
from fedfraud.masking_parameters import Parameters, Roster
from fedfraud.masking_policy import Inputs, Openings, Policy
from fedfraud.masking_sum import Stage
from tests.fedfraud.masked_round import Attempt, inputs_of, parameters_of, policy_of, roster_of, signing_key

ME = "bank-03"
P = parameters_of(10)


def begin(
    parameters: Parameters = P,
    *,
    policy: Policy | None = None,
    roster: Roster | None = None,
    inputs: Inputs | None = None,
    openings: Openings | None = None,
    seed: bytes = bytes(32),
) -> Masker:
    """Bank 3 takes part, or refuses."""
    return Masker.begin(
        parameters,
        roster or roster_of(10),
        ME,
        inputs or inputs_of(P),
        policy or policy_of(10),
        openings or Openings(),
        signing_key(ME),
        lambda count: seed[:count],
    )


def before(stage: Stage, parameters: Parameters = P) -> tuple[Attempt, Masker]:
    """Ten honest banks that have come to a stage, and bank 3 of them."""
    attempt = Attempt(parameters).until(stage)
    return attempt, attempt.banks[ME]


def words_of_all(bank: Masker, seats: Sequence[str]) -> tuple[Masked, ...]:
    """What these seats say of their masked words, were they told of the same sharers as the bank."""
    state = bank.state
    shared = shared_sha256(roll_sha256(state.parameters.transcript_sha256, state.advertisements), state.shared)
    return tuple(signed(Masked(seat, bytes(32)), signing_key(seat), shared) for seat in seats)


def consents_to(attempt: Attempt, survivors: tuple[str, ...]) -> tuple[Consent, ...]:
    """What each bank would sign, were it asked for these survivors."""
    consents = []
    for seat in survivors:
        other = attempt.fork().banks[seat]
        consents.append(other.consent(words_of_all(other, survivors), Openings())[0])
    return tuple(consents)
