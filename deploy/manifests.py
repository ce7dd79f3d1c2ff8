"""`python -m deploy.manifests` renders every overlay by kustomize and holds each object to the Kubernetes schemas.

Offline: the schemas come with kubernetes-validate, strictly, so that a field that the API does not know is a fault.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from deploy import renderer
from deploy.renderer import Renderer, Unrendered

OVERLAYS = Path(__file__).parent / "kubernetes" / "overlays"
VERSIONS = ("1.29", "1.37")
"""The oldest and the newest Kubernetes that they are for."""
LACKING = (
    "this machine lacks kustomize v5, alone or in kubectl: the manifests were not checked. `make setup` installs it on "
    "Linux on x86-64; elsewhere https://kubectl.docs.kubernetes.io/installation/kustomize/ says how"
)

Object = dict[str, Any]
"""One object of the Kubernetes API."""


def overlays() -> list[Path]:
    """The folders that somebody applies."""
    return sorted(path.parent for path in OVERLAYS.glob("*/kustomization.yaml"))


def objects(by: Renderer, folder: Path) -> list[Object]:
    """What a folder renders to."""
    return [found for found in yaml.safe_load_all(by.render(folder)) if found]


def faults(found: Object) -> Iterator[str]:
    """What the API of one of the versions would not take, as a sentence each."""
    name = f"{found.get('kind')} {found.get('metadata', {}).get('name')}"
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{name}, Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{name}: {error.message}"


def check(by: Renderer) -> list[str]:
    """Prints a line an overlay; returns every fault."""
    broken = []
    for folder in overlays():
        try:
            found = objects(by, folder)
        except Unrendered as error:
            broken.append(f"{folder.name}: {error}")
            continue
        mine = [f"{folder.name}: {fault}" for each in found for fault in faults(each)]
        print(f"{folder.name}: {len(found)} objects" + (f", {len(mine)} faults" if mine else ""))
        broken += mine
    return broken


def main() -> int:
    """The exit status: 0 when all is well, or when there is nothing to render with and nobody requires it."""
    parser = argparse.ArgumentParser(prog="python -m deploy.manifests", description=__doc__)
    parser.add_argument("--require", action="store_true", help="fail where kustomize is lacking")
    required = parser.parse_args().require
    by = renderer.find()
    if by is None:
        print(LACKING if required else f"skipped: {LACKING}")
        return int(required)
    broken = check(by)
    if broken:
        print(*broken, sep="\n")
        return 1
    schemas = f"kubernetes-validate {kubernetes_validate.__version__}, Kubernetes {' and '.join(VERSIONS)}"
    print(f"Manifests pass validation; each overlay renders ({by.name}; {schemas})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
