"""Serves a Prometheus registry over plain HTTP: whoever reaches the address may read, nobody can change anything."""

import threading
from socketserver import TCPServer, ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import make_wsgi_app

from fedfraud.errors import Misconfigured

_REQUEST_SECONDS = 10.0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """As the base class, which would ask a resolver for its own name first."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "metrics", int(self.server_address[1])
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_SECONDS  # who does not finish a request holds a thread no longer

    def log_message(self, format: str, *args: object) -> None:  # the base class's name
        """A scrape is no event."""


class MetricsServer:
    """Listens from the start on, in threads of its own; `address` is host:port, port 0 for any."""

    def __init__(self, registry: CollectorRegistry, address: str) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._server = make_server(host, int(port), make_wsgi_app(registry), _Server, _Handler)
        except OSError as error:
            raise Misconfigured(f"METRICS_LISTEN must be a free address: {error.strerror}, {address}") from error
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listens no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
