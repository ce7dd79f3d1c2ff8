"""The enrolment port: what a token and a request give, and what is refused there."""

import asyncio
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from fedfraud.channel import enrolment_channel
from fedfraud.identity import Role, certificate_request, new_key, prove_signing_key, read_credential
from fedfraud.v1 import enrolment_pb2, enrolment_pb2_grpc, model_pb2
from tests.federation.hands import DEADLINE, Aggregator, aggregator, soon

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


async def refused(running: Aggregator, token: str, request: bytes) -> tuple[grpc.StatusCode, str]:
    """What the enrolment port says against it; no certificate comes of it."""
    before = len(running.events("certificate_issued"))
    async with enrolment_channel(running.enrolment_address, running.join().ca_pem) as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        message = enrolment_pb2.EnrolRequest(token=token, certificate_request=request)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.Enrol(message, timeout=DEADLINE)
    assert len(running.events("certificate_issued")) == before
    return refusal.value.code(), refusal.value.details() or ""


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *names: x509.GeneralName) -> bytes:
    """A signing request that asks for these names."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


async def test_banks_get_seats_and_slots_from_one_and_a_role_is_its_tokens(tmp_path: Path) -> None:
    async with aggregator(tmp_path, population="tutorial", seed=5) as running:
        banks = [(await running.enrol())[0] for _ in range(3)]
        assert [(bank.seat, bank.slot) for bank in banks] == [("bank-01", 1), ("bank-02", 2), ("bank-03", 3)]
        assert {(bank.role, bank.population, bank.population_seed, bank.preset) for bank in banks} == {
            (model_pb2.ROLE_BANK, "tutorial", 5, "")
        }
        for role in ("reporter", "operator"):
            response, own = await running.enrol(role)
            assert (response.seat, response.slot, response.population) == ("", 0, "")
            assert read_credential(own.certificate_pem).identity.role is Role(role)


async def test_banks_that_enrol_at_once_get_one_seat_and_one_slot_each(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        answers = await asyncio.gather(*(running.enrol() for _ in range(8)))
    assert sorted(answer.seat for answer, _ in answers) == [f"bank-0{number}" for number in range(1, 9)]
    assert all(answer.slot == int(answer.seat[-2:]) for answer, _ in answers)


async def test_a_bank_is_told_how_the_population_is_dealt_out(tmp_path: Path) -> None:
    nowhere = tmp_path / "holdout.npz"  # cards have no hold-out: a file that is set for it is not looked for
    for set_, told in (("", "national"), ("skewed", "skewed")):
        async with aggregator(tmp_path / told, population="cards", preset=set_, holdout_file=nowhere) as running:
            response, _ = await running.enrol()
        assert (response.population, response.preset) == ("cards", told)


async def test_a_real_bank_gets_no_slot_and_is_told_whose_contract_its_rows_must_meet(tmp_path: Path) -> None:
    async with aggregator(tmp_path, simulation=False, population="cards") as running:
        response, _ = await running.enrol()
    simulated = (response.slot, response.population, response.population_seed, response.preset)
    assert (response.seat, simulated) == ("bank-01", (0, "cards", 0, ""))


async def test_the_same_key_gets_its_seat_again(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        key = new_key()
        first, own = await running.enrol("bank", key)
        again, newer = await running.enrol("bank", key)
        assert (again.seat, again.slot) == (first.seat, first.slot) == ("bank-01", 1)
        assert own.certificate_pem != newer.certificate_pem
        assert (await running.enrol())[0].seat == "bank-02"


async def test_a_seat_is_kept_through_a_restart(tmp_path: Path) -> None:
    key = new_key()
    async with aggregator(tmp_path) as running:
        await running.enrol()
        await running.enrol("bank", key)
    async with aggregator(tmp_path) as running:
        assert (await running.enrol("bank", key))[0].seat == "bank-02"
        assert (await running.enrol())[0].seat == "bank-03"


async def test_a_request_gets_the_names_of_its_role_whatever_it_asks_for(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        asked = csr(new_key(), x509.UniformResourceIdentifier("spiffe://fedfraud/operator"), x509.DNSName("aggregator"))
        async with enrolment_channel(running.enrolment_address, running.join().ca_pem) as channel:
            signing = Ed25519PrivateKey.generate()
            message = enrolment_pb2.EnrolRequest(
                token=running.join().token,
                certificate_request=asked,
                signing_key=signing.public_key().public_bytes_raw(),
                signing_key_proof=prove_signing_key(signing, asked),
            )
            response = await enrolment_pb2_grpc.EnrolmentServiceStub(channel).Enrol(message, timeout=DEADLINE)
    certificate = x509.load_pem_x509_certificate(response.certificate_pem)
    (name,) = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name.value == "spiffe://fedfraud/bank/bank-01"


@pytest.mark.parametrize("token", ["", "guess", "ü", "x" * 43])
async def test_an_unknown_token_is_refused(tmp_path: Path, token: str) -> None:
    async with aggregator(tmp_path) as running:
        status, sentence = await refused(running, token, certificate_request(new_key()))
    assert status is grpc.StatusCode.UNAUTHENTICATED
    assert sentence == f"a join token must be one of this federation, got {len(token)} other characters"


async def test_a_request_that_is_no_csr_of_a_p256_key_is_refused(tmp_path: Path) -> None:
    damaged = bytearray(certificate_request(new_key()))
    damaged[-1] ^= 1
    async with aggregator(tmp_path) as running:
        token = running.join().token
        heard = [
            await refused(running, token, request)
            for request in (
                b"",
                b"no request",
                bytes(damaged),
                csr(rsa.generate_private_key(65537, 2048)),
                csr(ec.generate_private_key(ec.SECP384R1())),
            )
        ]
    assert [status for status, _ in heard] == [INVALID] * 5
    assert [sentence for _, sentence in heard] == [
        "a certificate request must be PKCS #10 in DER, got 0 other bytes",
        "a certificate request must be PKCS #10 in DER, got 10 other bytes",
        "a certificate request must be signed by its own key, got another signature",
        "a certificate request must hold an EC P-256 key, got RSAPublicKey",
        "a certificate request must hold an EC P-256 key, got secp384r1",
    ]


async def test_a_message_above_16_kib_is_refused(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        assert (await refused(running, running.join().token, bytes(1 << 14)))[0] is EXHAUSTED


async def test_more_banks_than_seats_are_refused(tmp_path: Path) -> None:
    async with aggregator(tmp_path, max_seats=2, expected_banks=2) as running:
        keys = [new_key(), new_key()]
        for key in keys:
            await running.enrol("bank", key)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await running.enrol("bank", new_key())
        assert (refusal.value.code(), refusal.value.details()) == (EXHAUSTED, "seats must be at most 2, all are taken")
        assert (await running.enrol("bank", keys[0]))[0].seat == "bank-01"  # who has one keeps it


async def test_callers_above_the_rate_limit_are_refused_and_banks_come_in_later(tmp_path: Path) -> None:
    async with (
        aggregator(tmp_path) as running,
        enrolment_channel(running.enrolment_address, running.join().ca_pem) as channel,
    ):
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)

        async def guess_until_limited() -> str:
            while True:
                try:
                    await stub.Enrol(enrolment_pb2.EnrolRequest(), timeout=DEADLINE)
                except grpc.aio.AioRpcError as error:
                    if error.code() is EXHAUSTED:
                        return error.details() or ""

        heard = await soon(asyncio.gather(*(guess_until_limited() for _ in range(50))))
        assert set(heard) == {"enrolments must be at most 100 a second, got more; try again"}

        async def enrolled() -> str:
            while True:
                try:
                    return (await running.enrol())[0].seat
                except grpc.aio.AioRpcError as error:
                    assert error.code() is EXHAUSTED  # noqa: PT017  # the bucket may still be empty

        assert await soon(enrolled()) == "bank-01"


async def test_a_join_folder_holds_the_cas_certificate_and_the_roles_token_and_no_key(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        files = sorted(path.relative_to(tmp_path / "join").as_posix() for path in (tmp_path / "join").rglob("*.*"))
        assert files == [f"{role}/ca.pem" for role in ("bank", "operator", "reporter")]
        tokens = {running.join(role).token for role in ("bank", "operator", "reporter")}
        assert len(tokens) == 3
        assert all(b"PRIVATE" not in path.read_bytes() for path in (tmp_path / "join").rglob("*") if path.is_file())
        key = tmp_path / "aggregator" / "authority" / "ca.key"
        assert key.stat().st_mode & 0o077 == 0


async def test_a_bank_proves_its_signing_key_and_keeps_it(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        token, key, signing = running.join().token, new_key(), Ed25519PrivateKey.generate()
        request = certificate_request(key)
        public, proof = signing.public_key().public_bytes_raw(), prove_signing_key(signing, request)
        async with enrolment_channel(running.enrolment_address, running.join().ca_pem) as channel:
            stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)

            async def enrol(**fields: bytes) -> tuple[grpc.StatusCode, str]:
                message = enrolment_pb2.EnrolRequest(token=token, certificate_request=request, **fields)
                try:
                    await stub.Enrol(message, timeout=DEADLINE)
                except grpc.aio.AioRpcError as error:
                    return error.code(), error.details() or ""
                return grpc.StatusCode.OK, ""

            other = prove_signing_key(signing, certificate_request(new_key()))
            for fields in ({}, {"signing_key": public}, {"signing_key": public, "signing_key_proof": other}):
                status, sentence = await enrol(**fields)
                assert status is grpc.StatusCode.INVALID_ARGUMENT
                assert sentence.startswith(
                    "a bank's signing key must be Ed25519 and sign for its certificate request, "
                )
            assert await enrol(signing_key=public, signing_key_proof=proof) == (grpc.StatusCode.OK, "")
            assert await enrol(signing_key=public, signing_key_proof=proof) == (grpc.StatusCode.OK, "")  # lost answer
            newer = Ed25519PrivateKey.generate()
            status, sentence = await enrol(
                signing_key=newer.public_key().public_bytes_raw(), signing_key_proof=prove_signing_key(newer, request)
            )
            assert status is grpc.StatusCode.ALREADY_EXISTS
            assert sentence.startswith("a seat must keep its signing key, ")
        issued = running.events("certificate_issued")
        assert [event.signing_key for event in issued] == [public, public]
