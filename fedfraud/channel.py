"""Opens every channel and every port of the federation: mutual TLS, and three narrow exceptions that are named here.

Nothing else opens one. The exceptions: the enrolment port has TLS on the server's side alone, as its callers have no
certificate yet; the health service speaks without TLS, on a Unix socket only; so does a bank's scoring service, whose
callers are the bank's own programs on the same machine: its socket is for its owner alone, in a folder that is too.
"""

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from fedfraud.errors import Misconfigured

CHUNK_BYTES = 1 << 20
"""The largest chunk of a vector or contribution in one message."""

_MESSAGE_BYTES = CHUNK_BYTES + (1 << 16)
_ENROLMENT_BYTES = 1 << 14

_COMMON = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # gRPC 1.85 goes by this one, a minute unless it is set
    ("grpc.http2.bdp_probe", 0),  # its pings would wait behind an upload on a narrow line, and time out
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
]
_SERVER = [
    *_COMMON,
    ("grpc.server_handshake_timeout_ms", 10_000),  # a stranger holds a descriptor no longer
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_concurrent_streams", 16),  # of one bank's connection
    ("grpc.so_reuseport", 0),
]
_ENROLMENT = [
    ("grpc.max_receive_message_length", _ENROLMENT_BYTES),
    ("grpc.max_connection_age_ms", 20_000),  # a caller without a certificate cannot take up the calls for ever
    ("grpc.max_connection_age_grace_ms", 10_000),
]
_SCORING = [
    ("grpc.max_receive_message_length", 1 << 16),
    ("grpc.so_reuseport", 0),
]
_LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path that Linux takes."""
_CLIENT = [
    *_COMMON,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 10_000),  # the time that one attempt may take, with its TLS handshake
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # one identity a channel, never a shared connection
]


@dataclass(frozen=True)
class KeyPair:
    """A private key and its certificate, both PEM."""

    key_pem: bytes
    certificate_pem: bytes


def mutual_channel(address: str, ca_pem: bytes, own: KeyPair) -> grpc.aio.Channel:
    """A channel to the aggregator: its certificate must be of our CA and name the host; ours says who we are."""
    credentials = grpc.ssl_channel_credentials(ca_pem, own.key_pem, own.certificate_pem)
    return grpc.aio.secure_channel(address, credentials, options=_CLIENT)


def enrolment_channel(address: str, ca_pem: bytes) -> grpc.aio.Channel:
    """A channel to the enrolment port: the aggregator is known by its CA, the caller by its token."""
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca_pem), options=_CLIENT)


def mutual_server(interceptors: Sequence[grpc.aio.ServerInterceptor]) -> grpc.aio.Server:
    """A server for the mutual-TLS port."""
    return grpc.aio.server(interceptors=interceptors, options=_SERVER)


def enrolment_server(interceptors: Sequence[grpc.aio.ServerInterceptor]) -> grpc.aio.Server:
    """A server for the enrolment port: small messages, at most 256 calls at once, and no connection that stays."""
    options = {**dict(_SERVER), **dict(_ENROLMENT)}  # of two, gRPC takes the first
    return grpc.aio.server(interceptors=interceptors, options=list(options.items()), maximum_concurrent_rpcs=256)


def bind_mutual(server: grpc.aio.Server, address: str, ca_pem: bytes, own: Callable[[], KeyPair]) -> int:
    """Listens with client certificates required; `own` is asked at every handshake, so that a key can be rotated.

    Returns the port (useful when `address` ends in :0).
    """

    return server.add_secure_port(address, _Shown(own, ca_pem).credentials())


def bind_enrolment(server: grpc.aio.Server, address: str, own: Callable[[], KeyPair]) -> int:
    """Listens with TLS on the server's side only. Returns the port."""

    return server.add_secure_port(address, _Shown(own).credentials())


class _Shown:
    """The certificate that a port shows, given to gRPC again only when it is another. `ca_pem` is of the callers' CA.

    gRPC 1.85 takes a new one in while other handshakes use the former, without a lock: it crashed in one of some
    thousand handshakes when it was given one at each.
    """

    def __init__(self, own: Callable[[], KeyPair], ca_pem: bytes | None = None) -> None:
        self._own, self._ca_pem = own, ca_pem
        self._pair = own()

    def credentials(self) -> grpc.ServerCredentials:
        """For one port; whoever calls must show a certificate where there is a CA for it."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            self._changed,  # type: ignore[arg-type]  # the stub does not know of None
            require_client_authentication=self._ca_pem is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new one, None while it is the same; gRPC asks at every handshake."""
        pair = self._own()
        if pair == self._pair:
            return None
        self._pair = pair
        return self._configuration()

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        chain = [(self._pair.key_pem, self._pair.certificate_pem)]
        return grpc.ssl_server_certificate_configuration(chain, self._ca_pem)


def bind_health(server: grpc.aio.Server, socket: Path) -> None:
    """Listens on a Unix socket, without TLS: who may open the file may ask whether the service is well."""
    socket.unlink(missing_ok=True)
    server.add_insecure_port(f"unix:{socket}")


def health_channel(socket: Path) -> grpc.Channel:
    """A channel to a health service in the same container."""
    return grpc.insecure_channel(f"unix:{socket}")


def scoring_server() -> grpc.aio.Server:
    """A server for a bank's scoring socket: small messages."""
    return grpc.aio.server(options=_SCORING)


def bind_scoring(server: grpc.aio.Server, socket: Path) -> None:
    """Listens on a Unix socket, without TLS: nobody but the file's owner may open it, or reach it in its folder."""
    if len(os.fsencode(socket)) > _LONGEST_SOCKET:
        raise Misconfigured(f"a scoring socket's path must have at most {_LONGEST_SOCKET} bytes, got {socket}")
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = socket.parent.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise Misconfigured(
            f"a scoring socket's folder must be for its owner alone, mode 0700: {socket.parent}, "
            f"owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}"
        )
    socket.unlink(missing_ok=True)
    former = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{socket}")
    finally:
        os.umask(former)
    socket.chmod(0o600)


def scoring_channel(socket: Path) -> grpc.Channel:
    """A channel to the bank's own scoring service."""
    return grpc.insecure_channel(f"unix:{socket}")
