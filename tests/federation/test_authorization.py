"""Who may do what: every rpc for every role; certificates missing, foreign, expired, revoked and renewed."""

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message

import fedfraud.v1
from fedfraud.channel import KeyPair, enrolment_channel
from fedfraud.identity import Identity, Role, key_pem, new_key, read_credential
from fedfraud.v1 import (
    enrolment_pb2,
    federation_pb2,
    history_pb2,
    history_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
    scoring_pb2,
)
from fedfraud.wire import PROTOCOL_VERSION
from services.aggregator.authority import Authority
from tests.federation.hands import DEADLINE, Aggregator, HandBank, Request, aggregator, end_of, pair, soon
from tests.fedfraud.certificates import SmallCa, uri

OK = grpc.StatusCode.OK
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
NO_HANDSHAKE = grpc.StatusCode.UNAVAILABLE
UNKNOWN = grpc.StatusCode.UNIMPLEMENTED
STALE = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
TWO_SECONDS = 2 / 3600
"""A certificate's lifetime in hours; a certificate counts whole seconds."""


class Rpc(NamedTuple):
    """Who may call it, what they send, and what they hear on an idle network."""

    roles: set[str]
    request: Message
    status: grpc.StatusCode


KINDS = {False: "unary", True: "stream"}
BANK, REPORTER, OPERATOR = {"bank"}, {"reporter"}, {"operator"}
MUTUAL = {
    "FederationService/Participate": Rpc(
        BANK, federation_pb2.ParticipateRequest(protocol_version=PROTOCOL_VERSION), OK
    ),
    "FederationService/GetVector": Rpc(BANK, federation_pb2.GetVectorRequest(vector_sha256=bytes(32)), NOT_FOUND),
    "FederationService/SubmitContribution": Rpc(
        BANK, Request(header=federation_pb2.ContributionHeader(fencing_number=0)), STALE
    ),
    "FederationService/AnswerStage": Rpc(BANK, federation_pb2.AnswerStageRequest(), STALE),
    "FederationService/RenewCertificate": Rpc(BANK, federation_pb2.RenewCertificateRequest(), INVALID),
    "HistoryService/WatchHistory": Rpc(REPORTER | OPERATOR, history_pb2.WatchHistoryRequest(), OK),
    "HistoryService/GetModel": Rpc(REPORTER, history_pb2.GetModelRequest(run_id="unknown"), NOT_FOUND),
    "OperationService/StartRun": Rpc(OPERATOR, operation_pb2.StartRunRequest(recipe="unknown"), INVALID),
    "OperationService/StopRun": Rpc(OPERATOR, operation_pb2.StopRunRequest(), STALE),
    "OperationService/GetStatus": Rpc(OPERATOR, operation_pb2.GetStatusRequest(), OK),
    "OperationService/ListSeats": Rpc(OPERATOR, operation_pb2.ListSeatsRequest(), OK),
    "OperationService/LapseSeat": Rpc(OPERATOR, operation_pb2.LapseSeatRequest(seat="bank-99"), NOT_FOUND),
    "OperationService/RevokeSeat": Rpc(OPERATOR, operation_pb2.RevokeSeatRequest(seat="bank-99"), NOT_FOUND),
}
ENROL = "EnrolmentService/Enrol"
SCORE = "ScoringService/Score"
"""On a bank's own Unix socket, which no role has a say in."""


