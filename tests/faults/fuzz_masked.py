"""Fuzzed answers to every stage of masked rounds: all but a bank's own answer is refused, and the sum is exact.

The banks are the product's own masking code, driven by hand; before the last of them answers a stage the storm comes:
their messages with faults, at the wrong stage, again, in each other's name, and messages that are none of theirs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import DecodeError, Message

from fedfraud import fixed_point
from fedfraud.channel import KeyPair
from fedfraud.fixed_point import Words
from fedfraud.identity import certificate_request, key_pem, new_key, prove_signing_key
from fedfraud.layout import Layout
from fedfraud.masking_policy import Inputs
from fedfraud.masking_wire import answer_to_proto, parameters_from_proto, roster_from_proto, task_sha256
from fedfraud.v1 import enrolment_pb2, federation_pb2, history_pb2, masking_pb2
from fedfraud.wire import (
    PROTOCOL_VERSION,
    RoundKey,
    manifest_from_proto,
    recipe_from_proto,
    round_key_from_proto,
    run_state_from_proto,
    segments_from_proto,
)
from services.aggregator import averaging
from services.aggregator.verify import verify
from services.bank_client.attempts import Answer as Answered
from services.bank_client.attempts import Attempts
from services.bank_client.release import Released
from services.bank_client.settings import Settings as BankSettings
from tests.faults.campaign import Campaign
from tests.faults.fuzz import DESIGNED, HANGING_UP, attentive, check_memory
from tests.faults.fuzz_messages import Plausible, Rpc, message, mutated, rpcs
from tests.faults.fuzz_network import MOST_REFUSALS
from tests.faults.fuzz_transport import OK, Answer, Stream, Transport, indoors, over_the_wire
from tests.federation import journals
from tests.federation.hands import good_upload, header_of, soon

BANKS, ROUNDS, CALLS = 4, 2, 50
"""Calls before each of the five stages of each of the four rounds: a thousand a trial."""
TRIALS = 20
SETTINGS: dict[str, object] = {
    "aggregation": "secure",
    "autostart": True,
    "expected_banks": BANKS,
    "quorum": BANKS,
    "rounds": ROUNDS,
    "round_deadline": 3600.0,  # no stage ends but by its answers
    "stage_deadline": 3600.0,
    "retention_hours": 1.0,
}
_RPCS = {rpc.name: rpc for rpc in rpcs()}


@dataclass(frozen=True)
class Told:
    """What a bank says: one call of one rpc."""

    rpc: Rpc
    messages: Sequence[bytes]

    @property
    def word(self) -> Message:
        """What of it is the bank's word: an answer but for fields that nobody knows, or which words it masked for which
        round. Whatever else an upload has is looked at when it comes first."""
        if self.rpc.name == "AnswerStage":
            request = federation_pb2.AnswerStageRequest.FromString(self.messages[0])
            request.DiscardUnknownFields()
            return request
        header = header_of(federation_pb2.SubmitContributionRequest.FromString(self.messages[0]))
        return federation_pb2.ContributionHeader(
            key=header.key, fencing_number=header.fencing_number, vector_sha256=header.vector_sha256
        )


@dataclass
class Bank:
    """One that answers as it should; `said` is what it may say again in the open round, newest last."""

    own: KeyPair
    seat: str
    number: int
    attempts: Attempts
    stream: Stream
    welcome: federation_pb2.Welcome
    instruction: federation_pb2.RoundInstruction = field(default_factory=federation_pb2.RoundInstruction)
    words: dict[RoundKey, Words] = field(default_factory=dict)
    said: list[Told] = field(default_factory=list)
    former: list[Told] = field(default_factory=list)
    """What it said in the round before."""

    async def hear(self) -> federation_pb2.ParticipateResponse:
        """The next message of its stream."""
        data = await soon(self.stream.read())
        assert data is not None, await self.stream.close()
        return federation_pb2.ParticipateResponse.FromString(data)

    def answer(self, heard: federation_pb2.ParticipateResponse) -> Told:
        """What it says to that, once it is on its disk."""
        if heard.HasField("round"):
            self.instruction, self.former, self.said = heard.round, self.said, []
            parameters, roster = parameters_from_proto(heard.round), roster_from_proto(heard.round.roster)
            told = self._answered(self.attempts.advertise(parameters, roster, self._inputs()))
        elif heard.stage.stage == masking_pb2.MASKING_STAGE_MASK:
            told = self._contribution(heard.stage)
        else:
            told = self._answered(self.attempts.answer(heard.stage))
        self.said.append(told)
        return told

    def _answered(self, answer: Answered) -> Told:
        request = federation_pb2.AnswerStageRequest(
            key=self.instruction.key, fencing_number=self.welcome.fencing_number, answer=answer_to_proto(answer)
        )
        return Told(_RPCS["AnswerStage"], (request.SerializeToString(),))

    def _contribution(self, told: federation_pb2.StageInstruction) -> Told:
        upload, key = good_upload(self.welcome, self.instruction, 0.5, self.number), round_key_from_proto(told.key)
        self.words[key] = upload.words
        model_sha256, inputs_sha256 = self.instruction.model.model_sha256, self._inputs().sha256
        released = Released(key, model_sha256, inputs_sha256, upload.data, upload.word_count, None, "by hand")
        masked, lease = self.attempts.mask(told, released), self.welcome.fencing_number
        messages = (masked.whole(lease),) if self.number % 2 else tuple(masked.requests(lease, 1 << 14))
        return Told(_RPCS["SubmitContribution"], messages)

    def _inputs(self) -> Inputs:
        """Other figures in each round, as if the bank had trained."""
        manifest, recipe = manifest_from_proto(self.welcome.manifest), recipe_from_proto(self.instruction.recipe)
        segments = segments_from_proto(list(self.instruction.segments))
        layout = Layout(segments, manifest, recipe)
        known = self.instruction.HasField("run_state")
        state = run_state_from_proto(self.instruction.run_state, manifest) if known else None
        sources = tuple(sha256(f"{self.instruction.key}/{segment}".encode()).digest() for segment in segments)
        return Inputs(
            self.instruction.model.model_sha256,
            task_sha256(self.instruction, manifest, recipe, state),
            recipe.clip,
            tuple(segment.value for segment in segments),
            sources,
            bytes(32),
            layout.length,
        )


class Storm:
    """Calls that must be refused, but for what a bank has said or is about to say itself."""

    def __init__(self, transport: Transport, banks: Sequence[Bank], guest: Bank, rng: Random) -> None:
        self._transport = transport
        self._banks = banks
        self._guest = guest
        self._rng = rng
        self._head = 0
        self.statuses: Counter[str] = Counter()

    async def rage(self, calls: int) -> None:
        """So many calls at an open stage, each judged by its status and by what the journal has of it."""
        self._entries()
        for _ in range(calls):
            who = self._rng.choice((*self._banks[2:], self._guest))  # two of four end no stage
            told = self._shot(who)
            answer = await self._transport.ask(told.rpc, who.own, told.messages)
            self.statuses[answer.status.name] += 1
            self._judge(who, told, answer)

    def _judge(self, who: Bank, told: Told, answer: Answer) -> None:
        events = [str(entry.WhichOneof("event")) for entry in self._entries()]
        kinds = [kind for kind in events if kind != HANGING_UP]  # the guest's, whenever it is noticed
        if answer.status is OK:
            assert who is not self._guest
            if self._is_late(told):
                assert kinds == []
                return
            # The round before gives its receipts again: it may have closed before they came.
            repeated = [one for one in who.former if one.rpc.name == "SubmitContribution"]
            assert told.word in [one.word for one in (*who.said, *repeated)], f"{who.seat} never said {told}"
            assert kinds in ([], ["stage_answered"], ["contribution_accepted"]), kinds
        elif not answer.lost:
            assert answer.status in DESIGNED, f"{answer} to {told}"
            assert answer.sentence, f"a refusal must have a sentence, got none to {told}"
            assert kinds in ([], ["contribution_refused"]), kinds

    def _is_late(self, told: Told) -> bool:
        """Shares to the round before, which was opened without them: any are acknowledged, none are kept."""
        if told.rpc.name != "AnswerStage":
            return False
        request = federation_pb2.AnswerStageRequest.FromString(told.messages[0])
        return request.answer.HasField("unmasking") and request.key != self._banks[0].instruction.key

    def _entries(self) -> list[history_pb2.Entry]:
        """The journal's new ones."""
        entries = journals.entries(self._transport.running.settings.data_dir, self._head)
        self._head += len(entries)
        return entries

    def _shot(self, who: Bank) -> Told:
        """A call of `who`; no valid word that it sits the attempt out, which any bank may say."""
        while True:
            told = self._drawn(who)
            try:
                declines = any(
                    federation_pb2.AnswerStageRequest.FromString(data).answer.HasField("declined")
                    for data in told.messages
                    if told.rpc.name == "AnswerStage"
                )
            except DecodeError:
                declines = False
            if not declines or who is self._guest:
                return told

    def _drawn(self, who: Bank) -> Told:
        rng, own, all_said = self._rng, who.said, [told for bank in self._banks for told in bank.said]
        kind = rng.choice(("faulty", "faulty", "faulty", "of another", "again", "former", "wild"))
        if kind == "faulty" and own:
            return self._faulty(own[-1])
        if kind == "of another":
            return rng.choice(all_said)
        if kind == "again" and own:
            return rng.choice(own)
        if kind == "former" and (former := [told for bank in self._banks for told in bank.former]):
            return rng.choice(former)
        rpc = rng.choice((_RPCS["AnswerStage"], _RPCS["AnswerStage"], _RPCS["SubmitContribution"]))
        known: Plausible = {
            "run_id": [self._banks[0].instruction.key.run_id],
            "round": [self._banks[0].instruction.key.round],
            "attempt": [1],
            "fencing_number": [who.welcome.fencing_number],
            "holder": [bank.seat for bank in self._banks],
            "dealer": [bank.seat for bank in self._banks],
        }
        drawn = [message(rpc.request, rng, known, rng.choice((0.0, 0.1, 0.5))) for _ in range(rng.choice((1, 1, 2)))]
        return Told(
            rpc, tuple(one.SerializeToString() for one in drawn[: None if rpc.descriptor.client_streaming else 1])
        )

    def _faulty(self, told: Told) -> Told:
        """One of its messages with faults, or its words whole and others, or one message too many or too few."""
        rng, messages = self._rng, list(told.messages)
        place = rng.randrange(len(messages))
        match rng.choice(("bytes", "bytes", "field", "number")):
            case "bytes":
                messages[place] = mutated(messages[place], rng)
            case "field" if told.rpc.name == "AnswerStage":
                messages[place] = self._other_field(messages[place])
            case _ if len(messages) > 1:
                messages.insert(place, messages.pop(rng.randrange(len(messages))))
        return Told(told.rpc, tuple(messages))

    def _other_field(self, data: bytes) -> bytes:
        """An answer whose field is another bank's to the same stage, or has a flipped bit."""
        rng, request = self._rng, federation_pb2.AnswerStageRequest.FromString(data)
        answer = getattr(request.answer, str(request.answer.WhichOneof("answer")))
        field = rng.choice([field for field in answer.DESCRIPTOR.fields if field.type == field.TYPE_BYTES])
        value = bytearray(getattr(answer, field.name) or b"?")
        value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
        setattr(answer, field.name, bytes(value))
        return request.SerializeToString()


