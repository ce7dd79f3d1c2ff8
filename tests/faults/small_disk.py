"""A real disk that can be filled: a tmpfs of a few megabytes."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import say_lacking

_BALLAST = "ballast"


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """The folder is a disk of its own while it lasts. Only root may; otherwise the machine lacks it."""
    folder.mkdir(parents=True)
    if os.geteuid() or not shutil.which("mount"):
        say_lacking("root, to mount a small disk: a disk that is really full is not tried")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        say_lacking(f"the right to mount a small disk ({mounted.stderr.decode().strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Takes all the space that is left, to the last byte, where nobody gives any back meanwhile."""
    take(folder)
    assert shutil.disk_usage(folder).free == 0, f"{folder} is full"


def take(folder: Path) -> None:
    """Takes the space that is left now."""
    with (folder / _BALLAST).open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def free(folder: Path) -> None:
    """Gives it back."""
    (folder / _BALLAST).unlink()
