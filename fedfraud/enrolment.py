"""How any party exchanges a join token for a certificate: make a key, send its public half, keep what comes back."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud.channel import KeyPair, enrolment_channel
from fedfraud.errors import Misconfigured
from fedfraud.identity import certificate_request, key_pem, prove_signing_key
from fedfraud.v1 import enrolment_pb2, enrolment_pb2_grpc

_CALL_SECONDS = 30.0


@dataclass(frozen=True)
class JoinFolder:
    """What the aggregator hands a role: its CA's certificate and the role's token. No key is in it."""

    ca_pem: bytes
    token: str

    @classmethod
    def read(cls, folder: Path) -> "JoinFolder":
        """From the folder's `ca.pem` and `token`."""
        try:
            return cls((folder / "ca.pem").read_bytes(), (folder / "token").read_text().strip())
        except OSError as error:
            raise Misconfigured(
                f"a join folder must hold ca.pem and token, readable: {error.strerror}, {error.filename}"
            ) from error


async def enrol(
    address: str,
    join: JoinFolder,
    key: ec.EllipticCurvePrivateKey,
    signing_key: Ed25519PrivateKey | None = None,
    wait: float = _CALL_SECONDS,
) -> tuple[enrolment_pb2.EnrolResponse, KeyPair]:
    """Certifies `key` under the folder's token, for a bank with the key that it signs with in masked rounds; waits for
    the aggregator up to `wait` seconds; where they are 0, one that cannot be reached is UNAVAILABLE at once."""
    async with enrolment_channel(address, join.ca_pem) as channel:
        request = enrolment_pb2.EnrolRequest(token=join.token, certificate_request=certificate_request(key))
        if signing_key is not None:
            request.signing_key = signing_key.public_key().public_bytes_raw()
            request.signing_key_proof = prove_signing_key(signing_key, request.certificate_request)
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        response = await stub.Enrol(request, timeout=wait or _CALL_SECONDS, wait_for_ready=wait > 0)
    return response, KeyPair(key_pem(key), response.certificate_pem)