async def run(number: int, folder: Path) -> Counter[str]:
    """One trial, in this process or over the wire; returns how often each status was heard."""
    opener = over_the_wire if number % 2 else indoors
    async with attentive(), opener(folder / "aggregator", **SETTINGS) as transport:
        banks = [await _bank(transport, folder, place) for place in range(1, BANKS + 1)]
        heard = [await bank.hear() for bank in banks]
        guest = await _bank(transport, folder, BANKS + 1)
        await guest.stream.close()  # it has a lease, and is in no cohort
        storm = Storm(transport, banks, guest, Random(number))  # noqa: S311  # to be repeated, not to be secret
        while not heard[0].HasField("run_ended"):
            told = [bank.answer(one) for bank, one in zip(banks, heard, strict=True)]
            await storm.rage(CALLS)
            answers = [
                await transport.ask(one.rpc, bank.own, one.messages)
                for bank, one in reversed(list(zip(banks, told, strict=True)))
            ]
            unmasked = heard[0].stage.stage == masking_pb2.MASKING_STAGE_UNMASK  # three of four are enough for that
            assert all(answer.status is OK for answer in answers[: 3 if unmasked else BANKS]), answers
            heard = [await bank.hear() for bank in banks]
        for bank in banks:
            await bank.stream.close()
        data_dir = transport.running.settings.data_dir
    _check_sums(data_dir, banks)
    return storm.statuses


