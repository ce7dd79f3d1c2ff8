"""Channels and ports over real mutual TLS on loopback: who gets in, who is believed, and a key rotated in flight."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from cryptography import x509

from fedfraud.channel import (
    CHUNK_BYTES,
    KeyPair,
    bind_enrolment,
    bind_mutual,
    enrolment_channel,
    enrolment_server,
    mutual_channel,
    mutual_server,
)
from fedfraud.identity import read_credential
from tests.fedfraud.certificates import HOST, SmallCa, uri

DEADLINE = 5.0
BANK_03 = uri("spiffe://fedfraud/bank/bank-03")


class Mirror(grpc.GenericRpcHandler):
    """Answers every rpc with the caller's certificate and the length of what it sent."""

    def __init__(self) -> None:
        self.calls = 0

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def answer(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            self.calls += 1
            (certificate,) = context.auth_context().get("x509_pem_cert", [b""])
            return certificate + str(len(request)).encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@dataclass
class Port:
    """A server that is up, its CA, the key pair that it shows next, and what it heard."""

    ca: SmallCa
    own: KeyPair
    number: int = 0
    mirror: Mirror = field(default_factory=Mirror)

    @property
    def address(self) -> str:
        return f"localhost:{self.number}"


@pytest.fixture
async def mutual() -> AsyncIterator[Port]:
    ca = SmallCa()
    port = Port(ca, ca.pair(HOST))
    server = mutual_server([])
    server.add_generic_rpc_handlers((port.mirror,))
    port.number = bind_mutual(server, "127.0.0.1:0", ca.pem, lambda: port.own)
    await server.start()
    yield port
    await server.stop(grace=0)


@pytest.fixture
async def enrolment() -> AsyncIterator[Port]:
    ca = SmallCa()
    port = Port(ca, ca.pair(HOST))
    server = enrolment_server([])
    server.add_generic_rpc_handlers((port.mirror,))
    port.number = bind_enrolment(server, "127.0.0.1:0", lambda: port.own)
    await server.start()
    yield port
    await server.stop(grace=0)


async def ask(channel: grpc.aio.Channel, request: bytes = b"") -> bytes:
    async with channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Ask")
        answer: bytes = await call(request, timeout=DEADLINE)
        return answer


async def shown(port: Port) -> bytes:
    """The certificate, PEM, that the server shows in a new handshake."""
    trust = ssl.create_default_context(cadata=port.ca.pem.decode())
    _, writer = await asyncio.wait_for(asyncio.open_connection("localhost", port.number, ssl=trust), DEADLINE)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(der).encode()


async def test_the_server_sees_which_bank_calls(mutual: Port) -> None:
    bank = mutual.ca.pair(BANK_03)
    answer = await ask(mutual_channel(mutual.address, mutual.ca.pem, bank), b"four")
    assert answer == bank.certificate_pem + b"4"
    assert read_credential(answer.removesuffix(b"4")).identity.seat == "bank-03"


async def test_a_caller_without_a_certificate_is_refused(mutual: Port) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await ask(enrolment_channel(mutual.address, mutual.ca.pem))
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    assert mutual.mirror.calls == 0


async def test_a_caller_with_another_cas_certificate_is_refused(mutual: Port) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await ask(mutual_channel(mutual.address, mutual.ca.pem, SmallCa().pair(BANK_03)))
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    assert mutual.mirror.calls == 0


async def test_a_caller_with_a_certificate_but_another_key_is_refused(mutual: Port) -> None:
    theirs, mine = mutual.ca.pair(BANK_03), mutual.ca.pair(uri("spiffe://fedfraud/bank/bank-04"))
    with pytest.raises(grpc.aio.AioRpcError):
        await ask(mutual_channel(mutual.address, mutual.ca.pem, KeyPair(mine.key_pem, theirs.certificate_pem)))
    assert mutual.mirror.calls == 0


async def test_a_client_refuses_a_server_of_another_ca(mutual: Port) -> None:
    other = SmallCa()
    with pytest.raises(grpc.aio.AioRpcError, match="handshake failed"):
        await ask(mutual_channel(mutual.address, other.pem, other.pair(BANK_03)))
    assert mutual.mirror.calls == 0


@pytest.mark.parametrize("names", [(x509.DNSName("elsewhere"),), (BANK_03,), ()], ids=["other", "bank", "none"])
async def test_a_client_refuses_a_server_whose_certificate_does_not_name_the_host(
    mutual: Port, names: tuple[x509.GeneralName, ...]
) -> None:
    mutual.own = mutual.ca.pair(*names)
    with pytest.raises(grpc.aio.AioRpcError, match="Hostname Verification Check failed"):
        await ask(mutual_channel(mutual.address, mutual.ca.pem, mutual.ca.pair(BANK_03)))
    assert mutual.mirror.calls == 0


async def test_a_rotated_key_is_shown_at_the_next_handshake_and_open_connections_stay(mutual: Port) -> None:
    first, bank = mutual.own, mutual.ca.pair(BANK_03)
    async with mutual_channel(mutual.address, mutual.ca.pem, bank) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Ask")
        await call(b"", timeout=DEADLINE)
        assert await shown(mutual) == first.certificate_pem
        mutual.own = mutual.ca.pair(HOST)
        assert await shown(mutual) == mutual.own.certificate_pem != first.certificate_pem
        await call(b"", timeout=DEADLINE)
    await ask(mutual_channel(mutual.address, mutual.ca.pem, bank))
    assert mutual.mirror.calls == 3


async def test_a_key_that_is_the_same_is_not_given_to_grpc_again(mutual: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    given = 0

    def configuration(*arguments: Any) -> Any:  # noqa: ANN401  # as gRPC has them
        nonlocal given
        given += 1
        return real(*arguments)

    real, bank = grpc.ssl_server_certificate_configuration, mutual.ca.pair(BANK_03)
    monkeypatch.setattr(grpc, "ssl_server_certificate_configuration", configuration)
    for _ in range(3):
        await ask(mutual_channel(mutual.address, mutual.ca.pem, bank))
    assert given == 0
    mutual.own = mutual.ca.pair(HOST)
    for _ in range(3):
        await ask(mutual_channel(mutual.address, mutual.ca.pem, bank))
    assert given == 1


async def test_the_enrolment_port_takes_callers_without_a_certificate_and_rotates_too(enrolment: Port) -> None:
    assert await ask(enrolment_channel(enrolment.address, enrolment.ca.pem), b"four") == b"4"
    enrolment.own = enrolment.ca.pair(HOST)
    assert await shown(enrolment) == enrolment.own.certificate_pem


async def test_a_caller_refuses_an_enrolment_port_of_another_ca(enrolment: Port) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="handshake failed"):
        await ask(enrolment_channel(enrolment.address, SmallCa().pem))
    assert enrolment.mirror.calls == 0


async def test_a_chunk_passes_the_mutual_port_and_twice_as_much_does_not(mutual: Port) -> None:
    bank = mutual.ca.pair(BANK_03)
    answer = await ask(mutual_channel(mutual.address, mutual.ca.pem, bank), b"x" * CHUNK_BYTES)
    assert answer.endswith(str(CHUNK_BYTES).encode())
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await ask(mutual_channel(mutual.address, mutual.ca.pem, bank), b"x" * 2 * CHUNK_BYTES)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_enrolment_port_refuses_more_than_16_kib(enrolment: Port) -> None:
    assert await ask(enrolment_channel(enrolment.address, enrolment.ca.pem), b"x" * 16384) == b"16384"
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await ask(enrolment_channel(enrolment.address, enrolment.ca.pem), b"x" * 16385)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert enrolment.mirror.calls == 1
