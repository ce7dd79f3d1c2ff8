"""Flower's deployment on this machine: a SuperLink and a SuperNode a bank. `python flower_deployment.py APP HOME`.

The number of banks and rounds, and the folder of shards, are in the environment, which every process of it inherits.
"""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

BIN = Path(sys.executable).parent


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_up(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    """Runs all rounds, and ends what it started."""
    app, home, banks, rounds = (
        sys.argv[1],
        Path(sys.argv[2]),
        *(int(os.environ[f"PEER_{n}"]) for n in ("BANKS", "ROUNDS")),
    )
    port, told = free_port(), Path(os.environ["PEER_SHARDS"]) / "rounds"
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"  # its processes start others by name
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(f'[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
    with ExitStack() as stack:

        def start(*words: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([str(BIN / words[0]), *words[1:]])
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        superlink = start("flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port))
        while not is_up(port):
            if superlink.poll() is not None:
                return 1
            time.sleep(0.1)
        for bank in range(banks):
            node = f"partition-id={bank} num-partitions={banks}"
            words = (
                "--insecure",
                "--superlink",
                f"127.0.0.1:{port}",
                "--port",
                str(free_port()),
                "--node-config",
                node,
            )
            start("flower-supernode", *words)
        subprocess.run([str(BIN / "flwr"), "run", app, "here"], check=True)
        while not told.exists() or len(told.read_text().splitlines()) < rounds:
            time.sleep(0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