async def _bank(transport: Transport, folder: Path, number: int) -> Bank:
    """Enrols and joins."""
    key, signing, join = new_key(), Ed25519PrivateKey.generate(), transport.running.join()
    request = enrolment_pb2.EnrolRequest(
        token=join.token,
        certificate_request=certificate_request(key),
        signing_key=signing.public_key().public_bytes_raw(),
    )
    request.signing_key_proof = prove_signing_key(signing, request.certificate_request)
    answer = await transport.ask(_RPCS["Enrol"], None, [request.SerializeToString()])
    enrolled = enrolment_pb2.EnrolResponse.FromString(answer.response)
    own, home = KeyPair(key_pem(key), enrolled.certificate_pem), folder / enrolled.seat
    home.mkdir()
    attempts = Attempts(BankSettings(data_dir=home, aggregation="secure"), enrolled.seat, signing, join.ca_pem)
    hello = federation_pb2.ParticipateRequest(protocol_version=PROTOCOL_VERSION)
    stream = transport.listen(_RPCS["Participate"], own, [hello.SerializeToString()])
    bank = Bank(own, enrolled.seat, number, attempts, stream, federation_pb2.Welcome())
    bank.welcome = (await bank.hear()).welcome
    return bank


def _check_sums(data_dir: Path, banks: Sequence[Bank]) -> None:
    """Each round was committed at its first try with the exact sum of what the banks masked; `verify` agrees."""
    committed = journals.events(data_dir, "round_committed")
    assert [event.key.round for event in committed] == list(range(1, ROUNDS + 3))
    for event in committed:
        key = round_key_from_proto(event.key)
        total = averaging.exact_sum((bank.words[key] for bank in banks), len(banks[0].words[key]))
        assert event.sum_sha256 == sha256(fixed_point.to_bytes(total)).digest(), key
    refused = Counter(event.seat for event in journals.events(data_dir, "contribution_refused"))
    assert max(refused.values()) <= MOST_REFUSALS * len(committed), "refusals cannot fill the journal"
    found = verify(data_dir)
    assert not found.faults, found.text
    assert {depth.contributions for depth in found.rounds} == {"opened again"}


def trial(number: int, folder: Path) -> None:
    """A thousand calls."""
    uvloop.run(run(number, folder))
    check_memory("fuzz-masked")


CAMPAIGN = Campaign(
    "fuzz-masked",
    f"{TRIALS * 1000} fuzzed answers to the stages of masked rounds: only a bank's own word counts, sums exact",
    lambda: TRIALS,
    1,
    trial,
)
