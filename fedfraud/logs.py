"""One event a line: readable by default, JSON by setting."""

import json
import logging
import sys
from datetime import UTC, datetime

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Readable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        mark = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        fields = " ".join(f"{name}={_one_line(value)}" for name, value in _fields(record).items())
        what = _one_line(record.getMessage())
        line = f"{time} {_one_line(record.name):<11} {mark}{what}" + (f"  {fields}" if fields else "")
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "who": record.name,
            "what": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _one_line(value: object) -> str:
    # A caller's text must not be able to forge a line or steer a terminal.
    text = str(value)
    return text if text.isprintable() else repr(text)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields


class Log:
    """A service's voice: `log.info("contribution accepted", run=..., round=..., seat=...)`."""

    def __init__(self, who: str) -> None:
        self._logger = logging.getLogger(who)

    def debug(self, what: str, **fields: object) -> None:
        """For whoever is looking for a fault."""
        self._logger.debug(what, extra={"fields": fields})

    def info(self, what: str, **fields: object) -> None:
        """What happened, as planned."""
        self._logger.info(what, extra={"fields": fields})

    def warning(self, what: str, **fields: object) -> None:
        """What happened against the plan and was dealt with."""
        self._logger.warning(what, extra={"fields": fields})

    def error(self, what: str, *, exc_info: bool | BaseException = False, **fields: object) -> None:
        """What somebody has to look at."""
        self._logger.error(what, extra={"fields": fields}, exc_info=exc_info)


def configure(level: str = "info", form: str = "readable") -> None:
    """Sends all events to standard error: `form` is readable or json, `level` debug, info, warning or error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Readable())
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    for library in ("httpx", "httpx2", "httpcore", "httpcore2", "openai"):
        logging.getLogger(library).setLevel(logging.WARNING)
