"""Which files this process holds open."""

import sys
from pathlib import Path

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="not tested: that nothing holds a file which was taken away")


def held(folder: Path) -> list[str]:
    """Those below the folder, also such as were taken away, which have no name any more (Linux)."""
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sorted(str(link) for link in links if link.is_relative_to(folder))
