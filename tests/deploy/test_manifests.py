"""Every overlay renders to objects that the Kubernetes API takes, and a fault in one is found and named."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import manifests
from deploy.manifests import Object, faults
from deploy.renderer import Renderer

ROOT = Path(__file__).parents[2]


def test_every_overlay_passes(kustomize: Renderer, capsys: pytest.CaptureFixture[str]) -> None:
    assert manifests.check(kustomize) == []
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "bank",
        "network",
        "simulation",
    ]


def test_the_command_says_that_they_pass(kustomize: Renderer) -> None:
    done = subprocess.run([sys.executable, "-m", "deploy.manifests", "--require"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0
    assert (
        done.stdout.decode().splitlines()[-1].startswith("Manifests pass validation; each overlay renders (kustomize v")
    )


def test_an_object_with_a_fault_is_refused_by_its_place(rendered: dict[str, list[Object]]) -> None:
    bank = next(one for one in rendered["simulation"] if one["kind"] == "StatefulSet")
    changes: list[tuple[Callable[[Object], object], str]] = [
        (lambda spec: spec.update(replicas="ten"), "spec.replicas: 'ten' is not of type 'integer'"),
        (lambda spec: spec.pop("selector"), "spec: 'selector' is a required property"),
        (lambda spec: spec.update(replica=1), "('replica' was unexpected)"),
    ]
    for change, said in changes:
        broken = copy.deepcopy(bank)
        change(broken["spec"])
        found = list(faults(broken))
        assert len(found) == len(manifests.VERSIONS)
        assert all(said in fault for fault in found), found


def test_a_kind_that_the_api_has_not_is_refused() -> None:
    found = list(faults({"apiVersion": "apps/v1beta1", "kind": "StatefulSet", "metadata": {"name": "bank"}}))
    assert len(found) == 2
    assert all("StatefulSet bank" in fault and "find schema" in fault for fault in found)


def test_an_overlay_that_does_not_render_is_a_fault(
    kustomize: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text("resources: [nowhere.yaml]\n")
    monkeypatch.setattr(manifests, "OVERLAYS", tmp_path)
    (fault,) = manifests.check(kustomize)
    assert fault.startswith("mine: ")


@pytest.mark.parametrize(
    ("options", "status", "begins"), [([], 0, "skipped: this machine"), (["--require"], 1, "this")]
)
def test_without_kustomize_it_is_a_skip_by_name_unless_required(
    tmp_path: Path, options: list[str], status: int, begins: str
) -> None:
    code = (
        "import sys; from pathlib import Path; from deploy import manifests, renderer; "
        "renderer._OWN = Path('nowhere'); sys.exit(manifests.main())"
    )
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, "-c", code, *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == status
    assert done.stdout.decode().startswith(begins)
    assert "lacks kustomize v5" in done.stdout.decode()
