"""Makes the environments of the frameworks that are measured beside us, each a venv of its own with pinned versions.

    .venv/bin/python benchmarks/peers/set_up.py            # all; minutes, and some gigabytes
    .venv/bin/python benchmarks/peers/set_up.py flower

They lie in benchmarks/peers/environments, which git ignores. What cannot be installed is said by name, and the others
are made; a benchmark leaves a framework out that has no environment.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = HERE / "environments"
TORCH = "torch==2.13.0"
PACKAGES = {
    "flower": ("flwr[simulation]==1.41.0", TORCH, "numpy==2.4.6"),
    "nvflare": ("nvflare[PT]==2.9.0", TORCH, "numpy==2.4.6"),
}
_DONE = "complete"


def python_of(name: str) -> Path | None:
    """The interpreter of a framework's environment; None if it was not made, or not to its end."""
    folder = ENVIRONMENTS / name
    return folder / "bin" / "python" if (folder / _DONE).exists() else None


def make(name: str, torch_index: str) -> str:
    """Makes one anew; what went wrong, or nothing."""
    folder = ENVIRONMENTS / name
    shutil.rmtree(folder, ignore_errors=True)
    index = ["--extra-index-url", torch_index] if torch_index else []
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*install, "--no-deps", "--retries", "0", *index, TORCH],
        [*install, *PACKAGES[name]],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return done.stderr.strip().rpartition("\n")[2] or f"{command[0]} ended with status {done.returncode}"
    (folder / _DONE).touch()
    return ""


def main() -> int:
    """Makes what is asked for; 1 if something could not be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(PACKAGES), help=f"of {', '.join(PACKAGES)}")
    parser.add_argument("--torch-index", default=os.environ.get("TORCH_INDEX", ""), help="of torch for the CPU alone")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in PACKAGES]:
        parser.error(f"names must be of {', '.join(PACKAGES)}, got {unknown[0]!r}")
    failed = False
    for name in asked.names:
        print(f"{name}: {', '.join(PACKAGES[name])}", flush=True)
        if wrong := make(name, asked.torch_index):
            failed = True
            print(f"{name} cannot be installed here: {wrong}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
