"""The reports folder: `<run id>/facts.json`, then `narrative.json`, `report.html` and `report.md`, each whole or not at
all.

The template's report is there before a model is asked for its narrative, so that no API can lose a report.
"""

import asyncio
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from fedfraud.errors import Invalid, Misconfigured
from fedfraud.identity import write_durably
from fedfraud.logs import Log
from services.reporter import html, markdown, narrative, report, summary
from services.reporter.exposition import Counts
from services.reporter.facts import RunFacts
from services.reporter.origin import Origin
from services.reporter.settings import Settings

log = Log("reporter")

_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FILE_MODE = 0o664  # the host's user shares the folder's group


def run_folder(reports: Path, run_id: str) -> Path:
    """The run's folder; Invalid unless its id is a plain name, as it comes from another machine."""
    if not _RUN_ID.fullmatch(run_id) or not run_id.strip("."):
        raise Invalid(f"a run id must be 1 to 64 of A-Z a-z 0-9 . _ -, not dots alone, got {run_id[:64]!r}")
    return reports / run_id


def check_writable(reports: Path) -> None:
    """Makes the reports folder, and a file in it that is gone at once; Misconfigured if that cannot be."""
    try:
        reports.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".writable-", dir=reports):
            pass
    except OSError as error:
        raise Misconfigured(f"reports must be writable: {error.strerror}, {reports}") from error


def read_run(folder: Path) -> RunFacts | None:
    """The facts in a run's folder, or None if there are none that can be read."""
    try:
        return summary.brought_up(RunFacts.from_json((folder / "facts.json").read_bytes()))
    except (OSError, ValueError):
        return None


def read_origin(folder: Path) -> Origin | None:
    """Who made the narrative of a run's report, or None if nothing that can be read says so."""
    try:
        return Origin.model_validate_json((folder / "narrative.json").read_bytes())
    except (OSError, ValueError):
        return None


def last_run(reports: Path) -> RunFacts | None:
    """The run that started last, of those in the reports folder."""
    runs = [run for path in reports.glob("*/facts.json") if (run := read_run(path.parent))]
    return max(runs, key=lambda run: (run.run.started_time, run.run.id), default=None)


def write_report(folder: Path, made: report.Report) -> Path:
    """Puts `narrative.json`, `report.html`, then `report.md`, whose path it returns, in place of any former ones."""
    _put(folder / "narrative.json", made.origin.model_dump_json(indent=2) + "\n")
    _put(folder / "report.html", html.render(made))
    path = folder / "report.md"
    _put(path, markdown.render(made))
    return path


class Desk:
    """Writes each finished run once; narratives are asked for one at a time, in the background."""

    def __init__(
        self, settings: Settings, counts: Counts | None = None, replaced: Callable[[], None] = lambda: None
    ) -> None:
        """`replaced` is called when a report has got its narrative."""
        self._settings = settings
        self._replaced = replaced
        self._counts = counts or Counts()
        self._key = settings.key()
        self._turn = asyncio.Lock()
        self._waiting: set[asyncio.Task[None]] = set()
        check_writable(settings.reports_dir)

    async def write(self, run: RunFacts) -> None:
        """Facts and the template's report at once; then the model's narrative in its place, if there is a key."""
        try:
            folder = run_folder(self._settings.reports_dir, run.run.id)
        except Invalid as error:
            log.error("run not written", reason=str(error))
            return
        if await asyncio.to_thread(is_written, folder, run.run.id):
            log.debug("report exists", run=run.run.id, path=folder / "report.md")
            return
        path = await asyncio.to_thread(_write_both, folder, run, report.PENDING if self._key else "")
        log.info("report written", run=run.run.id, path=path, by="template")
        self._counts.reports.inc()
        if not self._key:
            self._counts.narratives.labels("template").inc()
        if self._key:
            task = asyncio.create_task(self._narrate(folder, run, self._key))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def close(self) -> None:
        """Gives up the narratives that are still on their way; their reports say so."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    async def _narrate(self, folder: Path, run: RunFacts, key: SecretStr) -> None:
        try:
            async with self._turn:
                made = await narrated(run, self._settings, key, self._counts)
            write_report(folder, made)  # not in a thread: a stop must not find it half done
            self._replaced()
        except asyncio.CancelledError:
            write_report(folder, report.compose(run, note="the reporter was stopped before the model answered"))
            raise
        except Misconfigured as error:  # the template's report stays
            log.error("report not replaced", run=run.run.id, reason=str(error))


async def narrated(run: RunFacts, settings: Settings, key: SecretStr, counts: Counts | None = None) -> report.Report:
    """The report with what the model wrote of it, and the reason why the rest is the template's."""
    written = await narrative.write(run, settings, key)
    if counts:
        counts.narratives.labels("model" if written.sections else "failed").inc()
    return report.compose(run, written)


def is_written(folder: Path, run_id: str) -> bool:
    """True if all files are there; a report whose narrative was on its way when the reporter died is not."""
    known = read_run(folder)
    try:
        texts = [(folder / name).read_text() for name in ("report.html", "report.md")]
    except (OSError, UnicodeDecodeError):
        return False
    return known is not None and known.run.id == run_id and not any(report.PENDING in text for text in texts)


def _write_both(folder: Path, run: RunFacts, note: str) -> Path:
    try:
        # No chmod: the umask gives the mode, and a setgid bit is inherited from the reports folder.
        folder.mkdir(mode=0o775, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"reports must be writable: {error.strerror}, {folder}") from error
    _put(folder / "facts.json", run.to_json())
    return write_report(folder, report.compose(run, note=note))


def _put(path: Path, text: str) -> None:
    try:
        write_durably(path, text.encode(), _FILE_MODE)
    except OSError as error:
        raise Misconfigured(f"reports must be writable: {error.strerror}, {path}") from error
