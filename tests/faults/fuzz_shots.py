"""What a fuzzer sends next: an rpc, a caller, and messages between nearly right and mere bytes."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.protobuf.message import DecodeError, Message

from fedfraud.identity import Role, new_key
from fedfraud.v1 import federation_pb2, operation_pb2
from fedfraud.wire import PROTOCOL_VERSION
from services.aggregator.guard import allowed_roles
from tests.faults.fuzz_messages import Plausible, Rpc, message, mutated
from tests.faults.fuzz_network import Network, Peer
from tests.federation.hands import Request, Upload

_EXTREMES = (0, 1, -1, 2**63 - 1, -(2**63), 2**20, 2**20 + 1, 2**34, 2**34 + 1, 2**32, 3 * 4 * 2**24 + 1)
_SUBMISSIONS = 7
"""How much likelier a contribution is than any other rpc: most that can go wrong can go wrong there."""
_RUN_GOES_ON, _FAULTY, _WHOLE = 0.98, 0.97, 0.3
"""How often a run is not stopped, and a contribution not left as it should be: after those there is less to see."""


@dataclass(frozen=True)
class Shot:
    """One call."""

    rpc: Rpc
    who: Peer
    messages: Sequence[bytes]
    responses: int
    """How many are read before the caller hangs up."""

    def __str__(self) -> str:
        sent = " ".join(data[:300].hex() + ("…" if len(data) > 300 else "") or "-" for data in self.messages)
        return f"{self.rpc.path} as {self.who.name} with {len(self.messages)} messages: {sent}"


class Gun:
    """Draws shots at one network."""

    def __init__(self, network: Network, *, handshake: bool) -> None:
        """With a handshake nobody comes to the mutual port whose certificate the CA did not issue."""
        self._network = network
        self._rpcs = sorted(network.rpcs.values(), key=lambda rpc: rpc.path)
        self._weights = [_SUBMISSIONS if rpc.descriptor.client_streaming else 1 for rpc in self._rpcs]
        self._handshake = handshake
        self._requests = [
            *network.keys,
            network.request_of(new_key()),
            network.request_of(new_key()),
            *_strange_requests(),
        ]

    def shot(self, rng: Random) -> Shot:
        """The next one that does not spoil the rest."""
        while True:
            rpc = rng.choices(self._rpcs, self._weights)[0]
            who = self._caller(rpc, rng)
            messages = self._messages(rpc, who, rng)
            if not self._spoils(rpc, who, messages, rng):
                return Shot(rpc, who, messages, rng.choice((1, 1, 1, 1, 1, 1, 1, 2)))

    def _caller(self, rpc: Rpc, rng: Random) -> Peer:
        peers, roles = self._network.peers, allowed_roles(rpc.path)
        if not roles:  # the enrolment port asks for no certificate
            return peers["nobody"]
        fit = [peer for peer in peers.values() if peer.role in roles]
        if rpc.name == "Participate" and rng.random() < 0.7:  # the members have their leases
            fit = [peer for peer in fit if peer not in self._network.members]
        if rpc.name == "SubmitContribution" and rng.random() < 0.4:  # until the journal takes no more refusals of it
            return self._network.members[1]
        others = [peer for peer in peers.values() if peer.role not in roles]
        if self._handshake:
            others = [peer for peer in others if peer.name not in ("nobody", "stranger", "garbled")]
        return rng.choice(fit if rng.random() < 0.85 or not others else others)

    def _messages(self, rpc: Rpc, who: Peer, rng: Random) -> list[bytes]:
        plausible, wild = self._plausible(who), rng.choice((0.0, 0.1, 0.3, 1.0))
        count = rng.choice((0, 1, 2, 4)) if rpc.descriptor.client_streaming else 1
        network = self._network
        messages: list[Message]
        if rpc.name == "SubmitContribution" and network.instruction and who.seat and rng.random() < 0.75:
            messages = self._contribution(network.upload(who.seat), rng, plausible)
        else:
            messages = [message(rpc.request, rng, plausible, wild) for _ in range(count)]
        data = [one.SerializeToString() for one in messages]
        if data and rng.random() < 0.2:
            place = rng.randrange(len(data))
            data[place] = mutated(data[place], rng)
        return data

    def _contribution(self, upload: Upload, rng: Random, plausible: Plausible) -> list[Message]:
        """A good one with faults in its words, its header or its order; hardly ever without."""
        faults = rng.choice(("words", "words", "header", "order", "all")) if rng.random() < _FAULTY else ""
        if faults in ("words", "all"):
            upload = self._other_words(upload, rng)
        if faults in ("header", "all"):
            right = upload.header.header
            wild: Any = message(right.DESCRIPTOR, rng, plausible, 0.7)
            field = rng.choice([field.name for field in right.DESCRIPTOR.fields])
            upload = replace(upload, **{field: getattr(wild, field)})
        streamed: list[Message] = [upload.header, *self._pieces(upload.data, rng)]
        messages: list[Message] = [*upload.whole] if rng.random() < _WHOLE else streamed
        for _ in range(rng.choice((1, 1, 2)) if faults in ("order", "all") else 0):
            self._disorder(messages, rng, plausible)
        return messages

    def _other_words(self, upload: Upload, rng: Random) -> Upload:
        """Announced as they are: length and hash are right, the values or the number may be wrong."""
        data = bytearray(upload.data)
        for _ in range(rng.choice((1, 1, 5))):
            length = rng.choice((4, 8))
            start = length * rng.randrange(len(data) // length)
            data[start : start + length] = (rng.choice(_EXTREMES) % 2 ** (8 * length)).to_bytes(length, "little")
        upload = upload.sent_as(bytes(data[: rng.choice((None, None, None, -8, 8))]))
        upload = replace(upload, word_count=upload.word_count + rng.choice((0, 0, 0, -1, 1)))
        self._network.bodies[upload.vector_sha256] = upload.data
        return upload

    @staticmethod
    def _disorder(messages: list[Message], rng: Random, plausible: Plausible) -> None:
        place = rng.randrange(len(messages) + 1)
        match rng.randrange(5):
            case 0:
                messages.insert(place, message(Request.DESCRIPTOR, rng, plausible, 0.5))
            case 1:
                del messages[place : place + 1]
            case 2:
                messages[place:place] = messages[:2]
            case 3:
                messages.append(Request(chunk=rng.randbytes(rng.choice((0, 1, 8)))))
            case _:
                rng.shuffle(messages)

    @staticmethod
    def _pieces(data: bytes, rng: Random) -> list[Message]:
        edges = sorted({0, len(data), *(rng.randint(0, len(data)) for _ in range(rng.choice((0, 0, 1, 4))))})
        return [Request(chunk=data[start:end]) for start, end in itertools.pairwise(edges)]

    def _plausible(self, who: Peer) -> Plausible:
        network, running = self._network, self._network.transport.running
        key, lease = network.opened.key, network.leases[who.seat]
        values: dict[str, Sequence[Any]] = {
            "run_id": [key.run_id],
            "round": [key.round],
            "attempt": [1],
            "fencing_number": [lease],
            "model_sha256": [network.opened.model_sha256],
            "vector_sha256": [bytes(32)],
            "word_count": [1],
            "protocol_version": [PROTOCOL_VERSION],
            "receipt_sequence": [0],
            "receipt_head": [b""],
            "after_sequence": [0, network.head - 1, network.head],
            "token": [running.join(role).token for role in ("bank", "reporter", "operator")],
            "certificate_request": self._requests,
            "seat": [network.peers["victim"].seat, network.peers["guest"].seat, network.members[0].seat, "bank-77"],
            "reason": ["a reason"],
            "recipe": ["default", "tutorial"],
            "round_count": [0, 2],
            "seed": [0, 7],
            "row_count": [1000],
            **{name: [0.5] for name in ("fraud_rate", "alone", "federated", "alone_holdout", "federated_holdout")},
        }
        if network.instruction is not None:
            values["vector_sha256"] = [network.instruction.model.vector_sha256]
        return values

    def _spoils(self, rpc: Rpc, who: Peer, messages: Sequence[bytes], rng: Random) -> bool:
        """What would leave nothing to be fuzzed: members lose neither seat nor lease, one is awaited."""
        network = self._network
        try:
            match rpc.name:
                case "RevokeSeat":
                    seat = operation_pb2.RevokeSeatRequest.FromString(messages[0]).seat
                    return any(peer.seat == seat for peer in network.peers.values() if seat and peer.name != "victim")
                case "StopRun":
                    return who.role is Role.OPERATOR and network.instruction is not None and rng.random() < _RUN_GOES_ON
                case "SubmitContribution":
                    return who == network.members[0]  # so that the round stays open
                case "Participate":
                    request = federation_pb2.ParticipateRequest.FromString(messages[0])
                    return who in network.members and request.protocol_version == PROTOCOL_VERSION
        except DecodeError:
            pass
        return False


@cache
def _strange_requests() -> list[bytes]:
    """Certificate requests that are right but for their key, and one whose signature is another's."""
    made = []
    for key in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        made.append(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    return [*made, made[0][:-1] + bytes([made[0][-1] ^ 1])]
