"""Secure aggregation's messages to values and back, in pairs as in wire.py; each `from_proto` gives values that the
protocol itself checks: lengths, order and signatures."""

from collections.abc import Sequence
from dataclasses import astuple, fields, replace

from fedfraud.errors import Invalid
from fedfraud.manifest import Manifest
from fedfraud.masking import Advertisement, Consent, Masked, Sealed, Share, Shares, Unmasking
from fedfraud.masking_keys import digest
from fedfraud.masking_parameters import Parameters, Roster, SeatKey
from fedfraud.model import RunState
from fedfraud.recipe import Recipe, WeightRule
from fedfraud.trade_wire import terms_from_proto
from fedfraud.v1 import federation_pb2, masking_pb2
from fedfraud.wire import round_key_from_proto, segments_from_proto

Answer = Advertisement | Shares | Consent | Unmasking
"""To a stage other than mask."""


def parameters_to_proto(parameters: Parameters) -> masking_pb2.MaskingParameters:
    """What the round's instruction does not say already."""
    return masking_pb2.MaskingParameters(
        federation_id=parameters.federation_id,
        roster_sha256=parameters.roster_sha256,
        cohort=parameters.cohort,
        word_count=parameters.word_count,
        fraction_bits=parameters.fraction_bits,
        clip=parameters.clip,
        weight_cap=parameters.weight_cap,
        minimum=parameters.minimum,
        holders=parameters.holders,
        threshold=parameters.threshold,
        task_sha256=parameters.task_sha256,
    )


def parameters_from_proto(instruction: federation_pb2.RoundInstruction) -> Parameters:
    """Of a masked round; every range is checked by Parameters."""
    key, told = round_key_from_proto(instruction.key), instruction.masking
    return Parameters(
        told.federation_id,
        key.run_id,
        key.round,
        key.attempt,
        instruction.model.model_sha256,
        told.task_sha256,
        told.roster_sha256,
        tuple(told.cohort),
        told.word_count,
        tuple(segment.value for segment in segments_from_proto(list(instruction.segments))),
        told.fraction_bits,
        told.clip,
        told.weight_cap,
        told.minimum,
        told.holders,
        told.threshold,
    )


def task_sha256(
    instruction: federation_pb2.RoundInstruction, manifest: Manifest, recipe: Recipe, run_state: RunState | None
) -> bytes:
    """What a bank is asked for, beyond the attempt: digest("task", the model's hash, the segments, canonical manifest
    JSON, the recipe's fields in order, seed, step, round count, final, retry, the run state's bytes or none), with the
    counters' hash at the end where features follow from counters, and after it the terms of the trade where they are
    told. `recipe` and `run_state` are the instruction's, read."""
    recipe = replace(recipe, clip=float(recipe.clip))
    state = run_state.to_bytes() if run_state is not None else b""
    hyperparameters = [getattr(recipe, field.name) for field in fields(recipe)]
    return digest(
        "task",
        instruction.model.model_sha256,
        tuple(segment.value for segment in segments_from_proto(list(instruction.segments))),
        manifest.canonical_json(),
        tuple(value.value if isinstance(value, WeightRule) else value for value in hyperparameters),
        instruction.seed,
        instruction.step,
        instruction.round_count,
        int(instruction.final),
        instruction.retry,
        state,
        *([instruction.counters_sha256] if instruction.counters_sha256 else []),
        *([astuple(terms_from_proto(instruction))] if instruction.HasField("trade_terms") else []),
    )


def roster_to_proto(roster: Roster) -> masking_pb2.Roster:
    """See Roster."""
    entries = [masking_pb2.SeatKey(seat=entry.seat, public_key=entry.public_key) for entry in roster.entries]
    return masking_pb2.Roster(entries=entries)


def roster_from_proto(roster: masking_pb2.Roster) -> Roster:
    """Order, lengths and that keys differ are checked."""
    return Roster(tuple(SeatKey(entry.seat, entry.public_key) for entry in roster.entries))


def advertisements_to_proto(told: Sequence[Advertisement]) -> list[masking_pb2.SeatAdvertisement]:
    """What stage share begins with."""
    return [masking_pb2.SeatAdvertisement(seat=one.seat, advertisement=_advertisement(one)) for one in told]


def advertisements_from_proto(told: Sequence[masking_pb2.SeatAdvertisement]) -> tuple[Advertisement, ...]:
    """See Advertisement."""
    return tuple(_advertised(one.seat, one.advertisement) for one in told)


