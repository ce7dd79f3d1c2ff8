"""A masked attempt as the journal's entries tell it: the same for the aggregator that goes on with it after a restart,
for whoever verifies its folder, and for a bank that adds up the sum again."""

from collections.abc import Callable, Mapping, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fedfraud.errors import Invalid
from fedfraud.fixed_point import FRACTION_BITS, WEIGHT_CAP, Words
from fedfraud.layout import Layout
from fedfraud.manifest import Manifest
from fedfraud.masking import Advertisement, Consent, Masked, Shares
from fedfraud.masking_parameters import Parameters, Roster
from fedfraud.masking_sum import MaskedSum, Stage
from fedfraud.masking_wire import Answer, answer_from_proto
from fedfraud.recipe import Recipe
from fedfraud.thresholds import sizes
from fedfraud.trade import USUAL_TERMS, TradeTerms
from fedfraud.v1 import history_pb2, masking_pb2
from fedfraud.wire import round_key_from_proto, segments_from_proto

StageEvent = history_pb2.StageAnswered | history_pb2.ContributionAccepted | history_pb2.StageClosed
"""What brings an attempt on, in the journal's order."""

STAGES = {
    Stage.ADVERTISE: masking_pb2.MASKING_STAGE_ADVERTISE,
    Stage.SHARE: masking_pb2.MASKING_STAGE_SHARE,
    Stage.MASK: masking_pb2.MASKING_STAGE_MASK,
    Stage.CONSENT: masking_pb2.MASKING_STAGE_CONSENT,
    Stage.UNMASK: masking_pb2.MASKING_STAGE_UNMASK,
}


def federation_id(ca_pem: bytes) -> bytes:
    """SHA-256 of the CA's certificate (DER): what the federation is called in every signature."""
    return x509.load_pem_x509_certificate(ca_pem).fingerprint(hashes.SHA256())


def begun(
    opened: history_pb2.RoundOpened,
    manifest: Manifest,
    recipe: Recipe,
    signing_keys: Mapping[str, bytes],
    federation: bytes,
    terms: TradeTerms = USUAL_TERMS,
) -> MaskedSum:
    """The attempt that a round opened, before any answer; `signing_keys` by seat, in the order of enrolment.

    Its minimum is the larger of the quorum and the least that an opening may have.
    """
    layout = Layout(segments_from_proto(list(opened.segments)), manifest, recipe, terms)
    roster = Roster.of(dict(list(signing_keys.items())[: opened.roster_size]))
    size, key = sizes(len(opened.cohort)), round_key_from_proto(opened.key)
    parameters = Parameters(
        federation,
        key.run_id,
        key.round,
        key.attempt,
        opened.model_sha256,
        opened.task_sha256,
        roster.sha256,
        tuple(sorted(opened.cohort)),
        layout.length,
        tuple(segment.value for segment in layout.codecs),
        FRACTION_BITS,
        recipe.clip,
        WEIGHT_CAP,
        max(opened.quorum, size.quorum),
        size.holders,
        size.threshold,
    )
    return MaskedSum(parameters, roster)


def take(attempt: MaskedSum, answer: Answer) -> bool:
    """Counts an answer; False for the very same again."""
    match answer:
        case Advertisement():
            return attempt.advertise(answer)
        case Shares():
            return attempt.share(answer)
        case Consent():
            return attempt.consent(answer)
        case _:
            return attempt.unmask(answer)


def replay(attempt: MaskedSum, events: Sequence[StageEvent], words: Callable[[str], Words]) -> dict[str, str]:
    """Brings a fresh attempt to where the journal says that it stands, checking every signature again; `words` gives a
    seat's masked words. Returns the seats that sit it out, and why."""
    declined, stages = {}, {number: stage for stage, number in STAGES.items()}
    for event in events:
        match event:
            case history_pb2.StageAnswered() if event.answer.WhichOneof("answer") == "declined":
                declined[event.seat] = decline_reason(event.answer.declined)
            case history_pb2.StageAnswered():
                take(attempt, answer_from_proto(event.answer, event.seat))
            case history_pb2.ContributionAccepted():
                told = Masked(event.seat, event.vector_sha256, event.masked_signature)
                attempt.mask(told, words(event.seat))
            case history_pb2.StageClosed():
                if stages.get(event.stage) is not attempt.stage:
                    raise Invalid(f"a stage must close in its turn, {attempt.stage.name.lower()}, got {event.stage}")
                attempt.close()
    return declined


def decline_reason(declined: masking_pb2.Declined) -> str:
    """In words."""
    known = declined.reason in masking_pb2.DeclineReason.values()
    name = masking_pb2.DeclineReason.Name(declined.reason) if known else "unknown"
    return name.removeprefix("DECLINE_REASON_").lower().replace("_", " ")
