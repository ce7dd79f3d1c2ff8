"""Flower's simulation: its engine in one process tree. `python flower_simulation.py APP`."""

import os
import sys

sys.path.insert(0, sys.argv[1])

from flwr.simulation import run_simulation
from peer.client_app import app as client_app
from peer.server_app import app as server_app


def main() -> None:
    """Runs all rounds."""
    run_simulation(
        server_app=server_app,
        client_app=client_app,
        num_supernodes=int(os.environ["PEER_BANKS"]),
        backend_config={"client_resources": {"num_cpus": 1.0}},
    )


if __name__ == "__main__":
    main()
