"""A small CA for tests: real keys and certificates, made in milliseconds."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedfraud.channel import KeyPair
from fedfraud.identity import key_pem, new_key

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | Ed25519PublicKey
HOST = x509.DNSName("localhost")


def uri(name: str) -> x509.UniformResourceIdentifier:
    """A URI SAN."""
    return x509.UniformResourceIdentifier(name)


class SmallCa:
    """Signs whatever a test asks for, for one hour."""

    def __init__(self) -> None:
        self._key = new_key()
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test CA")])
        authority = x509.BasicConstraints(ca=True, path_length=0)
        builder = self._builder(self._name, self._key.public_key()).add_extension(authority, critical=True)
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def certify(self, key: PublicKey, *names: x509.GeneralName) -> bytes:
        """A certificate of the key with these subject alternative names, PEM."""
        builder = self._builder(x509.Name([]), key)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def journal_pair(self) -> tuple[Ed25519PrivateKey, bytes]:
        """A key that signs a journal and its certificate, PEM."""
        key = Ed25519PrivateKey.generate()
        return key, self.certify(key.public_key(), uri("spiffe://fedfraud/aggregator"))

    def pair(self, *names: x509.GeneralName) -> KeyPair:
        """A fresh key and its certificate."""
        key = new_key()
        return KeyPair(key_pem(key), self.certify(key.public_key(), *names))

    def _builder(self, subject: x509.Name, key: PublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(minutes=1),
            not_valid_after=now + timedelta(hours=1),
        )
