"""Callers that send one byte now and then, and what they cost the process that they call."""

import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.federation.waiting import wait_for

_CLIENT_HELLO = bytes.fromhex("1603014000 01003ffc 0303")  # of 16 KiB, which never come
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("003ffc 04 00 00000000")  # and SETTINGS without an end


class Drips:
    """Connections that are open but never say anything whole."""

    def __init__(self) -> None:
        self.open: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.open:
            each.close()

    def before_tls(self, address: str) -> None:
        """One that begins a TLS handshake."""
        self._keep(_connect(address), _CLIENT_HELLO)

    def after_tls(self, address: str, ca: Path, identity: Path | None = None) -> None:
        """One that has done TLS, with a bank's certificate where it is asked for one, and begins HTTP/2."""
        self._keep(shake_hands(address, ca, identity), _PREFACE)

    def all_dropped(self, seconds: float) -> None:
        """Sends a byte on each now and then until the other side has ended all of them."""
        wait_for(self._none_left, f"{len(self.open)} slow connections are dropped", seconds)

    def _none_left(self) -> bool:
        for each in list(self.open):
            if not _alive(each):
                self.open.remove(each)
                each.close()
        return not self.open

    def _keep(self, connection: socket.socket, begins: bytes) -> None:
        connection.sendall(begins)
        connection.setblocking(False)
        self.open.append(connection)


def shake_hands(address: str, ca: Path, identity: Path | None = None) -> ssl.SSLSocket:
    """A connection that has done TLS and nothing more."""
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    if identity:
        context.load_cert_chain(identity)
    return context.wrap_socket(_connect(address), server_hostname="localhost")


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10.0)


def _alive(connection: socket.socket) -> bool:
    waiting = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
    try:
        with suppress(*waiting):
            connection.send(b"\0")
        with suppress(*waiting):
            return bool(connection.recv(1 << 16))
    except OSError:
        return False
    return True


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  # names alone, of a folder that changes


def resident_bytes(pid: int) -> int:
    """The memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
