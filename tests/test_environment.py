"""`.env.example` and docker-compose.yml know every setting of every service, and no other."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

import services.aggregator.settings as aggregator
import services.bank_client.settings as bank
import services.reporter.settings as reporter

ROOT = Path(__file__).parents[1]
SETTINGS: list[type[BaseSettings]] = [
    aggregator.Settings,
    aggregator.OperatorSettings,
    bank.Settings,
    reporter.Settings,
]
COMPOSE_ONLY = {"BANKS", "PAGE_PORT", "TORCH_INDEX", "AGGREGATOR_NAMES", "BANKS_PORT", "ENROLMENT_PORT"}
OTHER_DEFAULTS = {"REPORTS_DIR", "OPENAI_API_KEY_FILE", "HEALTH_SOCKET"}  # on the host: another folder, another file
LINE = re.compile(r"#(?P<name>[A-Z_]+)=(?P<value>\S*) +# \S.*")
EXAMPLE = (ROOT / ".env.example").read_text()
FOR_COMPOSE, BY_COMPOSE = EXAMPLE.split("# What docker-compose.yml sets itself")


def documented(text: str) -> list[tuple[str, str]]:
    return [(match["name"], match["value"]) for line in text.splitlines() if (match := LINE.fullmatch(line))]


def defaults(settings: type[BaseSettings]) -> dict[str, str]:
    return {name.upper(): written(field.default) for name, field in settings.model_fields.items()}


def written(default: Any) -> str:  # noqa: ANN401  # whatever a setting may be
    assert default is not PydanticUndefined
    if default is None:
        return ""
    return (
        str(default).lower()
        if isinstance(default, bool)
        else f"{default:g}"
        if isinstance(default, float)
        else str(default)
    )


def test_every_setting_is_documented_once_on_a_line_of_its_own() -> None:
    names = [name for name, _ in documented(EXAMPLE)]
    fields = {name.upper() for settings in SETTINGS for name in settings.model_fields}
    assert sorted(names) == sorted(fields | COMPOSE_ONLY)


def test_no_line_is_anything_but_a_setting_or_a_comment() -> None:
    lines = EXAMPLE.splitlines()
    assert [line for line in lines if line and not line.startswith("# ") and not LINE.fullmatch(line)] == []


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: f"{settings.__module__}.{settings.__name__}")
def test_the_documented_defaults_are_the_services_own(settings: type[BaseSettings]) -> None:
    shown = dict(documented(EXAMPLE))
    own = {name: value for name, value in defaults(settings).items() if name not in OTHER_DEFAULTS}
    assert {name: shown[name] for name in own} == own


def test_compose_passes_on_what_it_is_said_to_read() -> None:
    compose = (ROOT / "docker-compose.yml").read_text() + (ROOT / "deploy" / "remote-banks.yml").read_text()
    unread = [
        name
        for name, _ in documented(FOR_COMPOSE)
        if not re.search(rf"^ +{name}:|\$\{{{name}:?[-?]|\[{name}\]", compose, re.M)
    ]
    assert unread == []


def test_compose_leaves_alone_what_it_sets_itself() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    assert [
        name for name, _ in documented(BY_COMPOSE) if re.search(rf"^ +{name}:$|\$\{{{name}[:}}-]", compose, re.M)
    ] == []
