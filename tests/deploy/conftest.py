"""Each overlay, rendered once a session by kustomize."""

from collections.abc import Callable
from typing import NoReturn

import pytest

from deploy import renderer
from deploy.manifests import Object, objects, overlays
from deploy.renderer import Renderer


@pytest.fixture(scope="session")
def kustomize(lacking: Callable[[str], NoReturn]) -> Renderer:
    """The one that `make manifests` uses."""
    found = renderer.find()
    if found is None:
        lacking("kustomize v5, alone or in kubectl")
    return found


@pytest.fixture(scope="session")
def rendered(kustomize: Renderer) -> dict[str, list[Object]]:
    """An overlay's objects, by its name."""
    return {folder.name: objects(kustomize, folder) for folder in overlays()}
