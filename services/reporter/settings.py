"""What the reporter can be told, read once from the environment. An empty variable means "not set"."""

import stat
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedfraud.errors import Misconfigured


class Settings(BaseSettings):
    """The reporter's settings; every field is the variable of the same name in capitals."""

    # An error about one setting must not print the values of others, of which one is a key.
    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    aggregator: str = "aggregator:7443"
    """The aggregator's mutual-TLS port, host:port."""
    enrolment: str = "aggregator:7444"
    """The aggregator's enrolment port, host:port."""
    join_dir: Path = Path("/join")
    """The folder with the reporter's `ca.pem` and `token`."""
    reports_dir: Path = Path("/reports")
    """Where `<run id>/facts.json` and `report.md` are written."""
    health_socket: Path | None = Path("/tmp/health.sock")  # noqa: S108  # the container's own tmpfs
    """The health service's Unix socket; None for no health service."""
    page_listen: str | None = "0.0.0.0:8080"
    """Where the live page is served, host:port, port 0 for any free one; Compose publishes it on loopback. None: no
    page."""
    page_hosts: str = "localhost,127.0.0.1,[::1]"
    """The host names that the page answers to, separated by commas, without ports."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious events that are logged."""
    log_form: Literal["readable", "json"] = "readable"
    """One readable line or one JSON object an event."""
    openai_api_key: SecretStr | None = None
    """The OpenAI key; without one the template writes the report."""
    openai_api_key_file: Path | None = None
    """A file that holds the key; an empty file means no key. OPENAI_API_KEY goes first."""
    openai_api: Literal["responses", "chat"] = "responses"
    """The interface that the server has: OpenAI's Responses API, or chat completions, as compatible servers have."""
    openai_model: str = "gpt-5.2"
    """The model that writes the narrative."""
    openai_base_url: str = "https://api.openai.com/v1"
    """Where that interface is served."""
    openai_timeout: float = Field(default=90.0, gt=0, le=3600)
    """Seconds for the narrative in total, retries included."""
    openai_price_input: float | None = Field(default=None, ge=0)
    """Price of a million input tokens, in whatever currency; None logs tokens and no cost."""
    openai_price_output: float | None = Field(default=None, ge=0)
    """Price of a million output tokens."""

    @property
    def page_host_names(self) -> frozenset[str]:
        """The names in `page_hosts`, in lower case."""
        return frozenset(name.strip().lower() for name in self.page_hosts.split(",") if name.strip())

    def key(self) -> SecretStr | None:
        """The OpenAI key, None if there is none; Misconfigured if its file cannot be read or holds no key."""
        text = self.openai_api_key.get_secret_value() if self.openai_api_key else _read(self.openai_api_key_file)
        text = text.strip()
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise Misconfigured(f"an OpenAI key must be one line of ASCII without spaces, got {len(text)} characters")
        return SecretStr(text) if text else None


def _read(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Misconfigured(f"OPENAI_API_KEY_FILE must be readable: {why}, {path}{_owner(path)}") from error


def _owner(path: Path) -> str:
    """Who owns the file and with which mode: what somebody needs to mend a secret's permissions."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f", owner {status.st_uid}:{status.st_gid}, mode {stat.S_IMODE(status.st_mode):04o}"