def methods() -> dict[str, MethodDescriptor]:
    """Every rpc that the protos declare."""
    found: dict[str, MethodDescriptor] = {}
    for module in pkgutil.iter_modules(fedfraud.v1.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"fedfraud.v1.{module.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                found |= {f"{service.name}/{name}": method for name, method in service.methods_by_name.items()}
    return found


async def call(channel: grpc.aio.Channel, name: str, request: Message) -> tuple[grpc.StatusCode, str]:
    """The status and sentence of one call, OK once a stream has begun."""
    method, data = methods()[name], request.SerializeToString()
    # Of bytes, as no serializer is given: the stubs' types do not know of that.
    make: Any = getattr(channel, f"{KINDS[method.client_streaming]}_{KINDS[method.server_streaming]}")
    rpc = make(f"/fedfraud.v1.{name}")
    try:
        if method.server_streaming:
            streaming = rpc(data, timeout=DEADLINE)
            assert await streaming.read() is not grpc.aio.EOF
            streaming.cancel()
        elif method.client_streaming:
            await rpc(iter([data]), timeout=DEADLINE)
        else:
            await rpc(data, timeout=DEADLINE)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return OK, ""


def server_pair(running: Aggregator) -> KeyPair:
    """What the aggregator shows its callers: of the same CA, for servers only."""
    authority = Authority(running.settings.data_dir / "authority")
    return authority.server_key_pair(["127.0.0.1"], timedelta(hours=1))()


@asynccontextmanager
async def everybody(home: Path) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    """A channel to the mutual port for each caller there is."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(aggregator(home))
        pairs = {role: (await running.enrol(role))[1] for role in ("bank", "reporter", "operator")}
        pairs["the aggregator"] = server_pair(running)
        yield {who: await stack.enter_async_context(running.channel(own)) for who, own in pairs.items()}


def test_the_tables_name_every_rpc_there_is() -> None:
    assert methods().keys() == {*MUTUAL, ENROL, SCORE}


@pytest.mark.parametrize("name", MUTUAL)
async def test_an_rpc_answers_its_roles_and_denies_all_others(tmp_path: Path, name: str) -> None:
    rpc = MUTUAL[name]
    async with everybody(tmp_path) as channels:
        heard = {who: (await call(channel, name, rpc.request))[0] for who, channel in channels.items()}
    roles = {role: rpc.status if role in rpc.roles else DENIED for role in ("bank", "reporter", "operator")}
    assert heard == {**roles, "the aggregator": NO_HANDSHAKE}


@pytest.mark.parametrize("version", [0, PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1])
async def test_a_bank_of_another_protocol_version_is_told_both(tmp_path: Path, version: int) -> None:
    request = federation_pb2.ParticipateRequest(protocol_version=version)
    async with aggregator(tmp_path) as running, running.bank() as bank:
        status, sentence = await end_of(bank.stub.Participate(request, timeout=DEADLINE))
    assert (status, sentence) == (STALE, f"the protocol version must be {PROTOCOL_VERSION}, got {version}")


async def test_the_mutual_port_knows_neither_enrolment_nor_scoring(tmp_path: Path) -> None:
    async with everybody(tmp_path) as channels:
        for who in ("bank", "reporter", "operator"):
            assert (await call(channels[who], ENROL, enrolment_pb2.EnrolRequest()))[0] is UNKNOWN
            assert (await call(channels[who], SCORE, scoring_pb2.ScoreRequest()))[0] is UNKNOWN


async def test_the_enrolment_port_knows_nothing_else(tmp_path: Path) -> None:
    async with (
        aggregator(tmp_path) as running,
        enrolment_channel(running.enrolment_address, running.join().ca_pem) as channel,
    ):
        heard = {name: (await call(channel, name, rpc.request))[0] for name, rpc in MUTUAL.items()}
        assert heard == dict.fromkeys(MUTUAL, UNKNOWN)
        assert (await call(channel, ENROL, enrolment_pb2.EnrolRequest()))[0] is UNAUTHENTICATED


def fields(message: Descriptor) -> Iterator[str]:
    """The names of all fields in the message and below it."""
    for field in message.fields:
        yield field.name
        if field.message_type is not None:
            yield from fields(field.message_type)


def test_nothing_that_a_bank_sends_names_a_seat_or_a_bank() -> None:
    sent = {
        name: set(fields(method.input_type))
        for name, method in methods().items()
        if name.startswith("FederationService/")
    }
    assert len(sent) == 5
    assert all(not field.startswith(("seat", "bank")) for names in sent.values() for field in names)


async def test_a_caller_without_a_certificate_or_of_another_ca_is_refused(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        await running.enrol()
        stranger = SmallCa().pair(uri("spiffe://fedfraud/bank/bank-01"))
        rpc = MUTUAL["FederationService/GetVector"]
        for channel in (enrolment_channel(running.address, running.join().ca_pem), running.channel(stranger)):
            async with channel:
                assert (await call(channel, "FederationService/GetVector", rpc.request))[0] is NO_HANDSHAKE


async def test_a_certificate_that_was_not_journalled_is_refused_whatever_it_says(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        await running.enrol()
        authority = Authority(running.settings.data_dir / "authority")
        for identity in (Identity(Role.BANK, "bank-01"), Identity(Role.OPERATOR), Identity(Role.AGGREGATOR)):
            key = new_key()
            own = KeyPair(key_pem(key), authority.issue(key.public_key(), identity, timedelta(hours=1)))
            async with running.channel(own) as channel:
                heard = {name: await call(channel, name, rpc.request) for name, rpc in MUTUAL.items()}
            assert {status for status, _ in heard.values()} == {UNAUTHENTICATED}
            fingerprint = read_credential(own.certificate_pem).fingerprint.hex()[:12]
            sentence = f"a certificate must be one that this federation issued, got {fingerprint}"
            assert {words for _, words in heard.values()} == {sentence}


async def test_a_certificate_that_expires_ends_its_streams_and_every_later_call(tmp_path: Path) -> None:
    short = {"bank_certificate_hours": TWO_SECONDS, "reporter_certificate_hours": TWO_SECONDS}
    async with aggregator(tmp_path, **short) as running, running.bank() as bank:
        _, reporter = await running.enrol("reporter")
        async with running.channel(reporter) as reporters:
            watching: Any = history_pb2_grpc.HistoryServiceStub(reporters).WatchHistory(
                history_pb2.WatchHistoryRequest(), timeout=DEADLINE
            )
            await bank.join()
            status, sentence = await bank.ended()
            assert status is UNAUTHENTICATED
            until = read_credential(bank.own.certificate_pem).expiry
            assert sentence == f"a certificate must not be expired: bank-01's ended {until:%Y-%m-%d %H:%M:%S} UTC"
            assert (await end_of(watching))[0] is UNAUTHENTICATED
            await running.enrol("operator")  # makes the aggregator forget what has expired
            for channel, name in (
                (bank.channel, "FederationService/GetVector"),
                (reporters, "HistoryService/WatchHistory"),
            ):
                status, sentence = await call(channel, name, MUTUAL[name].request)
                assert status is UNAUTHENTICATED
                assert "a certificate must not be expired" in sentence
        async with running.channel(bank.own) as again:
            name = "FederationService/GetVector"
            assert (await call(again, name, MUTUAL[name].request))[0] in {NO_HANDSHAKE, UNAUTHENTICATED}


@asynccontextmanager
async def operating(running: Aggregator) -> AsyncIterator["operation_pb2_grpc.OperationServiceAsyncStub"]:
    _, own = await running.enrol("operator")
    async with running.channel(own) as channel:
        yield operation_pb2_grpc.OperationServiceStub(channel)


async def revoke(running: Aggregator, seat: str) -> None:
    async with operating(running) as operator:
        await operator.RevokeSeat(operation_pb2.RevokeSeatRequest(seat=seat, reason="it was stolen"), timeout=DEADLINE)


async def test_a_revoked_seat_is_shut_out_at_once_and_for_good(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running, running.bank() as bank:
        await bank.join()
        renewed = await bank.renew()
        await revoke(running, "bank-01")
        fingerprint = read_credential(bank.own.certificate_pem).fingerprint.hex()[:12]
        sentence = f"a certificate must not be revoked: bank-01's {fingerprint} was (it was stolen)"
        assert await bank.ended() == (UNAUTHENTICATED, sentence)
        name = "FederationService/RenewCertificate"
        assert await call(bank.channel, name, MUTUAL[name].request) == (UNAUTHENTICATED, sentence)
        async with running.channel(renewed) as channel:  # every certificate of the seat, also one never used
            assert (await call(channel, name, MUTUAL[name].request))[0] is UNAUTHENTICATED


async def test_a_revoked_banks_key_gets_no_certificate_again(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        key = new_key()
        await running.enrol("bank", key)
        await revoke(running, "bank-01")
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await running.enrol("bank", key)
        assert refusal.value.code() is DENIED
        assert refusal.value.details() == "a seat must not be revoked, bank-01 is"
        assert (await running.enrol())[0].seat == "bank-02"


async def test_a_bank_that_is_revoked_while_it_uploads_is_refused_at_the_end(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        upload, begun, revoked = network.good()[1], asyncio.Event(), asyncio.Event()

        async def messages() -> AsyncIterator[Request]:
            yield upload.header
            begun.set()
            await revoked.wait()
            for chunk in upload.chunks:
                yield chunk

        uploading = asyncio.create_task(network.banks[1].submit(messages()))
        await soon(begun.wait())
        name = "FederationService/GetVector"
        assert (await call(network.banks[1].channel, name, MUTUAL[name].request))[0] is NOT_FOUND  # after the header
        await revoke(network.aggregator, "bank-02")
        revoked.set()
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await uploading
        assert told.value.code() is UNAUTHENTICATED
        assert network.aggregator.events("contribution_accepted") == []
        refusals = network.aggregator.events("contribution_refused")
        assert [refusal.status for refusal in refusals] == ["UNAUTHENTICATED"]


async def test_another_banks_certificate_acts_as_that_bank_alone(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        one, two = network.banks
        await one.submit(network.good()[1].messages)  # made for bank-02, sent by bank-01
        (accepted,) = network.aggregator.events("contribution_accepted")
        assert accepted.seat == "bank-01"
        async with network.aggregator.channel(two.own) as channel:
            thief = HandBank("bank-01", two.own, channel)
            assert (await thief.join()).seat == "bank-02"
            assert (await two.ended())[0] is grpc.StatusCode.ABORTED
        leases = [(event.seat, event.fencing_number) for event in network.aggregator.events("lease_granted")]
        assert leases == [("bank-01", 1), ("bank-02", 1), ("bank-02", 2)]


async def test_a_renewed_certificate_ends_the_former_when_it_takes_the_lease(tmp_path: Path) -> None:
    name = "FederationService/GetVector"
    async with aggregator(tmp_path) as running, running.bank() as bank:
        await bank.join()
        renewed = await bank.renew()
        assert (await call(bank.channel, name, MUTUAL[name].request))[0] is NOT_FOUND  # both count until then
        async with running.channel(renewed) as channel:
            assert (await call(channel, name, MUTUAL[name].request))[0] is NOT_FOUND
            successor = HandBank("bank-01", renewed, channel)
            assert (await successor.join()).fencing_number == 2
            status, sentence = await call(bank.channel, name, MUTUAL[name].request)
            assert status is UNAUTHENTICATED
            assert sentence.endswith("was (replaced by a newer one)")
            assert (await bank.ended())[0] in {UNAUTHENTICATED, grpc.StatusCode.ABORTED}
            assert (await call(channel, name, MUTUAL[name].request))[0] is NOT_FOUND
        assert [event.renewal for event in running.events("certificate_issued")] == [False, True]


async def test_a_bank_that_renews_again_and_again_is_refused(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running, running.bank() as bank:

        async def again_and_again() -> None:
            for _ in range(100):
                await bank.renew()

        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await again_and_again()
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.value.details() == "renewals of one seat must be at most 1 a second, got more; try again"
        assert 21 <= len(running.events("certificate_issued")) < 101


async def test_a_reporter_that_enrols_again_revokes_the_former(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        _, former = await running.enrol("reporter")
        async with running.channel(former) as channel:
            watching: Any = history_pb2_grpc.HistoryServiceStub(channel).WatchHistory(
                history_pb2.WatchHistoryRequest(), timeout=DEADLINE
            )
            _, present = await running.enrol("reporter")
            status, sentence = await end_of(watching)
            assert status is UNAUTHENTICATED
            assert sentence.endswith(" was (a newer reporter enrolled)")
        async with running.channel(present) as channel:
            name = "HistoryService/WatchHistory"
            assert (await call(channel, name, MUTUAL[name].request))[0] is OK


async def test_operators_work_side_by_side(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running, operating(running) as one, operating(running) as two:
        for operator in (one, two, one):
            assert (await operator.GetStatus(operation_pb2.GetStatusRequest(), timeout=DEADLINE)).present_count == 0
