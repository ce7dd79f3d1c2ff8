"""What a benchmark asks from inside an image: run as it is there, by its text alone."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import inside

HEAVY = """
import time
began = time.process_time()
held = b"x" * 40_000_000
while time.process_time() < began + 0.3: pass
"""


def asked(folder: Path, *words: str) -> dict[str, Any]:
    """The answer of a Python that has this folder and not the project's."""
    command = [sys.executable, "-P", "-c", inspect.getsource(inside), *words]
    done = subprocess.run(command, cwd="/", env={"PYTHONPATH": str(folder)}, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_each_package_is_charged_with_its_own_part_alone(tmp_path: Path) -> None:
    for package, text in (("heavy", "from .part import held"), ("light", "import heavy"), ("after", "import heavy")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(text)
    (tmp_path / "heavy" / "part.py").write_text(HEAVY)
    found = asked(tmp_path, "light", "then", "after")
    cpu, megabytes = found["start-up"]["heavy"]  # with its module, which it imports by a relative name
    assert 0.25 < cpu < 0.6
    assert 39 < megabytes < 45
    assert found["start-up"]["light"][0] < 0.1
    assert found["start-up"]["light"][1] < 5
    assert found["later"]["after"][1] < 5  # what it imports is there already
    assert found["begun"][1] > 5


def test_pythons_own_modules_and_ours_are_each_taken_together(tmp_path: Path) -> None:
    for package in ("services", "fedfraud"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("import wave, colorsys")
    found = asked(tmp_path, "services", "fedfraud")
    assert {inside.PYTHON, "ours"} == found["start-up"].keys()
    assert found["later"] == {}


def test_a_process_that_serves_is_found_with_its_packages(tmp_path: Path) -> None:
    work = "import numpy; print(flush=True); input()"
    command = [sys.executable, "-c", work, "services.bank_client"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (tmp_path / "1").mkdir()
        # The container's init has the service's words too.
        (tmp_path / "1" / "cmdline").write_bytes(b"/sbin/docker-init\0--\0python\0-m\0services.bank_client\0")
        (tmp_path / str(child.pid)).symlink_to(f"/proc/{child.pid}")
        found = inside.held(tmp_path)
        child.communicate(b"\n")
    assert "numpy" in found["packages"]
    assert found["resident"] > 15
    assert found["resident"] == pytest.approx(found["own"] + found["files"], rel=0.05)


def test_a_container_without_its_service_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="a process that runs a service must be there"):
        inside.held(tmp_path)
