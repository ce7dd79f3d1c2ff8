"""EnrolmentService: a join token and a CSR in, a certificate out."""

from datetime import timedelta
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fedfraud.errors import Conflict
from fedfraud.identity import Identity, Role, check_signing_key, public_key_sha256, requested_key
from fedfraud.logs import Log
from fedfraud.transactions import preset_of
from fedfraud.v1 import enrolment_pb2, enrolment_pb2_grpc, history_pb2
from fedfraud.wire import role_to_proto
from services.aggregator.authority import Authority
from services.aggregator.journal import Journal
from services.aggregator.rate_limit import RateLimit
from services.aggregator.seats import Seats
from services.aggregator.settings import Settings

_CALLS_PER_SECOND, _BURST = 100.0, 300.0
_RENEWALS_PER_SECOND, _RENEWAL_BURST = 1.0, 20.0
"""Of one seat: each renewal is a journal entry for ever."""


class Registrar:
    """Certifies keys and journals it: the one place where a certificate begins to count."""

    def __init__(self, settings: Settings, authority: Authority, seats: Seats, journal: Journal) -> None:
        self._settings = settings
        self._authority = authority
        self._seats = seats
        self._journal = journal
        self._renewals: dict[str, RateLimit] = {}

    async def enrol(
        self, role: Role, key: ec.EllipticCurvePublicKey, signing_key: bytes = b""
    ) -> tuple[Identity, int, bytes]:
        """A new identity for the key, its slot and its certificate; the same key of a bank gets its seat again."""
        async with self._seats.lock:  # seat, slot and entry are one step: no two banks get the same
            match role:
                case Role.BANK:
                    known = self._seats.seat_of_key(public_key_sha256(key))
                    if known is not None:
                        seat, slot = known.name, known.slot
                        if known.signing_key != signing_key:
                            raise Conflict(
                                f"a seat must keep its signing key, {known.signing_key.hex()[:12]}, "
                                f"got {signing_key.hex()[:12]} from {seat}"
                            )
                    else:
                        limit = self._settings.max_seats
                        seat, slot = self._seats.next_seat(limit, simulated=self._settings.simulation)
                    identity, again = Identity(role, seat), known is not None
                    pem = await self._certify(key, identity, slot, renewal=again, signing_key=signing_key)
                    return identity, slot, pem
                case Role.REPORTER:
                    if self._seats.has_certificate(role):
                        reason = "a newer reporter enrolled"
                        await self._journal.append(
                            history_pb2.CertificateRevoked(role=role_to_proto(role), reason=reason)
                        )
                    return Identity(role), 0, await self._certify(key, Identity(role), 0, renewal=False)
                case _:
                    return Identity(role), 0, await self._certify(key, Identity(role), 0, renewal=False)

    async def renew(self, seat: str, key: ec.EllipticCurvePublicKey) -> bytes:
        """A certificate of the seat for another key."""
        limit = RateLimit("renewals of one seat", _RENEWALS_PER_SECOND, _RENEWAL_BURST)
        self._renewals.setdefault(seat, limit).take()
        async with self._seats.lock:
            record = self._seats.record(seat)
            identity = Identity(Role.BANK, seat)
            return await self._certify(key, identity, record.slot, renewal=True, signing_key=record.signing_key)

    async def _certify(
        self, key: ec.EllipticCurvePublicKey, identity: Identity, slot: int, *, renewal: bool, signing_key: bytes = b""
    ) -> bytes:
        pem = self._authority.issue(key, identity, self._lifetime(identity.role))
        certificate = x509.load_pem_x509_certificate(pem)
        event = history_pb2.CertificateIssued(
            role=role_to_proto(identity.role),
            seat=identity.seat,
            fingerprint=certificate.fingerprint(hashes.SHA256()),
            public_key_sha256=public_key_sha256(key),
            slot=slot,
            renewal=renewal,
            signing_key=signing_key,
        )
        event.expiry_time.FromDatetime(certificate.not_valid_after_utc)
        await self._journal.append(event)
        return pem

    def _lifetime(self, role: Role) -> timedelta:
        match role:
            case Role.BANK:
                return timedelta(hours=self._settings.bank_certificate_hours)
            case Role.REPORTER:
                return timedelta(hours=self._settings.reporter_certificate_hours)
            case _:
                return timedelta(minutes=self._settings.operator_certificate_minutes)


class EnrolmentServicer(enrolment_pb2_grpc.EnrolmentServiceServicer):
    """See enrolment.proto."""

    def __init__(self, settings: Settings, authority: Authority, registrar: Registrar, log: Log) -> None:
        self._settings = settings
        self._authority = authority
        self._registrar = registrar
        self._log = log
        self._limit = RateLimit("enrolments", _CALLS_PER_SECOND, _BURST)

    async def Enrol(  # the name is the proto's
        self, request: enrolment_pb2.EnrolRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolment_pb2.EnrolResponse:
        """See enrolment.proto."""
        self._limit.take()
        role = self._authority.role_of(request.token)
        key = requested_key(request.certificate_request)
        if role is Role.BANK:
            check_signing_key(request.signing_key, request.signing_key_proof, request.certificate_request)
        identity, slot, pem = await self._registrar.enrol(role, key, request.signing_key)
        certificate = x509.load_pem_x509_certificate(pem)
        fingerprint = certificate.fingerprint(hashes.SHA256()).hex()[:12]  # as in the journal and in refusals
        self._log.info("enrolled", who=identity, slot=slot or "-", certificate=fingerprint)
        bank = role is Role.BANK
        simulated = self._settings.simulation and bank
        response = enrolment_pb2.EnrolResponse(
            role=role_to_proto(role),
            seat=identity.seat,
            certificate_pem=pem,
            slot=slot,
            population=self._settings.population if bank else "",
            population_seed=self._settings.seed if simulated else 0,
            preset=preset_of(self._settings.population, self._settings.preset) if simulated else "",
        )
        response.expiry_time.FromDatetime(certificate.not_valid_after_utc)
        return response