def delivered_to_proto(told: Sequence[Sealed]) -> list[masking_pb2.DeliveredShares]:
    """What stage mask begins with, besides the seats that shared."""
    return [masking_pb2.DeliveredShares(dealer=one.dealer, sealed=_sealed(one)) for one in told]


def delivered_from_proto(told: Sequence[masking_pb2.DeliveredShares]) -> tuple[Sealed, ...]:
    """See Sealed."""
    return tuple(_unsealed(one.dealer, one.sealed) for one in told)


def masked_to_proto(told: Sequence[Masked]) -> list[masking_pb2.SeatMasked]:
    """For stage consent."""
    return [
        masking_pb2.SeatMasked(seat=one.seat, vector_sha256=one.vector_sha256, signature=one.signature) for one in told
    ]


def masked_from_proto(told: Sequence[masking_pb2.SeatMasked]) -> tuple[Masked, ...]:
    """What `masked_to_proto` gave."""
    return tuple(Masked(one.seat, one.vector_sha256, one.signature) for one in told)


def consents_to_proto(told: Sequence[Consent]) -> list[masking_pb2.SeatConsent]:
    """What stage unmask begins with."""
    return [masking_pb2.SeatConsent(seat=one.seat, consent=_consent(one)) for one in told]


def consents_from_proto(told: Sequence[masking_pb2.SeatConsent]) -> tuple[Consent, ...]:
    """See Consent."""
    return tuple(Consent(one.seat, one.consent.signature) for one in told)


def answer_to_proto(answer: Answer) -> masking_pb2.StageAnswer:
    """The one that it is, without its seat: that is the certificate's to say."""
    match answer:
        case Advertisement():
            return masking_pb2.StageAnswer(advertisement=_advertisement(answer))
        case Shares():
            sealed = [_sealed(one) for one in answer.sealed]
            return masking_pb2.StageAnswer(shares=masking_pb2.DealtShares(sealed=sealed, signature=answer.signature))
        case Consent():
            return masking_pb2.StageAnswer(consent=_consent(answer))
        case Unmasking():
            released = masking_pb2.Unmasking(
                seed_shares=[masking_pb2.ReleasedShare(dealer=one.seat, share=one.share) for one in answer.seed_shares],
                secret_shares=[
                    masking_pb2.ReleasedShare(dealer=one.seat, share=one.share) for one in answer.secret_shares
                ],
                signature=answer.signature,
            )
            return masking_pb2.StageAnswer(unmasking=released)


def answer_from_proto(answer: masking_pb2.StageAnswer, seat: str) -> Answer:
    """The one that it is, of this seat; none, and a refusal to take part, are not answers."""
    match answer.WhichOneof("answer"):
        case "advertisement":
            return _advertised(seat, answer.advertisement)
        case "shares":
            dealt = answer.shares
            return Shares(seat, tuple(_unsealed(seat, one) for one in dealt.sealed), dealt.signature)
        case "consent":
            return Consent(seat, answer.consent.signature)
        case "unmasking":
            told = answer.unmasking
            seeds = tuple(Share(one.dealer, one.share) for one in told.seed_shares)
            secrets = tuple(Share(one.dealer, one.share) for one in told.secret_shares)
            return Unmasking(seat, seeds, secrets, told.signature)
        case other:
            raise Invalid(f"an answer to a stage must be one of the four, got {other or 'nothing'}")


def _advertisement(told: Advertisement) -> masking_pb2.Advertisement:
    return masking_pb2.Advertisement(
        share_key=told.share_key, mask_key=told.mask_key, seed_sha256=told.seed_sha256, signature=told.signature
    )


def _advertised(seat: str, told: masking_pb2.Advertisement) -> Advertisement:
    return Advertisement(seat, told.share_key, told.mask_key, told.seed_sha256, told.signature)


def _sealed(told: Sealed) -> masking_pb2.SealedShares:
    return masking_pb2.SealedShares(
        holder=told.holder,
        ciphertext=told.ciphertext,
        seed_share_sha256=told.seed_share_sha256,
        secret_share_sha256=told.secret_share_sha256,
    )


def _unsealed(dealer: str, told: masking_pb2.SealedShares) -> Sealed:
    return Sealed(dealer, told.holder, told.ciphertext, told.seed_share_sha256, told.secret_share_sha256)


def _consent(told: Consent) -> masking_pb2.Consent:
    return masking_pb2.Consent(signature=told.signature)
