"""The settings: empty means not set, and a key is found or its absence explained."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic import SecretStr, ValidationError

from fedfraud.errors import Misconfigured
from services.reporter.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    settings = Settings()
    assert settings == Settings.model_construct()
    assert (settings.aggregator, settings.openai_model) == ("aggregator:7443", "gpt-5.2")
    assert settings.key() is None


def test_a_variable_is_read_by_its_fields_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPORTS_DIR", "/elsewhere")
    monkeypatch.setenv("OPENAI_TIMEOUT", "5")
    assert (Settings().reports_dir, Settings().openai_timeout) == (Path("/elsewhere"), 5.0)


def test_every_field_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().aggregator = "elsewhere:1"


def test_the_key_comes_from_the_variable_then_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-file\n")
    from_file = Settings(openai_api_key_file=file).key()
    assert from_file is not None
    assert from_file.get_secret_value() == "sk-file"
    first = Settings(openai_api_key=SecretStr(" sk-variable "), openai_api_key_file=file).key()
    assert first is not None
    assert first.get_secret_value() == "sk-variable"


def test_an_empty_file_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("\n")
    assert Settings(openai_api_key_file=file).key() is None


def test_a_file_that_cannot_be_read_is_refused_with_owner_and_mode(tmp_path: Path) -> None:
    folder = tmp_path / "key"  # what Docker makes of a bind mount whose source is missing: unreadable for root too
    folder.mkdir(mode=0o750)
    status = folder.stat()
    sentence = f"Is a directory, {folder}, owner {status.st_uid}:{status.st_gid}, mode 0750"
    with pytest.raises(Misconfigured, match=f"^OPENAI_API_KEY_FILE must be readable: {sentence}$"):
        Settings(openai_api_key_file=folder).key()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="must be readable: No such file or directory"):
        Settings(openai_api_key_file=tmp_path / "none").key()


@pytest.mark.parametrize("content", ["sk-a\nsk-b", "sk a", "sk-\xe9"])
def test_a_key_that_no_header_could_carry_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(Misconfigured, match="an OpenAI key must be one line of ASCII") as error:
        Settings(openai_api_key_file=file).key()
    assert content not in str(error.value)


def test_compose_gives_the_key_as_a_file_and_in_no_environment(lacking: Callable[[str], NoReturn]) -> None:
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        lacking("Docker Compose v2")
    shown = compose_configuration(OPENAI_API_KEY="sk-secret")
    reporter = shown["services"]["reporter"]
    assert reporter["environment"]["OPENAI_API_KEY_FILE"] == reporter["configs"][0]["target"]
    assert shown["configs"].pop("openai_api_key")["content"] == "\nsk-secret"
    assert "sk-secret" not in json.dumps(shown)
    without = compose_configuration()["services"]["reporter"]["environment"]["OPENAI_API_KEY_FILE"]
    assert without == "/run/secrets/openai_api_key"


def compose_configuration(**variables: str) -> dict[str, Any]:
    command = ["docker", "compose", "--env-file", os.devnull, "config", "--format", "json"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, check=True
    )
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


def test_no_error_or_text_shows_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert "sk-secret" not in repr(Settings())
    monkeypatch.setenv("OPENAI_TIMEOUT", "-1")
    with pytest.raises(ValidationError, match="openai_timeout") as error:
        Settings()
    assert "sk-secret" not in str(error.value)
