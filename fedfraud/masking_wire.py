"""Secure aggregation's messages to values and back, in pairs as in wire.py; each `from_proto` gives values that the
protocol itself checks: lengths, order and signatures."""

from fedfraud.errors import Invalid
from fedfraud.masking import Advertisement, Consent, Sealed, Share, Shares, Unmasking
from fedfraud.masking_parameters import Parameters, Roster, SeatKey
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


def roster_to_proto(roster: Roster) -> masking_pb2.Roster:
    """See Roster."""
    entries = [masking_pb2.SeatKey(seat=entry.seat, public_key=entry.public_key) for entry in roster.entries]
    return masking_pb2.Roster(entries=entries)


def roster_from_proto(roster: masking_pb2.Roster) -> Roster:
    """Order, lengths and that keys differ are checked."""
    return Roster(tuple(SeatKey(entry.seat, entry.public_key) for entry in roster.entries))


def advertisement_to_proto(told: Advertisement) -> masking_pb2.Advertisement:
    """See Advertisement."""
    return masking_pb2.Advertisement(**vars(told))


def advertisement_from_proto(told: masking_pb2.Advertisement) -> Advertisement:
    """See Advertisement."""
    return Advertisement(told.seat, told.share_key, told.mask_key, told.seed_sha256, told.signature)


def sealed_to_proto(told: Sealed) -> masking_pb2.SealedShares:
    """See Sealed."""
    return masking_pb2.SealedShares(**vars(told))


def sealed_from_proto(told: masking_pb2.SealedShares) -> Sealed:
    """See Sealed."""
    return Sealed(told.dealer, told.holder, told.ciphertext, told.seed_share_sha256, told.secret_share_sha256)


def consent_to_proto(told: Consent) -> masking_pb2.Consent:
    """See Consent."""
    return masking_pb2.Consent(seat=told.seat, signature=told.signature)


def consent_from_proto(told: masking_pb2.Consent) -> Consent:
    """See Consent."""
    return Consent(told.seat, told.signature)


def answer_to_proto(answer: Answer) -> masking_pb2.StageAnswer:
    """The one that it is."""
    match answer:
        case Advertisement():
            return masking_pb2.StageAnswer(advertisement=advertisement_to_proto(answer))
        case Shares():
            sealed = [sealed_to_proto(one) for one in answer.sealed]
            dealt = masking_pb2.DealtShares(seat=answer.seat, sealed=sealed, signature=answer.signature)
            return masking_pb2.StageAnswer(shares=dealt)
        case Consent():
            return masking_pb2.StageAnswer(consent=consent_to_proto(answer))
        case Unmasking():
            released = masking_pb2.Unmasking(
                seat=answer.seat,
                seed_shares=[_share_to_proto(share) for share in answer.seed_shares],
                secret_shares=[_share_to_proto(share) for share in answer.secret_shares],
                signature=answer.signature,
            )
            return masking_pb2.StageAnswer(unmasking=released)


def answer_from_proto(answer: masking_pb2.StageAnswer) -> Answer:
    """The one that it is; none, and a refusal to take part, are not answers."""
    match answer.WhichOneof("answer"):
        case "advertisement":
            return advertisement_from_proto(answer.advertisement)
        case "shares":
            dealt = answer.shares
            return Shares(dealt.seat, tuple(sealed_from_proto(one) for one in dealt.sealed), dealt.signature)
        case "consent":
            return consent_from_proto(answer.consent)
        case "unmasking":
            told = answer.unmasking
            seeds = tuple(_share_from_proto(share) for share in told.seed_shares)
            secrets = tuple(_share_from_proto(share) for share in told.secret_shares)
            return Unmasking(told.seat, seeds, secrets, told.signature)
        case other:
            raise Invalid(f"an answer to a stage must be one of the four, got {other or 'nothing'}")


def _share_to_proto(told: Share) -> masking_pb2.ReleasedShare:
    return masking_pb2.ReleasedShare(seat=told.seat, share=told.share)


def _share_from_proto(told: masking_pb2.ReleasedShare) -> Share:
    return Share(told.seat, told.share)
