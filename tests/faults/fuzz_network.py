"""Banks, an operator and a reporter around one aggregator: what a fuzzer speaks as, and those who answer well."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message

from fedfraud import fixed_point
from fedfraud.channel import KeyPair
from fedfraud.fixed_point import Words
from fedfraud.identity import Identity, Role, certificate_request, key_pem, new_key, prove_signing_key
from fedfraud.layout import Layout
from fedfraud.packing import Packing
from fedfraud.v1 import enrolment_pb2, federation_pb2, history_pb2, model_pb2, operation_pb2
from fedfraud.wire import (
    PROTOCOL_VERSION,
    RoundKey,
    disclosure_from_proto,
    manifest_from_proto,
    recipe_from_proto,
    round_key_from_proto,
    segments_from_proto,
)
from tests.faults.fuzz_messages import rpcs
from tests.faults.fuzz_transport import OK, Stream, Transport
from tests.federation import journals
from tests.federation.hands import Upload, good_upload, soon
from tests.fedfraud.certificates import SmallCa, uri

MEMBERS, ROUNDS, MAX_SEATS, MOST_REFUSALS = 6, 2, 12, 20
SETTINGS: dict[str, object] = {
    "aggregation": "plain",
    "expected_banks": MEMBERS,
    "quorum": MEMBERS,
    "rounds": ROUNDS,
    "max_seats": MAX_SEATS,
    "round_deadline": 3600.0,  # no round ends but by its answers
    "lapse_after": 3600.0,
}


@dataclass
class Peer:
    """Somebody who calls; without a role nobody that the federation knows."""

    name: str
    own: KeyPair | None
    role: Role | None
    seat: str = ""


class Network:
    """Six members that stay, a guest that comes and goes, a victim that may be revoked, an operator, a reporter."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.data_dir: Path = transport.running.settings.data_dir
        self.rpcs = {rpc.name: rpc for rpc in rpcs()}
        self.peers: dict[str, Peer] = {}
        self.keys: dict[bytes, ec.EllipticCurvePrivateKey] = {}
        """By the certificate request that shows it."""
        self.bodies: dict[bytes, bytes] = {}
        """Contributions that were sent whole, by hash."""
        self.instruction: federation_pb2.RoundInstruction | None = None
        """The open round's; None while no run is going on."""
        self.opened = history_pb2.RoundOpened()
        self.accepted: dict[str, history_pb2.ContributionAccepted] = {}
        self.former: dict[str, history_pb2.ContributionAccepted] = {}
        """Of the round before: their receipts are given again."""
        self.refused: Counter[str] = Counter()
        """Refusals that the journal has of the open round, by seat."""
        self.leases: Counter[str] = Counter()
        self.head = 0
        """The last journal entry that was looked at."""
        self._welcomes: dict[str, federation_pb2.Welcome] = {}
        self._streams: dict[str, Stream] = {}

    async def assemble(self) -> None:
        """Everybody enrols, the members join."""
        banks = [*(f"member-{number}" for number in range(1, MEMBERS + 1)), "guest", "victim"]
        for name in banks:
            await self._enrol(name, Role.BANK)
        await self._enrol("operator", Role.OPERATOR)
        await self._enrol("reporter", Role.REPORTER)
        self.peers["nobody"] = Peer("nobody", None, None)
        foreign = SmallCa().pair(uri(Identity(Role.BANK, "bank-01").uri))
        self.peers["stranger"] = Peer("stranger", foreign, None)
        garbled = KeyPair(b"", b"-----BEGIN CERTIFICATE-----\nAAAA")
        self.peers["garbled"] = Peer("garbled", garbled, None)
        for member in self.members:
            request = federation_pb2.ParticipateRequest(protocol_version=PROTOCOL_VERSION).SerializeToString()
            self._streams[member.seat] = self.transport.listen(self.rpcs["Participate"], member.own, [request])
            self._welcomes[member.seat] = (await self._heard(member)).welcome
        self.look()

    @property
    def members(self) -> list[Peer]:
        """The banks that are there all the time; every cohort is made of them."""
        return [self.peers[f"member-{number}"] for number in range(1, MEMBERS + 1)]

    def look(self) -> list[history_pb2.Entry]:
        """The journal's new entries, each once; what they say is noted."""
        entries = journals.entries(self.data_dir, self.head)
        for entry in entries:
            self._note(entry)
        return entries

    async def start(self) -> None:
        """The operator starts a run."""
        request = operation_pb2.StartRunRequest(round_count=ROUNDS, recipe="default")
        await self.ask("StartRun", self.peers["operator"], request)
        await self.hear()

    async def hear(self) -> None:
        """What the members are told next: the round that has opened, or that the run is over."""
        said = [await self._heard(member) for member in self.members]
        assert len({message.WhichOneof("message") for message in said}) == 1
        self.instruction = said[0].round if said[0].WhichOneof("message") == "round" else None
        self.look()

    async def answer(self) -> None:
        """Whoever is awaited contributes well; then the round's sum must be exactly what was accepted."""
        assert self.instruction is not None
        opened, accepted, segments = self.opened, self.accepted, self.instruction.segments
        layout = Layout(
            segments_from_proto(list(segments)),
            manifest_from_proto(self._welcomes[self.members[0].seat].manifest),
            recipe_from_proto(self.instruction.recipe),
        )
        peers = {peer.seat: peer for peer in self.peers.values() if peer.role is Role.BANK}
        for seat in sorted(set(opened.cohort) - accepted.keys()):
            upload = self.upload(seat)
            await self.ask("SubmitContribution", peers[seat], *upload.messages)
            self.look()
        assert accepted.keys() == set(opened.cohort)
        packing = Packing(layout)
        words = [packing.unpack(self.bodies[one.vector_sha256]) for one in accepted.values()]
        for one in words:
            layout.check(one)
        await self.hear()
        self._check_sum(round_key_from_proto(opened.key), sorted(accepted), words)
        self.bodies.clear()

    def upload(self, seat: str) -> Upload:
        """A good contribution of the seat to the open round, under its newest lease."""
        assert self.instruction is not None
        welcome = federation_pb2.Welcome()
        welcome.CopyFrom(self._welcomes[self.members[0].seat])
        welcome.fencing_number = self.leases[seat]
        upload = good_upload(welcome, self.instruction, 0.5, int(seat.removeprefix("bank-")))
        self.bodies[upload.vector_sha256] = upload.data
        return upload

    def check_receipt(
        self, who: Peer, header: federation_pb2.ContributionHeader, receipt: federation_pb2.Receipt, *, new: bool
    ) -> None:
        """It is signed and of what was sent, to the open round or again to the one before; and what is new answers the
        open round, under the newest lease."""
        checked = self.transport.running.checked(receipt)
        assert (checked.seat, checked.vector_sha256) == (who.seat, header.vector_sha256)
        key = round_key_from_proto(header.key)
        assert checked.key == key
        accepted = self.accepted if key == round_key_from_proto(self.opened.key) else self.former
        assert round_key_from_proto(accepted[who.seat].key) == key
        assert accepted[who.seat].vector_sha256 == header.vector_sha256
        if new:
            assert accepted is self.accepted
            assert who.seat in self.opened.cohort
            assert header.fencing_number == self.leases[who.seat]
            assert header.model_sha256 == self.opened.model_sha256

    def request_of(self, key: ec.EllipticCurvePrivateKey) -> bytes:
        """A certificate request that shows this key; it is known from here."""
        request = certificate_request(key)
        self.keys[request] = key
        return request

    def enrolled(self, request: enrolment_pb2.EnrolRequest, response: enrolment_pb2.EnrolResponse) -> None:
        """A fuzzer enrolled; as reporter it took the place of the former one."""
        if response.role == model_pb2.ROLE_REPORTER:
            self.peers["former reporter"] = Peer("former reporter", self.peers["reporter"].own, None)
            own = KeyPair(key_pem(self.keys[request.certificate_request]), response.certificate_pem)
            self.peers["reporter"] = Peer("reporter", own, Role.REPORTER)

    async def ask(self, name: str, who: Peer | None, *messages: Message) -> bytes:
        """A call that must succeed."""
        answer = await self.transport.ask(
            self.rpcs[name], who.own if who else None, [m.SerializeToString() for m in messages]
        )
        assert answer.status is OK, (name, who, answer)
        return answer.response

    async def close(self) -> None:
        """The members leave."""
        for stream in self._streams.values():
            await stream.close()

    async def _enrol(self, name: str, role: Role) -> None:
        key, join = new_key(), self.transport.running.join(role.value)
        request = enrolment_pb2.EnrolRequest(token=join.token, certificate_request=self.request_of(key))
        if role is Role.BANK:
            signing = Ed25519PrivateKey.generate()
            request.signing_key = signing.public_key().public_bytes_raw()
            request.signing_key_proof = prove_signing_key(signing, request.certificate_request)
        response = enrolment_pb2.EnrolResponse.FromString(await self.ask("Enrol", None, request))
        self.peers[name] = Peer(name, KeyPair(key_pem(key), response.certificate_pem), role, response.seat)

    async def _heard(self, member: Peer) -> federation_pb2.ParticipateResponse:
        data = await soon(self._streams[member.seat].read())
        assert data is not None, await self._streams[member.seat].close()
        return federation_pb2.ParticipateResponse.FromString(data)

    def _note(self, entry: history_pb2.Entry) -> None:
        self.head = entry.sequence
        event: Any = getattr(entry, str(entry.WhichOneof("event")))
        match entry.WhichOneof("event"):
            case "lease_granted":
                self.leases[event.seat] = event.fencing_number
            case "round_opened":
                self.former = self.accepted
                self.opened, self.accepted, self.refused = event, {}, Counter()
            case "contribution_accepted":
                assert event.seat not in self.accepted, "a seat counts once a round"
                self.accepted[event.seat] = event
                disclosure_from_proto(event.disclosure)  # refuses what is out of its range
            case "contribution_refused":
                self.refused[event.seat] += 1
                assert self.refused[event.seat] <= MOST_REFUSALS, "refusals cannot fill the journal"
            case "certificate_revoked":
                for peer in self.peers.values():
                    if event.seat and peer.seat == event.seat:
                        peer.role = None

    def _check_sum(self, key: RoundKey, seats: list[str], words: list[Words]) -> None:
        expected = fixed_point.to_bytes(np.sum(words, axis=0, dtype=np.uint64))
        path = self.data_dir / "vectors" / key.run_id / f"{key.round:05d}-{key.attempt}.sum.u64"
        assert path.read_bytes() == expected, "the sum is of what was accepted, exactly"
        events = journals.events(self.data_dir, "round_committed")
        (committed,) = [event for event in events if round_key_from_proto(event.key) == key]
        assert (committed.sum_sha256, list(committed.seats)) == (hashlib.sha256(expected).digest(), seats)
